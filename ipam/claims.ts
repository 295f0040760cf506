/**
 * The contended keys of the store: blocks and pinned addresses, each taken, given back and taken over by one
 * compare-and-swap. Rejects with STORE_UNAVAILABLE; then nobody knows whether the write happened, and only a
 * later view of the store tells.
 */
import { utf8Text } from '../model/bytes.ts'
import type { Cidr, Ipv4 } from '../model/ip.ts'
import type { Keys } from '../model/keys.ts'
import type { ClaimSealer } from '../model/ports.ts'
import { type Claim, type ContainerId, claimSchema, decodeRecord, type HostId } from '../model/records.ts'
import type { Outcome, Store } from '../store/store.ts'
import { noPinInside } from './exclusion.ts'

/** How an attempt to pin ended. */
export type Pinning =
  | { readonly is: 'ours'; readonly revision: number }
  /** Inside another host's block: written as a request, which its owner answers. */
  | { readonly is: 'asked'; readonly owner: HostId; readonly revision: number }
  /** Somebody has it; undefined when the record does not say who. */
  | { readonly is: 'taken'; readonly by: HostId | undefined }
  /** Something changed in between: worth another try. */
  | { readonly is: 'raced' }

/** How giving up a key ended: at `revision` it is no longer ours. */
export type Dropping = { readonly is: 'gone'; readonly revision: number } | { readonly is: 'raced' }

interface Read {
  readonly claim: Claim | undefined
  /** When the key was last written; undefined when it is absent. */
  readonly revision: number | undefined
  /** When it was read. */
  readonly at: number
}

/** The claim inside an envelope; whoever made the view has verified it, here it is only compared. */
export function claimOf(value: Uint8Array): Claim | undefined {
  try {
    const envelope: unknown = JSON.parse(utf8Text(value) ?? '')
    if (typeof envelope !== 'object' || envelope === null || !('body' in envelope)) return undefined
    const decoded = decodeRecord(claimSchema, String(envelope.body))
    return decoded.is === 'ok' ? decoded.value : undefined
  } catch {
    return undefined
  }
}

export class Claims {
  readonly #store: Store
  readonly #sealer: ClaimSealer
  readonly #keys: Keys
  readonly #self: HostId

  constructor(
    deps: { readonly store: Store; readonly sealer: ClaimSealer },
    options: { readonly keys: Keys; readonly self: HostId },
  ) {
    this.#store = deps.store
    this.#sealer = deps.sealer
    this.#keys = options.keys
    this.#self = options.self
  }

