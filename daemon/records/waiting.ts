/**
 * Entries of the store that wait for their signer or for its head. Most are early by a moment; what was meant to
 * mislead shows by what comes after it: nobody who belongs here has signed it, or its host's list is newer and does
 * not name it. Pure; the time comes in.
 */
import type { KeyMeaning } from '../../model/keys.ts'
import type { HostId } from '../../model/records.ts'
import { type Instant, later, seconds } from '../../model/time.ts'
import type { Envelope } from '../../pki/envelope.ts'
import type { Attempt } from '../../status/checks/attempts.ts'
import type { Entry } from '../../store/store.ts'

export interface Opened {
  readonly entry: Entry
  readonly meaning: KeyMeaning
  readonly envelope: Envelope
  readonly seen: Instant
}

export interface WaitingDeps {
  readonly isKnown: (signer: HostId) => boolean
  /** Counter of the newest head of a host; 0 for none. */
  readonly headOf: (signer: HostId) => number
  readonly note: (one: Opened, why: string) => void
}

/** Longer than a host takes from its first word to its record. */
const early = seconds(10)
const shown = 100
/** What stands in the same transaction as the head that lists it, or before it: what is left out was taken back. */
const listed = new Set<KeyMeaning['is']>(['host', 'block', 'container', 'service'])
const byNobody = 'not signed by a member'

export class Waiting {
  readonly #deps: WaitingDeps
  readonly #entries = new Map<string, Opened>()
  readonly #told = new WeakSet<Opened>()

  constructor(deps: WaitingDeps) {
    this.#deps = deps
  }

  has(key: string): boolean {
    return this.#entries.has(key)
  }

  keys(): Iterable<string> {
    return this.#entries.keys()
  }

  of(signers: ReadonlySet<HostId>): readonly Opened[] {
    return [...this.#entries.values()].filter(({ envelope }) => signers.has(envelope.key))
  }

  add(one: Opened): void {
    this.#entries.set(one.entry.key, one)
  }

  /** What still waits once all that came with it was taken, its list among it, and is older than that. */
  tellOld(came: readonly Opened[]): void {
    for (const one of came) {
      const { key: signer, counter } = one.envelope
      const isOld = listed.has(one.meaning.is) && counter < this.#deps.headOf(signer)
      if (this.#entries.get(one.entry.key) === one && isOld && this.#deps.isKnown(signer))
        this.#tell(one, 'older than the newest list of its host')
    }
  }

  /** It counts by now. */
  settle(key: string): void {
    this.#entries.delete(key)
  }

  /** Something else lies there, or nothing. */
  replace(key: string): void {
    const one = this.#entries.get(key)
    this.#entries.delete(key)
    if (one !== undefined && !this.#deps.isKnown(one.envelope.key)) this.#tell(one, byNobody)
  }

  clear(): void {
    this.#entries.clear()
  }

  /** What lies there and nobody who belongs here has signed. */
  attempts(now: Instant): readonly Attempt[] {
    return [...this.#entries.values()]
      .filter(({ envelope, seen }) => !this.#deps.isKnown(envelope.key) && later(seen, early) <= now)
      .slice(0, shown)
      .map(({ envelope, meaning, seen }) => ({
        who: envelope.key,
        what: `${meaning.is}: ${byNobody}`,
        times: 1,
        first: seen,
        last: seen,
      }))
  }

  #tell(one: Opened, why: string): void {
    if (this.#told.has(one)) return
    this.#told.add(one)
    this.#deps.note(one, why)
  }
}
