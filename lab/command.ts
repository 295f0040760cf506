/**
 * Processes of the lab: commands that end, and programs that stay. No shell; a namespace is entered with
 * nsenter, because `ip netns exec` hides the mounts of the control groups from dockerd.
 */
import { spawn } from 'node:child_process'
import { closeSync, openSync, readFileSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { DroverError } from '../model/errors.ts'

export interface CommandResult {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

export interface CommandOptions {
  readonly namespace?: string
  readonly env?: Readonly<Record<string, string>>
  readonly input?: string
}

const inside = (argv: readonly string[], namespace: string | undefined): readonly string[] =>
  namespace === undefined ? argv : ['nsenter', `--net=/run/netns/${namespace}`, '--', ...argv]

/** What a program of the lab sees: nothing that could point it at the machine's own daemon or engine. */
function environmentOf(env: Readonly<Record<string, string>> = {}): NodeJS.ProcessEnv {
  const own = Object.entries(process.env).filter(([name]) => !/^(DROVER|DOCKER|TAP|NODE)_/.test(name))
  return { ...Object.fromEntries(own), ...env }
}

/** Runs to the end, whatever the exit code. */
export function run(argv: readonly string[], options: CommandOptions = {}): Promise<CommandResult> {
  const [command = '', ...args] = inside(argv, options.namespace)
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { env: environmentOf(options.env) })
    const stdout: Buffer[] = []
    const stderr: Buffer[] = []
    child.stdout.on('data', (chunk: Buffer) => stdout.push(chunk))
    child.stderr.on('data', (chunk: Buffer) => stderr.push(chunk))
    child.on('error', reject)
    child.on('close', (code) =>
      resolve({
        code: code ?? 128,
        stdout: Buffer.concat(stdout).toString(),
        stderr: Buffer.concat(stderr).toString(),
      }),
    )
    child.stdin.on('error', () => undefined)
    child.stdin.end(options.input ?? '')
  })
}

/** The trimmed output of a command that must succeed. */
export async function must(argv: readonly string[], options: CommandOptions = {}): Promise<string> {
  const { code, stdout, stderr } = await run(argv, options)
  if (code === 0) return stdout.trim()
  const said = `${stderr}${stdout}`.trim().split('\n').slice(-10).join('\n')
  throw new DroverError('COMMAND_FAILED', `${argv.join(' ')}: exit code ${code}: ${said}`)
}

/** Runs on the terminal of the caller; the exit code. */
export function attach(argv: readonly string[], options: CommandOptions = {}): Promise<number> {
  const [command = '', ...args] = inside(argv, options.namespace)
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { env: environmentOf(options.env), stdio: 'inherit' })
    child.on('error', reject)
    child.on('close', (code) => resolve(code ?? 128))
  })
}

/** Starts a program that outlives us, its output in a file; its pid, which is the program's own. */
export function start(argv: readonly string[], log: string, options: CommandOptions = {}): number {
  const [command = '', ...args] = inside(argv, options.namespace)
  const output = openSync(log, 'a')
  const child = spawn(command, args, {
    env: environmentOf(options.env),
    stdio: ['ignore', output, output],
    detached: true,
  })
  closeSync(output)
  child.on('error', () => undefined)
  child.unref()
  if (child.pid === undefined) throw new DroverError('COMMAND_FAILED', `${command} cannot be started`)
  return child.pid
}

/** Fields of /proc/PID/stat from the state on; undefined when there is no such process. */
function statOf(pid: number): readonly string[] | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  } catch {
    return undefined
  }
}

/** Whether it runs; a zombie does not. */
export function isAlive(pid: number): boolean {
  const state = statOf(pid)?.[0]
  return state !== undefined && state !== 'Z' && state !== 'X'
}

export const commandLine = (pid: number): readonly string[] => {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').slice(0, -1)
  } catch {
    return []
  }
}

/** Resident memory in KiB. */
export function residentMemory(pid: number): number {
  try {
    return Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0)
  } catch {
    return 0
  }
}

/** Sends a signal and waits until the process is gone; after `patience` it is killed. */
export async function end(pid: number, signal: NodeJS.Signals, patience = 20_000): Promise<void> {
  if (!isAlive(pid)) return
  process.kill(pid, signal)
  const deadline = Date.now() + patience
  while (isAlive(pid)) {
    if (Date.now() > deadline) process.kill(pid, 'SIGKILL')
    await delay(20)
  }
}

/** Waits for a state: the first answer of `look` that is not undefined. */
export async function until<T>(
  what: string,
  look: () => Promise<T | undefined> | T | undefined,
  options: { readonly patience?: number; readonly every?: number; readonly blame?: () => string } = {},
): Promise<T> {
  const deadline = Date.now() + (options.patience ?? 30_000)
  for (;;) {
    const found = await look()
    if (found !== undefined) return found
    if (Date.now() > deadline) {
      throw new DroverError('COMMAND_FAILED', `waited in vain for ${what}${options.blame?.() ?? ''}`)
    }
    await delay(options.every ?? 50)
  }
}

/** The last lines of a log, to say with a failure. */
export function tailOf(file: string, lines = 25): string {
  try {
    return `\n${file}:\n${readFileSync(file, 'utf8').trimEnd().split('\n').slice(-lines).join('\n')}`
  } catch {
    return `\n${file}: nothing`
  }
}
