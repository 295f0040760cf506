/**
 * A program of the metadata benchmark in its namespace: lines of JSON out, commands in, its memory and processor time.
 */
import type { ChildProcess } from 'node:child_process'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { residentMemory } from '../../lab/command.ts'
import { node, root } from '../../lab/layout.ts'
import { DroverError } from '../../model/errors.ts'
import type { NetnsWorld, TestNetns } from '../../test/support/netns.ts'
import { processorTime } from '../dns/load.ts'

/** As the daemon runs: it keeps compiled code where this names a folder. */
const cache = `NODE_COMPILE_CACHE=${join(root, 'node_modules', '.cache', 'drover')}`

type Said = Readonly<Record<string, string | number | boolean>>

export class Program {
  readonly #child: ChildProcess
  readonly #lines: AsyncIterator<string>
  readonly #name: string
  #errors = ''

  /** `file` is one of `bench/metadata/`. */
  constructor(world: NetnsWorld, space: TestNetns, file: string, args: readonly string[]) {
    this.#name = `${file} ${args.join(' ')}`
    this.#child = world.spawn(space, ['env', cache, node, join(root, 'bench', 'metadata', file), ...args])
    const { stdout, stderr } = this.#child
    if (stdout === null) throw new DroverError('COMMAND_FAILED', `${this.#name}: no output`)
    this.#lines = createInterface({ input: stdout })[Symbol.asyncIterator]()
    stderr?.on('data', (chunk) => {
      this.#errors = (this.#errors + String(chunk)).slice(-500)
    })
  }

  get pid(): number {
    return this.#child.pid ?? 0
  }

  /** MiB. */
  get memory(): number {
    return residentMemory(this.pid) / 1024
  }

  /** Microseconds. */
  get processor(): number {
    return processorTime(this.pid)
  }

  /** The next line it says. */
  async said(): Promise<Said> {
    const { value, done } = await this.#lines.next()
    if (done === true) throw new DroverError('COMMAND_FAILED', `${this.#name}: ${this.#errors}`)
    return JSON.parse(value) as Said
  }

  async ask(command: string): Promise<Said> {
    this.#child.stdin?.write(`${command}\n`)
    return this.said()
  }

  /** It ends with its input, and keeps what it compiled. */
  async end(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return
    const gone = new Promise((resolve) => this.#child.once('close', resolve))
    const force = setTimeout(() => this.#child.kill('SIGKILL'), 5000)
    this.#child.stdin?.end()
    await gone
    clearTimeout(force)
  }
}
