/**
 * Attempts to get in or to change what is not one's own, counted by who and what: so many lines as there are
 * different ones, and no more than a limit, whoever writes how much. Pure; the time comes in.
 */
import type { Instant } from '../../model/time.ts'
import type { Attempt } from '../../status/checks/attempts.ts'

const limit = 100
const longest = 200

export class Attempts {
  readonly #seen = new Map<string, Attempt>()

  note(who: string, what: string, now: Instant): void {
    const cut = what.slice(0, longest)
    const key = JSON.stringify([who, cut])
    const before = this.#seen.get(key)
    // Anew at the end: the one that is forgotten first is the one that was seen longest ago.
    this.#seen.delete(key)
    this.#seen.set(key, {
      who,
      what: cut,
      times: (before?.times ?? 0) + 1,
      first: before?.first ?? now,
      last: now,
    })
    const [oldest] = this.#seen.keys()
    if (this.#seen.size > limit && oldest !== undefined) this.#seen.delete(oldest)
  }

  list(): readonly Attempt[] {
    return [...this.#seen.values()]
  }
}
