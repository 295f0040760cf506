/**
 * Work that runs beside: every promise that nobody awaits is given to here, so that none is lost. A task that
 * fails although it promised never to is a bug of ours and ends the process with its stack.
 */
import type { Log } from '../model/ports.ts'

export class Tasks {
  readonly #log: Log
  readonly #running = new Set<Promise<void>>()
  readonly #crash: () => void

  /** `crash` ends the process. */
  constructor(log: Log, crash: () => void) {
    this.#log = log
    this.#crash = crash
  }

  run(name: string, task: Promise<unknown>): void {
    const running: Promise<void> = task
      .then(
        () => undefined,
        (err: unknown) => {
          this.#log.error('a task failed that must not fail', { task: name, err })
          this.#crash()
        },
      )
      .finally(() => this.#running.delete(running))
    this.#running.add(running)
  }

  async settled(): Promise<void> {
    await Promise.all(this.#running)
  }
}