  /** Claims a block that nobody has and in which nobody has pinned an address. */
  claimBlock(block: Cidr, epoch: number): Promise<Outcome> {
    const key = this.#keys.block(block)
    const conditions = [{ key, is: 'absent' as const }, ...noPinInside(this.#keys, block)]
    return this.#put(key, { host: this.#self, epoch, container: null, confirmed: true }, conditions)
  }

  /**
   * Writes the claim of a block again that the store has lost, or of which it holds an older one: over what lies
   * there, unless that changes in the same moment.
   */
  async rewriteBlock(block: Cidr, epoch: number): Promise<Outcome> {
    const key = this.#keys.block(block)
    const found = await this.#read(key)
    const claim = { host: this.#self, epoch, container: null, confirmed: true }
    if (found.revision === undefined)
      return this.#put(key, claim, [{ key, is: 'absent' }, ...noPinInside(this.#keys, block)])
    return this.#put(key, claim, [{ key, is: 'revision', revision: found.revision }])
  }

  /** Gives back a block. */
  dropBlock(block: Cidr): Promise<Dropping> {
    return this.#drop(this.#keys.block(block))
  }

  /** Gives back a pinned address, or withdraws the request for it. */
  dropPin(address: Ipv4): Promise<Dropping> {
    return this.#drop(this.#keys.pin(address))
  }

  /** Pins an address for a container, or asks the owner of the block around it. */
  async pin(address: Ipv4, block: Cidr, container: ContainerId, epoch: number): Promise<Pinning> {
    const [key, around] = [this.#keys.pin(address), this.#keys.block(block)]
    const [pinned, owned] = await Promise.all([this.#read(key), this.#read(around)])
    if (pinned.revision !== undefined) return { is: 'taken', by: pinned.claim?.host }
    const claim = { host: this.#self, epoch, container, confirmed: owned.revision === undefined }
    if (owned.revision === undefined) {
      const conditions = [
        { key, is: 'absent' as const },
        { key: around, is: 'absent' as const },
      ]
      const { is, revision } = await this.#put(key, claim, conditions)
      return is === 'done' ? { is: 'ours', revision } : { is: 'raced' }
    }
    const owner = owned.claim?.host
    if (owner === undefined) return { is: 'taken', by: undefined }
    if (owner === this.#self) return { is: 'raced' }
    const conditions = [
      { key, is: 'absent' as const },
      { key: around, is: 'revision' as const, revision: owned.revision },
    ]
    const { is, revision } = await this.#put(key, claim, conditions)
    return is === 'done' ? { is: 'asked', owner, revision } : { is: 'raced' }
  }

  /** Grants another host's request inside our block; the caller has journalled it before. */
  async grant(address: Ipv4, block: Cidr, wanted: Claim): Promise<Dropping> {
    const [key, around] = [this.#keys.pin(address), this.#keys.block(block)]
    const [pinned, owned] = await Promise.all([this.#read(key), this.#read(around)])
    if (pinned.revision === undefined || owned.revision === undefined) return { is: 'raced' }
    if (!isSame(pinned.claim, wanted) || owned.claim?.host !== this.#self) return { is: 'raced' }
    const { is, revision } = await this.#put(key, { ...wanted, confirmed: true }, [
      { key, is: 'revision', revision: pinned.revision },
      { key: around, is: 'revision', revision: owned.revision },
    ])
    return is === 'done' ? { is: 'gone', revision } : { is: 'raced' }
  }

  /** Refuses another host's request inside our block. */
  async refuse(address: Ipv4, wanted: Claim): Promise<void> {
    const key = this.#keys.pin(address)
    const pinned = await this.#read(key)
    if (pinned.revision === undefined || !isSame(pinned.claim, wanted)) return
    const conditions = [{ key, is: 'revision' as const, revision: pinned.revision }]
    await this.#store.transact(conditions, [{ is: 'delete', key }])
  }

  /**
   * Takes back what a dead host claims, unless it shows up or the claim changes in the same moment. `isOver` is
   * asked again when the answer to the reading is there: this host may have slept over it.
   */
  async takeBack(key: string, dead: HostId, isOver: (host: HostId) => boolean): Promise<boolean> {
    const found = await this.#read(key)
    if (found.revision === undefined || found.claim?.host !== dead || !isOver(dead)) return false
    const { is } = await this.#store.transact(
      [
        { key: this.#keys.alive(dead), is: 'absent' },
        { key, is: 'revision', revision: found.revision },
      ],
      [{ is: 'delete', key }],
    )
    return is === 'done'
  }

  async #drop(key: string): Promise<Dropping> {
    const found = await this.#read(key)
    if (found.revision === undefined || found.claim?.host !== this.#self)
      return { is: 'gone', revision: found.at }
    const conditions = [{ key, is: 'revision' as const, revision: found.revision }]
    const { is, revision } = await this.#store.transact(conditions, [{ is: 'delete', key }])
    return is === 'done' ? { is: 'gone', revision } : { is: 'raced' }
  }

  /** One key by a listing, because only that says at which revision a key was absent. */
  async #read(key: string): Promise<Read> {
    const { revision: at, entries } = await this.#store.list(key)
    const entry = entries.find((candidate) => candidate.key === key)
    return { claim: entry && claimOf(entry.value), revision: entry?.revision, at }
  }

  async #put(key: string, claim: Claim, conditions: Parameters<Store['transact']>[0]): Promise<Outcome> {
    const value = this.#sealer.seal(key, claim)
    const outcome = await this.#store.transact(conditions, [{ is: 'put', key, value }])
    if (outcome.is === 'refused') this.#sealer.unseal(key)
    return outcome
  }
}

const isSame = (one: Claim | undefined, other: Claim): boolean =>
  one !== undefined &&
  one.host === other.host &&
  one.container === other.container &&
  one.epoch === other.epoch &&
  one.confirmed === other.confirmed
