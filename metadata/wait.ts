/**
 * Long polls that wait for a change. They are woken by the change itself and end at their own deadline to the
 * millisecond; there is no tick. Thousands are looked at in portions, so that others are answered between.
 */
import type { Clock, Timer } from '../model/ports.ts'
import { type Millis, millis } from '../model/time.ts'

/** Polls that are looked at in one go: some ten milliseconds. */
const atOnce = 1024

interface Poll {
  readonly isUnchanged: () => boolean
  readonly done: () => void
  readonly timer: Timer
}

export class Waiters {
  readonly #clock: Clock
  readonly #polls = new Set<Poll>()
  #woken: Poll[] = []
  #next: Timer | undefined

  constructor({ clock }: { readonly clock: Clock }) {
    this.#clock = clock
  }

  get size(): number {
    return this.#polls.size
  }

  /** Calls `done` once: when a wake-up finds a change, or after `atMost`. Cancelling forgets it. */
  wait(isUnchanged: () => boolean, atMost: Millis, done: () => void): Timer {
    const timer = this.#clock.after(atMost, () => this.#end(poll))
    const poll: Poll = { isUnchanged, done, timer }
    this.#polls.add(poll)
    return { cancel: () => this.#forget(poll) }
  }

  /** Looks at every poll again: to be called whenever the tree is a new one. */
  wake(): void {
    this.#next?.cancel()
    this.#woken = [...this.#polls]
    this.#look()
  }

  #look(): void {
    for (const poll of this.#woken.splice(-atOnce)) {
      if (this.#polls.has(poll) && !poll.isUnchanged()) this.#end(poll)
    }
    this.#next = this.#woken.length === 0 ? undefined : this.#clock.after(millis(0), () => this.#look())
  }

  /** Answers all of them as they are. */
  close(): void {
    this.#next?.cancel()
    for (const poll of [...this.#polls]) this.#end(poll)
  }

  #end(poll: Poll): void {
    if (this.#forget(poll)) poll.done()
  }

  #forget(poll: Poll): boolean {
    poll.timer.cancel()
    return this.#polls.delete(poll)
  }
}
