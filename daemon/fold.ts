/**
 * Store entries → Environment. Keeps what was decoded, so that one change costs one decoding, and never lets a
 * record count that is not signed by the host whose key it lies under. Garbage is counted and said once.
 */
import type { Environment, Host, Reachability } from '../model/environment.ts'
import { hostIsPresent } from '../model/environment.ts'
import type { Cidr, Ipv4 } from '../model/ip.ts'
import { type KeyMeaning, type Keys, meaningOf } from '../model/keys.ts'
import type { Log, Meter } from '../model/ports.ts'
import {
  type AliveRecord,
  aliveSchema,
  type Claim,
  type ContainerId,
  type ContainerRecord,
  claimSchema,
  containerSchema,
  type DeclaredService,
  type Decoded,
  decodeRecord,
  type HostId,
  type HostRecord,
  hostSchema,
  type Settings,
  serviceSchema,
} from '../model/records.ts'
import { type Envelope, hostIdOf, openEnvelope, verifyEnvelope } from '../pki/envelope.ts'
import type { Entry, Update } from '../store/store.ts'

export interface FoldDeps {
  readonly log: Log
  readonly meter: Meter
}

export interface FoldOptions {
  readonly keys: Keys
  readonly self: HostId
  readonly settings: Settings
}

/** What only this host can tell of the others. */
export interface View {
  readonly fresh: boolean
  readonly reachability: ReadonlyMap<HostId, Reachability>
}

interface Decodings {
  readonly hosts: Map<HostId, HostRecord>
  readonly alive: Map<HostId, AliveRecord>
  readonly blocks: Map<Cidr, Claim>
  readonly pins: Map<Ipv4, Claim>
  readonly containers: Map<ContainerId, ContainerRecord>
  readonly services: Map<string, DeclaredService>
}

const empty = (): Decodings => ({
  hosts: new Map(),
  alive: new Map(),
  blocks: new Map(),
  pins: new Map(),
  containers: new Map(),
  services: new Map(),
})

export class Fold {
  readonly #deps: FoldDeps
  readonly #options: FoldOptions
  #now = empty()
  #revision = 0
  /** Entries whose signer has no host record yet, by signer. */
  #waiting = new Map<HostId, Map<string, Entry>>()

  constructor(deps: FoldDeps, options: FoldOptions) {
    this.#deps = deps
    this.#options = options
  }

  apply(update: Update): void {
    if (update.is === 'stale') return
    this.#revision = update.revision
    if (update.is === 'snapshot') {
      this.#now = empty()
      this.#waiting = new Map()
      for (const entry of update.entries) this.#put(entry)
      return
    }
    for (const change of update.changes) {
      if (change.is === 'put') this.#put(change.entry)
      else this.#forget(change.key)
    }
  }

  /** The snapshot now. The maps are copies: later changes do not reach them. */
  environment(view: View): Environment {
    const { blocks, pins, containers, services } = this.#now
    return {
      revision: this.#revision,
      settings: this.#options.settings,
      self: this.#options.self,
      hosts: this.#hosts(view),
      blocks: new Map(blocks),
      pins: new Map(pins),
      containers: new Map(containers),
      services: new Map(services),
    }
  }

