/**
 * A real Docker Engine for one test: dockerd in a network namespace of its own, with its own data, socket and
 * image made from busybox-static. Nothing of it reaches the machine's own namespace, and `remove()` (also run
 * when the process ends) leaves nothing behind: processes, mounts, control groups, folder, namespace.
 */
import { type ChildProcess, execFile, execFileSync, spawn } from 'node:child_process'
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  symlinkSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { promisify } from 'node:util'

const run = promisify(execFile)

/** The image that every test engine has after `start()`. */
export const testImage = 'dt-busybox'

/** Why no engine can be started here; undefined where one can. */
export function dockerdMissing(): string | undefined {
  if (process.getuid?.() !== 0) return 'needs root to start a Docker engine in a network namespace'
  const missing = ['dockerd', 'nsenter', 'ip', 'docker', 'busybox'].filter((name) => !onPath(name))
  return missing.length === 0
    ? undefined
    : `needs ${missing.join(', ')} (apt-get install docker.io busybox-static)`
}

const onPath = (name: string): boolean =>
  (process.env.PATH ?? '').split(':').some((folder) => readable(join(folder, name)))

function readable(path: string): boolean {
  try {
    execFileSync('test', ['-x', path])
    return true
  } catch {
    return false
  }
}

export interface TestDockerdOptions {
  /** An existing namespace by name (`/run/netns/<name>`); it is left in place. Otherwise one is made. */
  readonly namespace?: string
  readonly args?: readonly string[]
}

export class TestDockerd {
  readonly namespace: string
  readonly folder: string
  readonly socket: string
  readonly #ownsNamespace: boolean
  readonly #args: readonly string[]
  #process: ChildProcess | undefined
  #removed = false

  /** Makes folder and namespace; `start()` starts the engine. */
  constructor(options: TestDockerdOptions = {}) {
    this.folder = mkdtempSync(join(tmpdir(), 'dt-dockerd-'))
    this.socket = join(this.folder, 'docker.sock')
    this.#ownsNamespace = options.namespace === undefined
    this.#args = options.args ?? []
    this.namespace = options.namespace ?? `dt-${this.folder.slice(-6)}`
    if (this.#ownsNamespace) {
      execFileSync('ip', ['netns', 'add', this.namespace])
      this.inside('ip', 'link', 'set', 'lo', 'up')
    }
    process.once('exit', this.#cleanUp)
  }

  get pid(): number | undefined {
    return this.#process?.pid
  }

  /** What dockerd has printed so far. */
  get log(): string {
    return readFileSync(join(this.folder, 'dockerd.log'), 'utf8')
  }

  /** Starts the engine and returns once it answers and has the test image. */
  async start(): Promise<void> {
    const log = openSync(join(this.folder, 'dockerd.log'), 'a')
    const args = ['--data-root', join(this.folder, 'data'), '--exec-root', join(this.folder, 'exec')]
    args.push('-H', `unix://${this.socket}`, '--pidfile', join(this.folder, 'docker.pid'), ...this.#args)
    this.#process = spawn('nsenter', [`--net=/run/netns/${this.namespace}`, 'dockerd', ...args], {
      stdio: ['ignore', log, log],
    })
    await this.#answers()
    const images = await this.docker('images', '-q', testImage)
    if (images === '') await this.#import()
  }

  /** Stops the engine as `systemctl stop docker` does: its containers end too. */
  async stop(): Promise<void> {
    await this.#end('SIGTERM')
  }

  /** kill -9 of the engine: its containers go on. */
  async kill(): Promise<void> {
    await this.#end('SIGKILL')
    // containerd dies with it, but where PID 1 does not reap, its pid looks alive to the next dockerd.
    for (const left of ['docker.pid', 'exec/containerd/containerd.pid'])
      rmSync(join(this.folder, left), { force: true })
  }

  async restart(): Promise<void> {
    await this.stop()
    await this.start()
  }

  /** Runs the docker command line against this engine; its trimmed output. */
  async docker(...args: readonly string[]): Promise<string> {
    const { stdout } = await run('docker', ['-H', `unix://${this.socket}`, ...args])
    return stdout.trim()
  }

  /** `docker run -d` of the test image; the container's id. */
  runContainer(args: readonly string[], command: readonly string[] = ['sleep', '3600']): Promise<string> {
    return this.docker('run', '-d', '--stop-timeout', '1', ...args, testImage, ...command)
  }

