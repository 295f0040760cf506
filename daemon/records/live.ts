/**
 * What of this host counts: the number of the newest envelope that it wants to stand under each key. Claims are
 * remembered on disk before they are sent, since only this host knows which of them it has given back.
 */
import { mayPass } from '../../model/errors.ts'
import type { Keys } from '../../model/keys.ts'
import { meaningOf } from '../../model/keys.ts'
import type { ClaimSealer, Clock, Ledger, Sealer } from '../../model/ports.ts'
import type { HeadRecord, HostId } from '../../model/records.ts'
import { seconds } from '../../model/time.ts'
import { counterOf, openEnvelope } from '../../pki/envelope.ts'
import { headRecordOf } from '../../pki/head.ts'
import type { Update } from '../../store/store.ts'

export interface LiveDeps {
  readonly self: HostId
  /** Signs, and numbers what it signs. */
  readonly sealer: Sealer
  readonly ledger: Ledger
  readonly clock: Clock
  /** The head should be signed anew. */
  readonly onChange: () => void
  /** Whether nobody but the store itself can have lost this claim: then it is written again. */
  readonly keeps: (key: string) => boolean
}

const prefix = 'live/'
/** A claim that is on its way may not stand in a view yet. */
const underWay = seconds(30)

export class Live implements ClaimSealer {
  readonly #deps: LiveDeps
  readonly #keys: Keys
  readonly #counters = new Map<string, number>()
  readonly #sealedAt = new Map<string, number>()
  readonly #missing = new Set<string>()
  /** What the ledger is still to forget: the disk refused. */
  readonly #owed = new Map<string, string | undefined>()

  constructor(deps: LiveDeps, keys: Keys) {
    this.#deps = deps
    this.#keys = keys
    for (const [key, text] of deps.ledger.entries())
      if (key.startsWith(prefix)) this.#counters.set(key.slice(prefix.length), Number(text))
  }

  /** Signs a claim, which counts from now on. */
  seal(key: string, body: object): Uint8Array {
    const bytes = this.sealRecord(key, body)
    this.#deps.ledger.write(new Map([...this.#owed, [prefix + key, String(this.#counters.get(key))]]))
    this.#owed.clear()
    this.#sealedAt.set(key, this.#deps.clock.boot())
    this.#deps.onChange()
    return bytes
  }

  /** What was sealed last for the key did not get into the store. */
  unseal(key: string): void {
    this.#missing.delete(key)
    if (!this.#counters.delete(key)) return
    this.#owe(prefix + key)
    this.#deps.onChange()
  }

  /** Signs a record that the publisher writes together with the head. */
  sealRecord(key: string, body: object): Uint8Array {
    const bytes = this.#deps.sealer.seal(key, body)
    this.#counters.set(key, counterOf(bytes))
    return bytes
  }

  /** A record that the publisher takes back together with writing the head. */
  forget(key: string): void {
    this.#counters.delete(key)
  }

  /** Of what is wanted under a key; -1 for nothing. */
  counter(key: string): number {
    return this.#counters.get(key) ?? -1
  }

  isLive(key: string, counter: number): boolean {
    return this.#counters.get(key) === counter
  }

  /** What stands in the store from before this process, by a head that is this host's own. */
  adopt(key: string, counter: number): void {
    if (!this.#counters.has(key)) this.#counters.set(key, counter)
  }

  head(host: HeadRecord['host']): HeadRecord {
    return headRecordOf(host, this.#counters.values(), this.#deps.clock.now())
  }

  missing(): ReadonlySet<string> {
    return this.#missing
  }

  /** Claims that somebody took out of the store do not come back, unless only the store can have lost them. */
  observe(update: Update): void {
    if (update.is === 'stale') return
    if (update.is === 'snapshot') {
      const standing = new Map(update.entries.map((entry) => [entry.key, entry.value]))
      for (const key of [...this.#counters.keys()]) this.#stands(key, standing.get(key))
      return
    }
    for (const change of update.changes) {
      const [key, value] = change.is === 'put' ? [change.entry.key, change.entry.value] : [change.key]
      if (this.#counters.has(key)) this.#stands(key, value)
    }
  }

  #stands(key: string, value: Uint8Array | undefined): void {
    const { is } = meaningOf(this.#keys.prefix, key)
    if (is !== 'block' && is !== 'pin') return
    // A pin inside another host's block is signed by that host once it is granted.
    const isOurs = value !== undefined && (is === 'pin' || this.#isOurs(key, value))
    if (isOurs) this.#missing.delete(key)
    else if (this.#deps.keeps(key)) this.#missing.add(key)
    else if (value === undefined) this.#gone(key)
  }

  /** A claim that the ledger still names after a kill is not in the store, and is found to be gone again. */
  #owe(entry: string): void {
    this.#owed.set(entry, undefined)
    try {
      this.#deps.ledger.write(this.#owed)
      this.#owed.clear()
    } catch (error) {
      if (!mayPass(error)) throw error
    }
  }

  #isOurs(key: string, value: Uint8Array): boolean {
    const opened = openEnvelope(value)
    return (
      opened.is === 'ok' && opened.value.key === this.#deps.self && this.isLive(key, opened.value.counter)
    )
  }

  #gone(key: string): void {
    const sealedAt = this.#sealedAt.get(key) ?? Number.NEGATIVE_INFINITY
    if (this.#deps.clock.boot() - sealedAt >= underWay) this.unseal(key)
  }
}
