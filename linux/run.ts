/**
 * Edge: runs a program by argv, never through a shell, with input, a deadline and a limit on its output.
 * `netns` names the network namespace in which everything runs, so that one machine can hold many hosts.
 * It does not retry and does not interpret output.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { DroverError } from '../model/errors.ts'
import { type Millis, seconds } from '../model/time.ts'

export interface RunOptions {
  readonly input?: string
  readonly timeout?: Millis
  /** Path of a network namespace to run in, instead of the runner's own. */
  readonly netns?: string
}

export interface Output {
  readonly stdout: string
  readonly stderr: string
  /** Exit status; 127 where the program does not exist, as a shell would say. */
  readonly status: number
}

export interface Runner {
  /** The namespace that everything runs in; undefined for the daemon's own. */
  readonly netns: string | undefined
  /** Standard output; rejects with COMMAND_FAILED when the program fails. */
  run(argv: readonly string[], options?: RunOptions): Promise<string>
  /** Whatever the program says; rejects only when it does not end in time or says too much. */
  attempt(argv: readonly string[], options?: RunOptions): Promise<Output>
}

export interface SystemRunnerOptions {
  readonly netns?: string
  /** Where programs are looked for. */
  readonly path?: string
  /** Bytes of output, standard and error each. */
  readonly limit?: number
  readonly timeout?: Millis
}

const defaults = {
  path: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
  limit: 64 * 1024 * 1024,
  timeout: seconds(20),
}

export class SystemRunner implements Runner {
  readonly netns: string | undefined
  readonly #path: string
  readonly #limit: number
  readonly #timeout: Millis

  constructor(_deps: object, options: SystemRunnerOptions) {
    this.netns = options.netns
    this.#path = options.path ?? defaults.path
    this.#limit = options.limit ?? defaults.limit
    this.#timeout = options.timeout ?? defaults.timeout
  }

  async run(argv: readonly string[], options: RunOptions = {}): Promise<string> {
    const output = await this.attempt(argv, options)
    if (output.status !== 0) throw commandFailed(argv, output)
    return output.stdout
  }

  attempt(argv: readonly string[], options: RunOptions = {}): Promise<Output> {
    const netns = options.netns ?? this.netns
    const [program = '', ...rest] = netns === undefined ? argv : ['nsenter', `--net=${netns}`, ...argv]
    const timeout = options.timeout ?? this.#timeout
    const child = spawn(program, rest, {
      env: { PATH: this.#path, LC_ALL: 'C' },
      timeout,
      killSignal: 'SIGKILL',
      // Ctrl-C at the daemon's terminal is for the daemon, which then stops between two commands and not in one.
      detached: true,
    })
    child.stdin.on('error', () => {}) // a program that does not read its input to the end
    child.stdin.end(options.input ?? '')
    return this.#outputOf(child, argv)
  }

  #outputOf(child: ChildProcess, argv: readonly string[]): Promise<Output> {
    const said = { stdout: '', stderr: '' }
    let failure: string | undefined
    for (const stream of ['stdout', 'stderr'] as const) {
      child[stream]?.setEncoding('utf8').on('data', (text: string) => {
        said[stream] += text
        if (said[stream].length <= this.#limit) return
        failure = 'it says too much'
        child.kill('SIGKILL')
      })
    }
    return new Promise((resolve, reject) => {
      child.on('error', (cause: NodeJS.ErrnoException) => {
        if (cause.code === 'ENOENT') resolve({ stdout: '', stderr: 'command not found', status: 127 })
        else reject(commandFailed(argv, { ...said, stderr: cause.message, status: -1 }, cause))
      })
      child.on('close', (status, signal) => {
        if (signal === null && failure === undefined) return resolve({ ...said, status: status ?? -1 })
        const stderr = failure ?? `ended by ${signal ?? 'nobody'}, it may have taken too long`
        reject(commandFailed(argv, { ...said, stderr, status: -1 }))
      })
    })
  }
}

/** The error for a program that failed: its argv and the first line it complained with. */
export function commandFailed(argv: readonly string[], output: Output, cause?: unknown): DroverError {
  const reason = output.stderr.split('\n').find((line) => line.trim() !== '') ?? `status ${output.status}`
  const command = argv.join(' ')
  return new DroverError('COMMAND_FAILED', `${command}: ${reason}`, {
    fields: { command, status: output.status, reason },
    cause,
  })
}
