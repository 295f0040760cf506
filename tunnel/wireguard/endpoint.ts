/**
 * Outer addresses: where a datagram came from or goes to, and our own address of the two. Endpoints are interned, so
 * that a run of datagrams to one of them is told by `===`; the table is bounded and simply forgets, so equal endpoints
 * may be different objects.
 */
import { ipv6Bytes, ipv6Text, parseIpv4 } from '../../model/ip.ts'

export interface Endpoint {
  readonly family: 4 | 6
  /** Address (4 or 16 bytes) and port (2 bytes), in network order: what a cookie is bound to. */
  readonly bytes: Uint8Array
  readonly port: number
  /** IPv6 zone (interface index) of link-local addresses; else 0. */
  readonly scope: number
  /** Our own address, 4 or 16 bytes, that its datagrams come to: ours leave from there. Undefined: from the route's. */
  readonly source: Uint8Array | undefined
}

/** The same, from the address of its route. */
export const withoutSource = (endpoint: Endpoint): Endpoint =>
  endpoint.source === undefined ? endpoint : { ...endpoint, source: undefined }

const ways = 4

/**
 * Turns raw addresses into endpoints without making a new one for each datagram, and without allocating for those
 * it knows: a cache of `limit` endpoints in sets of four, in which the oldest of a set gives way.
 */
export class EndpointTable {
  readonly #sets: number
  readonly #known: (Endpoint | undefined)[]
  /** Which of a set is replaced next. */
  readonly #oldest: Uint8Array

  /** `limit` is a power of two. */
  constructor(limit = 4096) {
    this.#sets = limit / ways
    this.#known = new Array<Endpoint | undefined>(limit).fill(undefined)
    this.#oldest = new Uint8Array(this.#sets)
  }

  /** Addresses as 32-bit numbers, first octet highest; negative ones are boxed less often. `local` 0: not known. */
  v4(address: number, port: number, local = 0): Endpoint {
    const set = this.#setOf(mixed(address, port))
    for (let at = set; at < set + ways; at++) {
      const known = this.#known[at]
      if (known?.family !== 4 || known.port !== port || !isV4(known.bytes, address)) continue
      if (known.source === undefined ? local === 0 : isV4(known.source, local)) return known
    }
    return this.#keep(set, endpointV4(address, port, local))
  }

  /** `memory` holds the 16 bytes of the address at `offset`, those of our own at `local`; 0 where it is not known. */
  v6(memory: Uint8Array, offset: number, port: number, scope = 0, local = 0): Endpoint {
    let hash = mixed(port, scope)
    for (let at = 0; at < 16; at++) hash = mixed(hash, memory[offset + at] ?? 0)
    const set = this.#setOf(hash)
    for (let at = set; at < set + ways; at++) {
      const known = this.#known[at]
      if (known === undefined || known.family !== 6 || known.port !== port || known.scope !== scope) continue
      if (!isV6(known.bytes, memory, offset)) continue
      if (known.source === undefined ? local === 0 : local > 0 && isV6(known.source, memory, local))
        return known
    }
    const source = local > 0 ? memory.slice(local, local + 16) : undefined
    return this.#keep(set, endpointV6(memory.subarray(offset, offset + 16), port, scope, source))
  }

  #setOf(hash: number): number {
    return ((hash ^ (hash >>> 15)) & (this.#sets - 1)) * ways
  }

  #keep(set: number, made: Endpoint): Endpoint {
    const way = this.#oldest[set / ways] ?? 0
    this.#oldest[set / ways] = (way + 1) % ways
    this.#known[set + way] = made
    return made
  }
}

const mixed = (hash: number, value: number): number => Math.imul((hash ^ value) + 0x9e3779b9, 0x85ebca6b)

function isV4(bytes: Uint8Array, address: number): boolean {
  const word = ((bytes[0] ?? 0) << 24) | ((bytes[1] ?? 0) << 16) | ((bytes[2] ?? 0) << 8) | (bytes[3] ?? 0)
  return word === (address | 0)
}

function isV6(bytes: Uint8Array, memory: Uint8Array, offset: number): boolean {
  for (let at = 0; at < 16; at++) if (bytes[at] !== memory[offset + at]) return false
  return true
}

/** `local` 0: not known. */
export function endpointV4(address: number, port: number, local = 0): Endpoint {
  const bytes = new Uint8Array(6)
  const view = new DataView(bytes.buffer)
  view.setUint32(0, address)
  view.setUint16(4, port)
  return { family: 4, bytes, port, scope: 0, source: local === 0 ? undefined : octets(local) }
}

const octets = (address: number): Uint8Array =>
  Uint8Array.of(address >>> 24, address >>> 16, address >>> 8, address)

export function endpointV6(address: Uint8Array, port: number, scope: number, source?: Uint8Array): Endpoint {
  const bytes = new Uint8Array(18)
  bytes.set(address.subarray(0, 16))
  new DataView(bytes.buffer).setUint16(16, port)
  return { family: 6, bytes, port, scope, source }
}

/** From what `Endpoint.bytes` holds: 6 or 18 bytes. */
export function endpointOf(bytes: Uint8Array, scope: number, source: Uint8Array | undefined): Endpoint {
  const port = ((bytes.at(-2) ?? 0) << 8) | (bytes.at(-1) ?? 0)
  return { family: bytes.length === 6 ? 4 : 6, bytes, port, scope, source }
}

/** The index of an interface, by its name. */
export type ZoneOf = (name: string) => number | undefined

/** `192.0.2.1:51820` or `[2001:db8::1%3]:51820`; a zone by name, as `wg` writes it, is what `zoneOf` says. */
export function parseEndpoint(text: string, zoneOf: ZoneOf = () => undefined): Endpoint | undefined {
  const parts = /^(?:\[([0-9a-fA-F:.]+)(?:%([^\s\]/]{1,15}))?\]|([0-9.]+)):(\d{1,5})$/.exec(text)
  if (parts === null) return undefined
  const [, v6, zone = '0', v4 = '', digits = ''] = parts
  const port = Number(digits)
  if (port > 65535) return undefined
  if (v6 !== undefined) {
    const bytes = ipv6Bytes(v6)
    const scope = /^\d{1,9}$/.test(zone) ? Number(zone) : zoneOf(zone)
    return bytes && scope !== undefined ? endpointV6(bytes, port, scope) : undefined
  }
  const address = parseIpv4(v4)
  return address === undefined ? undefined : endpointV4(address, port)
}

/** The text form of a 4- or 16-byte address. */
export function formatAddress(bytes: Uint8Array): string {
  if (bytes.length === 4) return bytes.join('.')
  return ipv6Text(bytes)
}

export function formatEndpoint(endpoint: Endpoint): string {
  const address = formatAddress(endpoint.bytes.subarray(0, -2))
  if (endpoint.family === 4) return `${address}:${endpoint.port}`
  return `[${address}${endpoint.scope === 0 ? '' : `%${endpoint.scope}`}]:${endpoint.port}`
}
