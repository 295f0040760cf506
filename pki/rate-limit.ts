/**
 * How often strangers may try: so many in a minute from one address, and so many from all of them. Pure; the
 * time comes in. It remembers a minute and no more.
 */
import { type Millis, minutes } from '../model/time.ts'

const window = minutes(1)

export interface Limits {
  readonly perAddress: number
  readonly overall: number
}

export class RateLimit {
  readonly #limits: Limits
  #tries: { readonly from: string; readonly at: number }[] = []

  constructor(limits: Limits) {
    this.#limits = limits
  }

  /** Counts one try, unless there were too many. */
  admits(from: string, now: Millis): boolean {
    this.#tries = this.#tries.filter(({ at }) => now - at < window)
    const own = this.#tries.filter((one) => one.from === from).length
    if (own >= this.#limits.perAddress || this.#tries.length >= this.#limits.overall) return false
    this.#tries.push({ from, at: now })
    return true
  }
}
