/**
 * The newest head of each host: what of its records lives, and the counters below which everything is old bytes.
 */
import { type Keys, meaningOf } from '../../model/keys.ts'
import type { HostId } from '../../model/records.ts'
import type { Instant } from '../../model/time.ts'
import { type Envelope, openEnvelope } from '../../pki/envelope.ts'
import { type Head, openHead } from '../../pki/head.ts'
import type { Entry } from '../../store/store.ts'

/** When a host signed its newest head, by its clock, and when that was seen here, by ours. */
export interface HeadTimes {
  readonly signed: Instant
  readonly seen: Instant
  /** It came while we watched: then the two differ by little more than the clocks do. */
  readonly watched: boolean
}

export class Heads {
  readonly #newest = new Map<HostId, Head>()
  readonly #times = new Map<HostId, HeadTimes>()
  /** The newest counter of a head that was seen, and of an alive key: older ones are old bytes. */
  readonly #floors = new Map<string, number>()

  get times(): ReadonlyMap<HostId, HeadTimes> {
    return this.#times
  }

  /** By `head/<host>` and `alive/<host>`. */
  get floors(): ReadonlyMap<string, number> {
    return this.#floors
  }

  recall(floors: Iterable<readonly [string, number]>): void {
    for (const [what, counter] of floors) this.#floors.set(what, counter)
  }

  /** The counter of the newest head of a host that was ever seen; 0 for none. */
  counterOf(host: HostId): number {
    return this.#floors.get(`head/${host}`) ?? 0
  }

  /** Undefined when `counter` is not older than what was seen of `what` before; else why it does not count. */
  rise(what: `head/${HostId}` | `alive/${HostId}`, counter: number): string | undefined {
    if (counter < (this.#floors.get(what) ?? 0)) return 'older than what was seen before'
    this.#floors.set(what, counter)
    return undefined
  }

  /** The head, which is now the newest of its host; else why it does not count. */
  put(
    host: HostId,
    { body, counter }: Envelope,
    when: Omit<HeadTimes, 'signed'>,
  ): { readonly head: Head } | { readonly why: string } {
    const head = openHead(body, host)
    if (head.is === 'bad') return head
    const why = this.rise(`head/${host}`, counter)
    if (why !== undefined) return { why }
    this.#newest.set(host, head.value)
    this.#times.set(host, { signed: head.value.time, ...when })
    return { head: head.value }
  }

  lists(host: HostId, counter: number): boolean {
    return this.#newest.get(host)?.live.has(counter) === true
  }

  /** Whether a listing is from before a head that was seen: no host takes one back, and `self` has one if it has written. */
  areNewerThan(entries: readonly Entry[], keys: Keys, self: HostId): boolean {
    const own = keys.head(self)
    if (this.#floors.has(`head/${self}`) && !entries.some(({ key }) => key === own)) return true
    return entries.some(({ key, value }) => {
      const meaning = meaningOf(keys.prefix, key)
      const floor = meaning.is === 'head' ? this.counterOf(meaning.host) : 0
      const opened = floor === 0 ? undefined : openEnvelope(value)
      return opened?.is === 'ok' && opened.value.counter < floor
    })
  }
}
