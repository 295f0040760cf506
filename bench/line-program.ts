/**
 * A program of ours inside a namespace that is told things and answers in lines of JSON.
 */
import type { ChildProcess } from 'node:child_process'
import { createInterface } from 'node:readline'

export class LineProgram {
  readonly #child: ChildProcess
  readonly #lines: AsyncIterator<string>
  #complaint = ''

  constructor(child: ChildProcess) {
    this.#child = child
    if (child.stdout === null) throw new TypeError('its output is not a pipe')
    this.#lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
    child.stderr?.on('data', (chunk) => {
      this.#complaint = (this.#complaint + String(chunk)).slice(-500)
    })
  }

  say(order: unknown): void {
    this.#child.stdin?.write(`${JSON.stringify(order)}\n`)
  }

  /** Its next line. */
  async next<T>(): Promise<T> {
    const { value, done } = await this.#lines.next()
    if (done === true) throw new Error(`${this.#child.spawnargs.join(' ')} ended: ${this.#complaint}`)
    return JSON.parse(value) as T
  }

  close(): void {
    this.#child.kill('SIGKILL')
  }
}
