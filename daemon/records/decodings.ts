/**
 * The records that count, decoded, by what they are about: put, forgotten and carried over one by one.
 */
import type { Cidr, Ipv4 } from '../../model/ip.ts'
import { cidrOf, contains, networkOf } from '../../model/ip.ts'
import type { KeyMeaning } from '../../model/keys.ts'
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
} from '../../model/records.ts'

export class Decodings {
  readonly hosts = new Map<HostId, HostRecord>()
  readonly alive = new Map<HostId, AliveRecord>()
  readonly blocks = new Map<Cidr, Claim>()
  readonly pins = new Map<Ipv4, Claim>()
  readonly containers = new Map<ContainerId, ContainerRecord>()
  readonly services = new Map<string, DeclaredService>()
  readonly #settings: Settings

  constructor(settings: Settings) {
    this.#settings = settings
  }

  /** Undefined when it now counts; else why it does not. */
  put(meaning: KeyMeaning, body: string, signer: HostId): string | undefined {
    switch (meaning.is) {
      case 'host':
        return keep(decodeRecord(hostSchema, body), (value) => this.hosts.set(meaning.host, value))
      case 'alive':
        return keep(decodeRecord(aliveSchema, body), (value) => this.alive.set(meaning.host, value))
      case 'block':
        return this.#putBlock(meaning.cidr, body, signer)
      case 'pin':
        return this.#putPin(meaning.address, body, signer)
      case 'container':
        return keep(decodeRecord(containerSchema, body), (value) => {
          if (value.id === meaning.container && value.host === meaning.host)
            this.containers.set(value.id, value)
        })
      case 'service':
        return keep(decodeRecord(serviceSchema, body), (value) => {
          if (value.stack === meaning.stack && value.name === meaning.name)
            this.services.set(`${meaning.stack}/${meaning.name}`, value)
        })
      default:
        return 'unknown key'
    }
  }

  forget(meaning: KeyMeaning): void {
    if (meaning.is === 'host') this.hosts.delete(meaning.host)
    if (meaning.is === 'alive') this.alive.delete(meaning.host)
    if (meaning.is === 'block') this.blocks.delete(meaning.cidr)
    if (meaning.is === 'pin') this.pins.delete(meaning.address)
    // Container ids are unique, so a record under another host's key must not remove this one's.
    if (meaning.is === 'container' && this.containers.get(meaning.container)?.host === meaning.host)
      this.containers.delete(meaning.container)
    if (meaning.is === 'service') this.services.delete(`${meaning.stack}/${meaning.name}`)
  }

  /** Takes what counted before under a key. */
  carry(meaning: KeyMeaning, before: Decodings): void {
    if (meaning.is === 'host') copy(before.hosts, this.hosts, meaning.host)
    if (meaning.is === 'alive') copy(before.alive, this.alive, meaning.host)
    if (meaning.is === 'block') copy(before.blocks, this.blocks, meaning.cidr)
    if (meaning.is === 'pin') copy(before.pins, this.pins, meaning.address)
    if (meaning.is === 'container') copy(before.containers, this.containers, meaning.container)
    if (meaning.is === 'service') copy(before.services, this.services, `${meaning.stack}/${meaning.name}`)
  }

  /** Whether a host holds an address by a block or a confirmed pin; a pin goes before the block around it. */
  holds(host: HostId, address: Ipv4): boolean {
    const pin = this.pins.get(address)
    if (pin?.confirmed) return pin.host === host
    return this.blocks.get(cidrOf(address, this.#blockBits))?.host === host
  }

  get #blockBits(): number {
    return Math.max(this.#settings.blockBits, networkOf(this.#settings.subnet).bits)
  }

  #putBlock(cidr: Cidr, body: string, signer: HostId): string | undefined {
    const { first, bits } = networkOf(cidr)
    if (bits !== this.#blockBits || !contains(this.#settings.subnet, first)) return 'no block of the subnet'
    const decoded = decodeRecord(claimSchema, body)
    if (decoded.is === 'ok' && decoded.value.host !== signer) return 'claimed in the name of another host'
    return keep(unlessOlder(decoded, this.blocks.get(cidr)), (value) => this.blocks.set(cidr, value))
  }

  /** A pin inside another host's block is confirmed by that block's owner, who then signs it. */
  #putPin(address: Ipv4, body: string, signer: HostId): string | undefined {
    const decoded = decodeRecord(claimSchema, body)
    const owner = this.blocks.get(cidrOf(address, this.#blockBits))?.host
    if (decoded.is === 'ok' && decoded.value.host !== signer && owner !== signer)
      return 'claimed in the name of another host'
    return keep(unlessOlder(decoded, this.pins.get(address)), (value) => this.pins.set(address, value))
  }
}

/** Nothing takes a claim's place but one of a higher epoch, or one that says more for the same host. */
function unlessOlder(decoded: Decoded<Claim>, standing: Claim | undefined): Decoded<Claim> {
  if (decoded.is === 'bad' || standing === undefined) return decoded
  const { host, epoch, confirmed } = decoded.value
  const newer = epoch > standing.epoch || (host === standing.host && (confirmed || !standing.confirmed))
  return newer ? decoded : { is: 'bad', why: 'another host has claimed it since' }
}

function keep<T>(decoded: Decoded<T>, set: (value: T) => void): string | undefined {
  if (decoded.is === 'bad') return decoded.why
  set(decoded.value)
  return undefined
}

function copy<K, V>(from: ReadonlyMap<K, V>, to: Map<K, V>, key: K): void {
  const value = from.get(key)
  if (value !== undefined) to.set(key, value)
}
