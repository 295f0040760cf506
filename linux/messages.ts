/**
 * The tables that recvmmsg and sendmmsg read: mmsghdr with names, control data and iovecs, in the arena
 * (struct layouts of LP64, little endian). Knows the control messages of UDP's offloads and those that name the
 * local address of a datagram; no socket.
 */
import type { Libc } from './ffi.ts'

/** An address on the wire: what `to` of a send must have. */
export interface UdpAddress {
  readonly family: 4 | 6
  /** Address (4 or 16 bytes) and port (2 bytes), in network order. */
  readonly bytes: Uint8Array
  readonly scope: number
  /** The local address that datagrams leave from, 4 or 16 bytes; without it the route says. */
  readonly source?: Uint8Array | undefined
}

export const nameRoom = 32
/** cmsghdr: length, level, type; data follow, the next one at a multiple of eight. */
const controlHead = 16
/** in6_pktinfo and a segment size, each with its head. */
const controlRoom = 64
const messageSize = 64
const solUdp = 17
const udpSegment = 103
export const udpGro = 104
/** in_pktinfo (ip(7)): interface, local address, address in the header; in6_pktinfo: local address, interface. */
const packetInfo = {
  4: { level: 0, type: 8, length: 12, addressAt: 4 },
  6: { level: 41, type: 50, length: 20, addressAt: 0 },
} as const

export class MessageTable {
  readonly at: number
  count = 0
  readonly #libc: Libc
  readonly #names: number
  readonly #controls: number
  readonly #iovecs: number
  readonly #limit: number
  readonly #iovecLimit: number
  readonly #starts: Uint32Array
  readonly #ends: Uint32Array
  #pieces = 0
  #firstPiece = 0
  /** Where the last one ends. */
  #pieceEnd = 0

  constructor(libc: Libc, limit: number, iovecLimit: number) {
    this.#libc = libc
    this.#limit = limit
    this.#iovecLimit = iovecLimit
    this.at = libc.arena.take(limit * messageSize)
    this.#names = libc.arena.take(limit * nameRoom)
    this.#controls = libc.arena.take(limit * controlRoom)
    this.#iovecs = libc.arena.take(iovecLimit * 16)
    this.#starts = new Uint32Array(limit)
    this.#ends = new Uint32Array(limit)
  }

  name(index: number): number {
    return this.#names + index * nameRoom
  }

  startOf(index: number): number {
    return this.#starts[index] ?? 0
  }

  endOf(index: number): number {
    return this.#ends[index] ?? 0
  }

