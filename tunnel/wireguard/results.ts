/**
 * What the verbs of a device answer, and the places it points to: objects that it reuses, so that no packet costs an
 * allocation.
 */
import type { Endpoint } from './endpoint.ts'

/**
 * - `sealed`: the datagram lies at `sealed.offset`, `sealed.length`, for `sealed.to`.
 * - `queued`: no session yet; a copy is kept and a handshake is under way (see `nextTransmit`).
 * - `no-route`: no peer has the destination among its allowed IPs (ICMP: host unreachable).
 * - `no-endpoint`: the peer's outer address is not known (ICMP: host unreachable).
 * - `no-marks`: a mark was given and the peer has none: complete the packet and send it with mark 0.
 * - `malformed`: neither IPv4 nor IPv6, or without the room it needs.
 */
export type SendResult = 'sealed' | 'queued' | 'no-route' | 'no-endpoint' | 'no-marks' | 'malformed'

/** `packet`: an inner packet lies at `packet.offset`, `packet.length`. `nothing`: handled or dropped. */
export type ReceiveResult = 'packet' | 'nothing'

/** Reused by every call: read it before the next one. */
export interface Sealed {
  readonly offset: number
  readonly length: number
  readonly to: Endpoint
}

/** Reused by every call. `mark` is the first reserved byte of the header, which anyone on the way could change. */
export interface Packet {
  readonly offset: number
  readonly length: number
  readonly mark: number
}

/** A datagram of the device's own, in the memory of the scratch. Valid until the next call of any verb. */
export interface Transmit extends Sealed {
  readonly memory: Uint8Array
}