  #hosts(view: View): Map<HostId, Host> {
    const { self } = this.#options
    const reachabilityOf = (id: HostId): Reachability => view.reachability.get(id) ?? 'unknown'
    const peers = [...this.#now.hosts.keys()].filter((id) => id !== self)
    const cutOff = !view.fresh && peers.every((id) => reachabilityOf(id) !== 'answers')
    return new Map(
      [...this.#now.hosts].map(([id, record]) => {
        const alive = this.#now.alive.get(id)
        const reachability = reachabilityOf(id)
        const present =
          id === self ||
          hostIsPresent({ alive: alive !== undefined, reachability }, { fresh: view.fresh, cutOff })
        return [id, { record, alive, reachability, present }]
      }),
    )
  }

  #put(entry: Entry): void {
    this.#forget(entry.key)
    const meaning = meaningOf(this.#options.keys.prefix, entry.key)
    if (meaning.is === 'settings') return
    const why = meaning.is === 'unknown' ? 'unknown key' : this.#decode(entry, meaning)
    if (why === undefined) return
    this.#deps.meter.count('drover_records_rejected_total', 1, { why: meaning.is })
    this.#deps.log.warn('record in the store ignored', { key: entry.key.slice(0, 200), why })
  }

  /** Undefined when the record now counts, or waits for its signer. */
  #decode(entry: Entry, meaning: KeyMeaning): string | undefined {
    const opened = openEnvelope(entry.value)
    if (opened.is === 'bad') return opened.why
    const { body, key: signer } = opened.value
    if (meaning.is === 'host') return this.#host(entry.key, meaning.host, opened.value)
    if ('host' in meaning && meaning.host !== signer) return 'signed by another host'
    const host = this.#now.hosts.get(signer)
    if (host === undefined) {
      const waiting = this.#waiting.get(signer) ?? new Map<string, Entry>()
      this.#waiting.set(signer, waiting.set(entry.key, entry))
      return undefined
    }
    if (!verifyEnvelope(opened.value, entry.key, host.signingKey)) return 'signature does not verify'
    return this.#record(meaning, body, signer)
  }

  #host(storeKey: string, id: HostId, envelope: Envelope): string | undefined {
    const decoded = decodeRecord(hostSchema, envelope.body)
    if (decoded.is === 'bad') return decoded.why
    const { signingKey } = decoded.value
    if (decoded.value.id !== id || hostIdOf(signingKey) !== id) return 'the host id is not that of its key'
    if (!verifyEnvelope(envelope, storeKey, signingKey)) return 'signature does not verify'
    this.#now.hosts.set(id, decoded.value)
    const waiting = this.#waiting.get(id)
    this.#waiting.delete(id)
    for (const later of waiting?.values() ?? []) this.#put(later)
    return undefined
  }

  #record(meaning: KeyMeaning, body: string, signer: HostId): string | undefined {
    switch (meaning.is) {
      case 'alive':
        return keep(decodeRecord(aliveSchema, body), (value) => this.#now.alive.set(meaning.host, value))
      case 'block':
        return keep(ownClaim(body, signer), (value) => this.#now.blocks.set(meaning.cidr, value))
      case 'pin':
        return keep(pinClaim(body, signer, this.#now.blocks), (value) =>
          this.#now.pins.set(meaning.address, value),
        )
      case 'container':
        return keep(decodeRecord(containerSchema, body), (value) => {
          if (value.id === meaning.container && value.host === meaning.host)
            this.#now.containers.set(value.id, value)
        })
      case 'service':
        return keep(decodeRecord(serviceSchema, body), (value) =>
          this.#now.services.set(`${meaning.stack}/${meaning.name}`, value),
        )
      default:
        return 'unknown key'
    }
  }

  #forget(key: string): void {
    const meaning = meaningOf(this.#options.keys.prefix, key)
    for (const waiting of this.#waiting.values()) waiting.delete(key)
    if (meaning.is === 'host') this.#now.hosts.delete(meaning.host)
    if (meaning.is === 'alive') this.#now.alive.delete(meaning.host)
    if (meaning.is === 'block') this.#now.blocks.delete(meaning.cidr)
    if (meaning.is === 'pin') this.#now.pins.delete(meaning.address)
    if (meaning.is === 'container') this.#forgetContainer(meaning.container, meaning.host)
    if (meaning.is === 'service') this.#now.services.delete(`${meaning.stack}/${meaning.name}`)
  }

  /** Container ids are unique, so a record under another host's key must not remove this one's. */
  #forgetContainer(id: ContainerId, host: HostId): void {
    if (this.#now.containers.get(id)?.host === host) this.#now.containers.delete(id)
  }
}

function keep<T>(decoded: Decoded<T>, set: (value: T) => void): string | undefined {
  if (decoded.is === 'bad') return decoded.why
  set(decoded.value)
  return undefined
}

function ownClaim(body: string, signer: HostId): Decoded<Claim> {
  const decoded = decodeRecord(claimSchema, body)
  return decoded.is === 'ok' && decoded.value.host !== signer
    ? { is: 'bad', why: 'claimed in the name of another host' }
    : decoded
}

/** A pin inside another host's block is confirmed by that block's owner, who then signs it. */
function pinClaim(body: string, signer: HostId, blocks: ReadonlyMap<Cidr, Claim>): Decoded<Claim> {
  const decoded = decodeRecord(claimSchema, body)
  if (decoded.is === 'bad' || decoded.value.host === signer) return decoded
  const isOwner = [...blocks.values()].some(({ host }) => host === signer)
  return isOwner ? decoded : { is: 'bad', why: 'claimed in the name of another host' }
}
