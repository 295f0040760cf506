/**
 * Applies the newest of many values: one at a time, never an old one after a new one, and again after a failure.
 * The heart of being level-triggered.
 */
import type { Clock, Timer } from '../model/ports.ts'
import { type Millis, millis } from '../model/time.ts'

export interface LatestDeps {
  readonly clock: Clock
  readonly onFailure: (error: unknown) => void
}

const firstRetry = millis(250)
const lastRetry = 10_000

export class Latest<T> {
  readonly #apply: (value: T) => Promise<unknown>
  readonly #deps: LatestDeps
  #next: { readonly value: T } | undefined
  #last: { readonly value: T } | undefined
  #running: Promise<void> | undefined
  #delay: Millis = firstRetry
  #retry: Timer | undefined
  /** Of the value that was offered last as data. */
  #text = ''
  #closed = false

  constructor(apply: (value: T) => Promise<unknown>, deps: LatestDeps) {
    this.#apply = apply
    this.#deps = deps
  }

  /** Applies `value` unless a newer one comes before its turn. */
  offer(value: T): void {
    this.#next = { value }
    this.#running ??= this.#run()
  }

  /** The same, unless it says what was offered last: for values that JSON has whole. */
  offerData(value: T): void {
    const text = JSON.stringify(value)
    if (text === this.#text) return
    this.#text = text
    this.offer(value)
  }

  /** Applies the last value once more, because the world may have changed. */
  again(): void {
    if (this.#last !== undefined && this.#next === undefined) this.offer(this.#last.value)
  }

  /** Resolves when nothing is being applied. */
  async close(): Promise<void> {
    this.#closed = true
    this.#retry?.cancel()
    await this.#running
  }

  async #run(): Promise<void> {
    while (this.#next !== undefined && !this.#closed) {
      const turn = this.#next
      this.#next = undefined
      this.#last = turn
      this.#retry?.cancel()
      try {
        await this.#apply(turn.value)
        this.#delay = firstRetry
      } catch (error) {
        this.#deps.onFailure(error)
        this.#retry = this.#deps.clock.after(this.#delay, () => this.again())
        this.#delay = millis(Math.min(lastRetry, this.#delay * 2))
      }
    }
    // In the same step as the look at `next`: whoever offers later finds nobody running.
    this.#running = undefined
  }
}
