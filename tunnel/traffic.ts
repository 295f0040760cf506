/**
 * Whether a peer's path ought to be looked at, told from how many bytes were sent to it: when traffic begins, when
 * it breaks off (a hop that swallows large packets stops a TCP stream), and now and then while it goes on. Pure.
 * Never more than a few times a minute, whatever the traffic does.
 */
import { type Millis, seconds } from '../model/time.ts'

/** More than our own probes and their answers within one report: a connection retries a lost packet three times in a second. */
const busyBytes = 4000
/** To this share of what it was. */
const breakOff = 1 / 2
const regularly = seconds(15)
const most = 6
const refillEvery = seconds(10)

export class TrafficWatch {
  #total: number | undefined
  #last = 0
  #askedAt = Number.NEGATIVE_INFINITY
  #budget = most
  #budgetAt = 0

  /** `total`: bytes sent so far, as the engine counts. True where a probe should go out. */
  report(total: number, now: Millis): boolean {
    const before = this.#total
    this.#total = total
    if (before === undefined) return false
    // an engine that was started again counts from zero
    const sent = total >= before ? total - before : total
    const last = this.#last
    this.#last = sent
    const [is, was] = [sent > busyBytes, last > busyBytes]
    const changed = (is && !was) || (was && sent < last * breakOff)
    return changed || (is && now - this.#askedAt >= regularly) ? this.#spend(now) : false
  }

  #spend(now: Millis): boolean {
    const fresh = Math.floor((now - this.#budgetAt) / refillEvery)
    if (fresh > 0) {
      this.#budget = Math.min(most, this.#budget + fresh)
      this.#budgetAt += fresh * refillEvery
    }
    if (this.#budget === 0) return false
    this.#budget--
    this.#askedAt = now
    return true
  }
}
