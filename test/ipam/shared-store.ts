/**
 * The truth of the model's world, and one door to it per process. A call takes time on both ways, may get lost on
 * either, and lands even when its sender has given it up or has crashed, as with a real store over a real network.
 */
import { claimOf } from '../../ipam/claims.ts'
import { utf8 } from '../../model/bytes.ts'
import { DroverError } from '../../model/errors.ts'
import type { Cidr, Ipv4 } from '../../model/ip.ts'
import { keysOf, meaningOf } from '../../model/keys.ts'
import type { ClaimSealer } from '../../model/ports.ts'
import type { Claim, HostId } from '../../model/records.ts'
import type { Condition, Entry, Lease, Listing, Outcome, Store, Update, Write } from '../../store/store.ts'
import type { SeededRandom } from '../support/ports.ts'

export const keys = keysOf('model')
const leaseLength = 9000
const deadline = 3000 // after which a caller gives up

/** Envelopes without a signature. */
export const plainSealer: ClaimSealer = {
  seal: (_key, body) => utf8(JSON.stringify({ body: JSON.stringify(body) })),
  unseal: () => undefined,
  missing: () => new Set(),
}

export type Note = (situation: string) => void

const kindOf = (key: string): string => meaningOf(keys.prefix, key).is

export class SharedStore {
  readonly entries = new Map<string, Entry>()
  revision = 1
  readonly #leases = new Map<string, number>()
  readonly #claims = new WeakMap<Uint8Array, Claim>()
  readonly #note: Note

  constructor(note: Note) {
    this.#note = note
  }

  transact(conditions: readonly Condition[], writes: readonly Write[]): Outcome {
    const broken = conditions.find((condition) => !this.#holds(condition))
    for (const { is, key } of writes) this.#tell(is, key, conditions, broken)
    if (broken !== undefined) return { is: 'refused', revision: this.revision }
    this.revision++
    for (const write of writes) {
      if (write.is === 'delete') this.entries.delete(write.key)
      else this.entries.set(write.key, { key: write.key, value: write.value, revision: this.revision })
    }
    return { is: 'done', revision: this.revision }
  }

  /** Prolongs the lease of a host; the revision at which its alive key was put. */
  renew(host: HostId, now: number): number {
    const key = keys.alive(host)
    this.#leases.set(key, now + leaseLength)
    const found = this.entries.get(key)
    return found?.revision ?? this.transact([], [{ is: 'put', key, value: utf8('{}') }]).revision
  }

  expire(now: number): void {
    for (const [key, until] of this.#leases) {
      if (until >= now) continue
      this.#leases.delete(key)
      this.transact([], [{ is: 'delete', key }])
    }
  }

  claimAt(key: string): Claim | undefined {
    const value = this.entries.get(key)?.value
    if (value === undefined) return undefined
    const claim = this.#claims.get(value) ?? claimOf(value)
    if (claim !== undefined) this.#claims.set(value, claim)
    return claim
  }

  /** Where packets to an address go: a pin of its own comes before the block around it. */
  leadsTo(address: Ipv4, block: Cidr): Pick<Claim, 'host' | 'container'> | undefined {
    const pin = this.claimAt(keys.pin(address))
    if (pin?.confirmed) return pin
    const owner = this.claimAt(keys.block(block))
    return owner && { host: owner.host, container: null }
  }

  #holds(condition: Condition): boolean {
    if (condition.is === 'empty')
      return ![...this.entries.keys()].some((key) => key.startsWith(condition.prefix))
    const entry = this.entries.get(condition.key)
    if (condition.is === 'revision') return entry?.revision === condition.revision
    return (entry !== undefined) === (condition.is === 'present')
  }

  /** Counts what was tried and how it ended, such as `delete block if alive, revision: refused by alive`. */
  #tell(is: string, key: string, conditions: readonly Condition[], broken: Condition | undefined): void {
    const kind = kindOf(key)
    if (kind !== 'block' && kind !== 'pin') return
    const about = (one: Condition): string =>
      one.is === 'empty' ? 'pin' : one.key === key ? one.is : kindOf(one.key)
    const guards = [...new Set(conditions.map(about))].sort().join(', ')
    this.#note(`${is} ${kind} if ${guards}: ${broken === undefined ? 'done' : `refused by ${about(broken)}`}`)
  }
}

export type Link = 'at once' | 'up' | 'slow' | 'cut' | 'loses answers' | 'loses everything'

/** What a door needs to know of the process behind it. */
export interface Sender {
  readonly random: SeededRandom
  readonly note: Note
  readonly isAlive: () => boolean
  /** The last revision at which this process is known to have written. */
  readonly wrote: (revision: number) => void
  /** Runs something after some time of the world. */
  readonly later: (delay: number, action: () => void) => void
  /** Runs something on the host: not while it sleeps, never when the process is gone. */
  readonly onHost: (action: () => void) => void
}

export class Door implements Store {
  link: Link
  readonly #shared: SharedStore
  readonly #sender: Sender

  constructor(shared: SharedStore, sender: Sender, link: Link) {
    this.#shared = shared
    this.#sender = sender
    this.link = link
  }

  /** A call that travels, lands and is answered, or not. */
  call<T>(action: () => T): Promise<T> {
    const { later, note, onHost } = this.#sender
    return new Promise((resolve, reject) => {
      let open = true
      const close = (end: () => void): void =>
        onHost(() => {
          if (open) end()
          open = false
        })
      const giveUp = (): void => close(() => reject(new DroverError('STORE_UNAVAILABLE', 'no answer')))
      if (this.link === 'cut') return later(0, giveUp)
      const isLost = this.link === 'loses everything'
      const losesAnswer = this.link === 'loses answers'
      const slow = this.link !== 'up' && this.link !== 'at once'
      if (slow) later(deadline, giveUp)
      if (isLost) return
      later(this.#delay(slow), () => {
        if (!open) note('a call landed after its sender had given it up')
        if (!this.#sender.isAlive()) note('a call landed after its sender had crashed')
        const result = action()
        if (losesAnswer) note('a call landed and its answer was lost')
        else later(this.#delay(slow), () => close(() => resolve(result)))
      })
    })
  }

  get(key: string): Promise<Entry | undefined> {
    return this.call(() => this.#shared.entries.get(key))
  }
  list(prefix: string): Promise<Listing> {
    const found = (): readonly Entry[] =>
      [...this.#shared.entries.values()].filter(({ key }) => key.startsWith(prefix))
    return this.call(() => ({ revision: this.#shared.revision, entries: found() }))
  }
  async transact(conditions: readonly Condition[], writes: readonly Write[]): Promise<Outcome> {
    const outcome = await this.call(() => this.#shared.transact(conditions, writes))
    if (outcome.is === 'done') this.#sender.wrote(outcome.revision)
    return outcome
  }
  grant(): Promise<Lease> {
    throw new TypeError('the model makes leases itself')
  }
  watch(): AsyncIterable<Update> {
    throw new TypeError('the model makes views itself')
  }
  async close(): Promise<void> {}

  #delay(slow: boolean): number {
    const { random } = this.#sender
    if (this.link === 'at once') return 0
    if (!slow) return random.below(4) === 0 ? random.below(60) : 0
    return random.below(3) === 0 ? random.below(2 * deadline) : random.below(500)
  }
}
