/**
 * Outer addresses: where a datagram came from or goes to. Endpoints are interned, so that the data path compares
 * them with `===` first; the table is bounded and simply forgets, so equal endpoints may be different objects
 * and `sameEndpoint` decides.
 */
import { ipv6Bytes, ipv6Text, parseIpv4 } from '../../model/ip.ts'

export interface Endpoint {
  readonly family: 4 | 6
  /** Address (4 or 16 bytes) and port (2 bytes), in network order: what a cookie is bound to. */
  readonly bytes: Uint8Array
  readonly port: number
  /** IPv6 zone (interface index) of link-local addresses; else 0. */
  readonly scope: number
}

export function sameEndpoint(one: Endpoint | undefined, other: Endpoint | undefined): boolean {
  if (one === other) return true
  if (one === undefined || other === undefined || one.family !== other.family || one.scope !== other.scope)
    return false
  for (let at = 0; at < one.bytes.length; at++) if (one.bytes[at] !== other.bytes[at]) return false
  return true
}

/** Turns raw addresses into endpoints without making a new one for each datagram. */
export class EndpointTable {
  readonly #limit: number
  readonly #v4 = new Map<number, Endpoint>()
  readonly #v6 = new Map<string, Endpoint>()

  constructor(limit = 4096) {
    this.#limit = limit
  }

  /** `address` as an unsigned 32-bit number, first octet highest. */
  v4(address: number, port: number): Endpoint {
    const key = address * 65536 + port
    const known = this.#v4.get(key)
    if (known !== undefined) return known
    if (this.#v4.size >= this.#limit) this.#v4.clear()
    const made = endpointV4(address, port)
    this.#v4.set(key, made)
    return made
  }

  /** `memory` holds the 16 bytes of the address at `offset`. */
  v6(memory: Uint8Array, offset: number, port: number, scope = 0): Endpoint {
    const address = memory.subarray(offset, offset + 16)
    const key = `${address.join()},${port},${scope}`
    const known = this.#v6.get(key)
    if (known !== undefined) return known
    if (this.#v6.size >= this.#limit) this.#v6.clear()
    const made = endpointV6(address, port, scope)
    this.#v6.set(key, made)
    return made
  }
}

export function endpointV4(address: number, port: number): Endpoint {
  const bytes = new Uint8Array(6)
  const view = new DataView(bytes.buffer)
  view.setUint32(0, address)
  view.setUint16(4, port)
  return { family: 4, bytes, port, scope: 0 }
}

export function endpointV6(address: Uint8Array, port: number, scope: number): Endpoint {
  const bytes = new Uint8Array(18)
  bytes.set(address.subarray(0, 16))
  new DataView(bytes.buffer).setUint16(16, port)
  return { family: 6, bytes, port, scope }
}

/** `192.0.2.1:51820` or `[2001:db8::1%3]:51820`; the zone only as a number. */
export function parseEndpoint(text: string): Endpoint | undefined {
  const parts = /^(?:\[([0-9a-fA-F:.]+)(?:%(\d{1,9}))?\]|([0-9.]+)):(\d{1,5})$/.exec(text)
  if (parts === null) return undefined
  const [, v6, zone = '0', v4 = '', digits = ''] = parts
  const port = Number(digits)
  if (port > 65535) return undefined
  if (v6 !== undefined) {
    const bytes = ipv6Bytes(v6)
    return bytes && endpointV6(bytes, port, Number(zone))
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