  /** Makes a message receive into its own piece of memory for good. */
  prepare(index: number, at: number, room: number): void {
    const message = this.at + index * messageSize
    const { arena } = this.#libc
    arena.point(message, this.name(index), nameRoom)
    arena.point(this.#iovecs + index * 16, at, room)
    arena.u32[(this.#iovecs + index * 16 + 8) >> 2] = room
    arena.point(message + 16, this.#iovecs + index * 16, 16)
    arena.u32[(message + 24) >> 2] = 1
    arena.point(message + 32, this.#controls + index * controlRoom, controlRoom)
    this.rearm(index)
  }

  /** The kernel overwrites these lengths with each receive. */
  rearm(index: number): void {
    const word = (this.at + index * messageSize) >> 2
    const { u32 } = this.#libc.arena
    u32[word + 2] = nameRoom
    u32[word + 10] = controlRoom
  }

  length(index: number): number {
    return this.#libc.arena.u32[(this.at + index * messageSize + 56) >> 2] ?? 0
  }

  /** The segment size of a received run; 0 for a single datagram. */
  segment(index: number): number {
    const at = this.#control(index, solUdp, udpGro, 4)
    return at === 0 ? 0 : (this.#libc.arena.u32[at >> 2] ?? 0)
  }

  /** Where the local address lies that a received message came to, 4 or 16 bytes; 0 where it is not known. */
  local(index: number, family: 4 | 6): number {
    const { level, type, length, addressAt } = packetInfo[family]
    const at = this.#control(index, level, type, length)
    return at === 0 ? 0 : at + addressAt
  }

  reset(): void {
    this.count = 0
    this.#pieces = 0
  }

  fits(pieces: number): boolean {
    return this.count < this.#limit && this.#pieces + pieces <= this.#iovecLimit
  }

  begin(from: number, end: number): void {
    this.#firstPiece = this.#pieces
    this.#starts[this.count] = from
    this.#ends[this.count] = end
  }

  /** Pieces that lie end to end are one for the kernel. */
  piece(at: number, length: number): void {
    const { arena } = this.#libc
    const joins = at === this.#pieceEnd && this.#pieces > this.#firstPiece
    if (!joins) arena.point(this.#iovecs + this.#pieces++ * 16, at, length)
    else arena.address(at, length)
    const lengthAt = (this.#iovecs + this.#pieces * 16 - 8) >> 2
    arena.u32[lengthAt] = joins ? (arena.u32[lengthAt] ?? 0) + length : length
    this.#pieceEnd = at + length
  }

  address(to: UdpAddress): void {
    const { bytes, view, u32 } = this.#libc.arena
    const name = this.name(this.count)
    const message = this.at + this.count * messageSize
    const length = to.bytes.length - 2
    view.setUint16(name, to.family === 4 ? 2 : 10, true)
    view.setUint16(name + 2, ((to.bytes[length] ?? 0) << 8) | (to.bytes[length + 1] ?? 0))
    const at = name + (to.family === 4 ? 4 : 8)
    for (let index = 0; index < length; index++) bytes[at + index] = to.bytes[index] ?? 0
    view.setUint32(name + (to.family === 4 ? 8 : 4), 0, true)
    view.setUint32(name + (to.family === 4 ? 12 : 24), to.family === 4 ? 0 : to.scope, true)
    this.#libc.arena.point(message, name, nameRoom)
    u32[(message + 8) >> 2] = to.family === 4 ? 16 : 28
  }

  /** Ends a message. `segment`: the size of a run's segments, 0 for a single datagram. */
  finish(segment: number, source: Uint8Array | undefined): void {
    const { arena } = this.#libc
    const message = this.at + this.count * messageSize
    arena.point(message + 16, this.#iovecs + this.#firstPiece * 16, (this.#pieces - this.#firstPiece) * 16)
    arena.u32[(message + 24) >> 2] = this.#pieces - this.#firstPiece
    const control = this.#controls + this.count * controlRoom
    let end = control
    if (source !== undefined) end = this.#putSource(end, source)
    if (segment > 0) end = this.#putSegment(end, segment)
    if (end > control) arena.point(message + 32, control, end - control)
    arena.u32[(message + 40) >> 2] = end - control
    this.count++
  }

  #putSource(at: number, source: Uint8Array): number {
    const { bytes } = this.#libc.arena
    const { level, type, length, addressAt } = packetInfo[source.length === 4 ? 4 : 6]
    this.#putHead(at, level, type, length)
    const data = at + controlHead
    bytes.fill(0, data, data + length)
    for (let index = 0; index < source.length; index++) bytes[data + addressAt + index] = source[index] ?? 0
    return aligned(data + length)
  }

  #putSegment(at: number, segment: number): number {
    this.#putHead(at, solUdp, udpSegment, 2)
    this.#libc.arena.view.setUint16(at + controlHead, segment, true)
    return aligned(at + controlHead + 2)
  }

  #putHead(at: number, level: number, type: number, length: number): void {
    const { u32 } = this.#libc.arena
    u32[at >> 2] = controlHead + length
    u32[(at >> 2) + 1] = 0
    u32[(at >> 2) + 2] = level
    u32[(at >> 2) + 3] = type
  }

  /** Where the data of a received control message lie, at least `least` bytes; 0 where there is none. */
  #control(index: number, level: number, type: number, least: number): number {
    const { u32 } = this.#libc.arena
    let at = this.#controls + index * controlRoom
    const end = at + (u32[(this.at + index * messageSize + 40) >> 2] ?? 0)
    while (at + controlHead <= end) {
      const length = u32[at >> 2] ?? 0
      if (length < controlHead || at + length > end) return 0
      if (u32[(at >> 2) + 2] === level && u32[(at >> 2) + 3] === type)
        return length >= controlHead + least ? at + controlHead : 0
      at = aligned(at + length)
    }
    return 0
  }
}

const aligned = (at: number): number => (at + 7) & ~7
