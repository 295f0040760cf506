/**
 * Whom to call now: peers without an SA, each at its own pace. Sans IO. The host with the lower id calls first, so that
 * two that meet make one SA; the other waits for a moment, in case it cannot be reached. A peer that refuses is asked
 * ever less often, up to a limit that lets a path which is back be used soon.
 */
import type { HostId } from '../../model/records.ts'
import { type Millis, seconds } from '../../model/time.ts'

const firstPause = seconds(1)
const lastPause = seconds(8)
const courtesy = seconds(4)

interface Pace {
  pause: number
  next: number
}

export class Calls {
  readonly #self: HostId
  readonly #paces = new Map<HostId, Pace>()

  constructor(self: HostId) {
    this.#self = self
  }

  /** Something about this peer is new; `urgent`: no courtesy, because it believes that it has an SA. */
  soon(host: HostId, urgent: boolean): void {
    if (urgent) this.#paces.set(host, { pause: firstPause, next: 0 })
    else this.#paces.delete(host)
  }

  /** Of those that lack an SA the ones whose time has come; whoever is not among them has one, and starts anew. */
  due(missing: readonly HostId[], now: Millis): readonly HostId[] {
    const all = new Set(missing)
    for (const host of this.#paces.keys()) if (!all.has(host)) this.#paces.delete(host)
    return missing.filter((host) => this.#isDue(host, now))
  }

  #isDue(host: HostId, now: Millis): boolean {
    const pace = this.#paces.get(host) ?? {
      pause: firstPause,
      next: this.#self < host ? now : now + courtesy,
    }
    this.#paces.set(host, pace)
    if (now < pace.next) return false
    pace.next = now + pace.pause
    pace.pause = Math.min(pace.pause * 2, lastPause)
    return true
  }
}