  /** Runs a command in the engine's network namespace; its output. */
  inside(command: string, ...args: readonly string[]): string {
    const enter = `--net=/run/netns/${this.namespace}`
    return execFileSync('nsenter', [enter, command, ...args], { encoding: 'utf8' })
  }

  /** Ends everything and leaves nothing behind. */
  async remove(): Promise<void> {
    if (this.#removed) return
    if (this.#process !== undefined) {
      const ids = (await this.docker('ps', '-aq').catch(() => '')).split('\n').filter((id) => id !== '')
      if (ids.length > 0) await this.docker('rm', '-f', ...ids).catch(() => '')
      await this.stop()
    }
    this.#cleanUp()
    process.removeListener('exit', this.#cleanUp)
  }

  async #answers(): Promise<void> {
    const deadline = Date.now() + 60_000
    while (Date.now() < deadline) {
      if (await this.docker('version').catch(() => undefined)) return
      if (this.#process?.exitCode !== null) break
      await delay(50)
    }
    throw new TypeError(`dockerd does not answer:\n${this.log.split('\n').slice(-20).join('\n')}`)
  }

  async #import(): Promise<void> {
    const root = join(this.folder, 'image')
    mkdirSync(join(root, 'bin'), { recursive: true })
    mkdirSync(join(root, 'tmp'))
    copyFileSync('/bin/busybox', join(root, 'bin/busybox'))
    const applets = execFileSync('/bin/busybox', ['--list'], { encoding: 'utf8' }).split('\n')
    for (const applet of applets) {
      if (applet !== '' && applet !== 'busybox') symlinkSync('busybox', join(root, 'bin', applet))
    }
    const tar = join(this.folder, 'image.tar')
    await run('tar', ['-C', root, '-cf', tar, '.'])
    await this.docker('import', tar, testImage)
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    const child = this.#process
    if (child === undefined) return
    this.#process = undefined
    if (child.exitCode !== null || child.signalCode !== null) return
    const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()))
    child.kill(signal)
    const late = setTimeout(() => child.kill('SIGKILL'), 30_000)
    await ended
    clearTimeout(late)
  }

  readonly #cleanUp = (): void => {
    if (this.#removed) return
    this.#removed = true
    killTree(this.folder)
    for (const mount of mountsUnder(this.folder)) quietly(() => execFileSync('umount', ['-l', mount]))
    for (const id of containersIn(join(this.folder, 'data', 'containers'))) removeControlGroups(id)
    quietly(() => rmSync(this.folder, { recursive: true, force: true }))
    if (this.#ownsNamespace) quietly(() => execFileSync('ip', ['netns', 'del', this.namespace]))
  }
}

/** Whether a process runs; one that ended and was not reaped does not. */
export function processRuns(pid: number | string): boolean {
  try {
    return !/\) [ZX] /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'))
  } catch {
    return false
  }
}

function quietly(action: () => unknown): void {
  try {
    action()
  } catch {
    // already gone
  }
}

/** Kills every process whose command line names the folder, with all its descendants. */
function killTree(folder: string): void {
  const children = new Map<number, number[]>()
  const roots: number[] = []
  for (const entry of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    quietly(() => {
      const stat = readFileSync(`/proc/${entry}/stat`, 'utf8')
      const parent = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1])
      children.set(parent, [...(children.get(parent) ?? []), Number(entry)])
      if (readFileSync(`/proc/${entry}/cmdline`, 'utf8').includes(folder)) roots.push(Number(entry))
    })
  }
  for (let pid = roots.pop(); pid !== undefined; pid = roots.pop()) {
    const found = pid
    roots.push(...(children.get(found) ?? []))
    children.delete(found)
    if (found !== process.pid) quietly(() => process.kill(found, 'SIGKILL'))
  }
}

function mountsUnder(folder: string): readonly string[] {
  return readFileSync('/proc/self/mounts', 'utf8')
    .split('\n')
    .map((line) => line.split(' ')[1] ?? '')
    .filter((path) => path.startsWith(`${folder}/`))
    .reverse()
}

function containersIn(folder: string): readonly string[] {
  try {
    return readdirSync(folder)
  } catch {
    return []
  }
}

function removeControlGroups(id: string): void {
  for (const controller of containersIn('/sys/fs/cgroup'))
    quietly(() => rmdirSync(`/sys/fs/cgroup/${controller}/docker/${id}`))
}
