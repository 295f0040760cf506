/**
 * One WireGuard interface without sockets, clocks or threads: packets, datagrams and `now` go in; packets,
 * datagrams and the next deadline come out. Transport packets are sealed and opened in place in the driver's
 * memory and cost no allocation. Silent towards whoever is not authenticated.
 * It owns neither the TUN device nor UDP, and does not fragment.
 */
import type { Random } from '../../model/ports.ts'
import type { Instant, Millis } from '../../model/time.ts'
import type { Aead } from './aead.ts'
import type { DeviceChange, DeviceStatus } from './change.ts'
import type { Crypto } from './crypto.ts'
import type { Endpoint } from './endpoint.ts'

/** Bytes that must be free in front of an inner packet given to `send`. */
export const HEADROOM = 16
/** Bytes that must be free after it: padding and tag. */
export const TAILROOM = 15 + 16

export interface DeviceDeps {
  readonly crypto: Crypto
  readonly aead: Aead
  readonly random: Random
  /** Wall time, for TAI64N timestamps and the time of the last handshake only. */
  readonly wall: () => Instant
}

export interface DeviceOptions {
  /**
   * A part of the driver's memory, at least 65,600 bytes, that the device alone uses: what `nextTransmit`
   * returns lies there, so that `Aead` may work by address.
   */
  readonly scratch: { readonly memory: Uint8Array; readonly offset: number; readonly length: number }
  /** Inner MTU: padding never grows a packet beyond it. Can be changed later (`device.mtu`). */
  readonly mtu?: number
  /** Packets kept per peer while there is no session. */
  readonly queueLimit?: number
  /** Handshake messages with a good mac1 per second from which on the device counts as under load. */
  readonly loadLimit?: number
}

/**
 * - `sealed`: the datagram lies at `sealed.offset`, `sealed.length`, for `sealed.to`.
 * - `queued`: no session yet; a copy is kept and a handshake is under way (see `nextTransmit`).
 * - `no-route`: no peer has the destination among its allowed IPs (ICMP: host unreachable).
 * - `no-endpoint`: the peer's outer address is not known (ICMP: host unreachable).
 * - `malformed`: neither IPv4 nor IPv6, or without the room it needs.
 */
export type SendResult = 'sealed' | 'queued' | 'no-route' | 'no-endpoint' | 'malformed'

/** `packet`: an inner packet lies at `packet.offset`, `packet.length`. `nothing`: handled or dropped. */
export type ReceiveResult = 'packet' | 'nothing'

/** Reused by every call: read it before the next one. */
export interface Sealed {
  offset: number
  length: number
  to: Endpoint
}

/** Reused by every call. `mark` is the first reserved byte of the header; 0 unless the peer has marks. */
export interface Packet {
  offset: number
  length: number
  mark: number
}

/** A datagram of the device's own; `memory` is that of the scratch. Valid until the next call of any verb. */
export interface Transmit {
  readonly to: Endpoint
  readonly memory: Uint8Array
  readonly offset: number
  readonly length: number
}

/** Why datagrams and packets were dropped; each only grows. */
export interface Drops {
  malformed: number
  mac1: number
  cookieSent: number
  rateLimited: number
  handshake: number
  replayedHandshake: number
  unknownIndex: number
  expired: number
  unauthenticated: number
  replayed: number
  reserved: number
  innerMalformed: number
  innerSource: number
  queueFull: number
  noRoute: number
  noEndpoint: number
}

export declare class Device {
  readonly sealed: Sealed
  readonly packet: Packet
  readonly drops: Drops
  mtu: number

  constructor(deps: DeviceDeps, options: DeviceOptions)

  /** Applies a change as a whole. */
  configure(change: DeviceChange, now: Millis): void
  status(): DeviceStatus

  /**
   * An inner IPv4 or IPv6 packet at `offset`, with HEADROOM before and TAILROOM after it. `mark` goes into the
   * header only where the peer has marks; the caller asks `marksTo` first when it matters.
   */
  send(memory: Uint8Array, offset: number, length: number, now: Millis, mark?: number): SendResult
  /** A datagram from `from`. */
  receive(memory: Uint8Array, offset: number, length: number, from: Endpoint, now: Millis): ReceiveResult
  /** Whether the peer that this inner packet would go to understands marks. */
  marksTo(memory: Uint8Array, offset: number, length: number): boolean

  /** Call when `deadline` has come; earlier or later does no harm. */
  timeout(now: Millis): void
  /** When `timeout` wants to be called next, on the scale of `now`. May be early, never late. */
  deadline(): Millis | undefined
  /** Handshake messages, cookie replies, keepalives, released packets: call until undefined after each verb. */
  nextTransmit(now: Millis): Transmit | undefined
  /** Forgets all keys. */
  close(): void
}
