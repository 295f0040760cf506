/**
 * The last lines of the log, kept for `drover report`: where a service's output goes differs from machine to
 * machine. Pure.
 */
const limit = 300

export class LogTail {
  readonly #lines: string[] = []

  add(line: string): void {
    this.#lines.push(line.trimEnd())
    if (this.#lines.length > limit) this.#lines.shift()
  }

  lines(): readonly string[] {
    return [...this.#lines]
  }
}
