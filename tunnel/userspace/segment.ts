/**
 * What a TUN device hands over with offloads, as packets that can leave: a missing checksum is completed or marked
 * as left to the receiver, TSO and USO packets are cut. Cutting happens where the packet lies: each segment's
 * headers are written right in front of its payload, over the end of the segment before, which must have been used
 * by then. A packet whose headers lie about themselves yields nothing.
 */
import { MARK_CHECKSUM } from '../wireguard/messages.ts'
import { addressSum, folded, type Memory, swapped, writeChecksum, writeHeaderChecksum } from './checksum.ts'
import { checksumOffset, tcp, transportOf, udp } from './transport.ts'
import { field, gso, needsChecksum, virtioHeaderSize } from './virtio.ts'

/** FIN and PSH belong to the last segment, CWR to the first (RFC 3168 6.1.2). */
const lastOnly = 0x01 | 0x08
const firstOnly = 0x80
/** IPv4 and TCP headers with all options; longer ones, of IPv6 with extensions, are refused. */
const longestHeaders = 128
/** Padding of a segment overwrites up to this much of the next one's payload. */
const padding = 16

export const SEGMENTER_ROOM = longestHeaders + padding

export interface SegmenterOptions {
  /** SEGMENTER_ROOM bytes of the memory. */
  readonly scratch: number
}

export class Segmenter {
  /** The current segment: a whole packet, until the next call. */
  at = 0
  length = 0
  /** 1 where its transport checksum is left to the receiver. */
  mark: 0 | typeof MARK_CHECKSUM = 0
  readonly #memory: Memory
  readonly #template: number
  readonly #saved: number
  #v4 = true
  #protocol = 0
  #transport = 0
  #headers = 0
  #size = 0
  #packet = 0
  #end = 0
  #index = 0
  #count = 0
  #addresses = 0

  constructor(memory: Memory, { scratch }: SegmenterOptions) {
    this.#memory = memory
    this.#template = scratch
    this.#saved = scratch + longestHeaders
  }

  /**
   * Takes what was read at `at`, its virtio header right before it; false when it lies. `marks`: whether the
   * receiver completes checksums.
   */
  begin(at: number, length: number, marks: boolean): boolean {
    const { view } = this.#memory
    const header = at - virtioHeaderSize
    this.#index = 0
    this.#count = 0
    this.mark = 0
    const gsoType = view.getUint8(header + field.gsoType) & ~gso.ecn
    if (gsoType !== gso.none) return this.#plan(at, length, gsoType, marks)
    this.#whole(at, length)
    return (view.getUint8(header + field.flags) & needsChecksum) === 0 || this.#complete(at, length, marks)
  }

  /** A packet that came without a virtio header. */
  beginPlain(at: number, length: number): void {
    this.mark = 0
    this.#whole(at, length)
  }

  /** Goes on to the next segment; false when there is none. Until it is called the segment may be used and padded. */
  next(): boolean {
    if (this.#index >= this.#count) return false
    if (this.#size > 0) this.#cut(this.#index)
    this.#index++
    return true
  }

  #whole(at: number, length: number): void {
    this.at = at
    this.length = length
    this.#size = 0
    this.#index = 0
    this.#count = 1
  }

  /** The checksum field holds the sum of the pseudo header already. */
  #complete(at: number, length: number, marks: boolean): boolean {
    const { view, sum } = this.#memory
    const header = at - virtioHeaderSize
    const start = view.getUint16(header + field.checksumStart, true)
    const offset = view.getUint16(header + field.checksumOffset, true)
    if (start + offset + 2 > length) return this.#nothing()
    const transport = marks ? transportOf(view, at, length) : undefined
    if (transport?.start === start && checksumOffset[transport.protocol] === offset) {
      this.mark = MARK_CHECKSUM
      return true
    }
    const checksum = ~folded(sum(at + start, length - start)) & 0xffff
    view.setUint16(at + start + offset, checksum === 0 && offset === 6 ? 0xffff : checksum, true)
    return true
  }

  #nothing(): false {
    this.#count = 0
    return false
  }

  #plan(at: number, length: number, gsoType: number, marks: boolean): boolean {
    const { bytes, view } = this.#memory
    const header = at - virtioHeaderSize
    const size = view.getUint16(header + field.gsoSize, true)
    const transport = view.getUint16(header + field.checksumStart, true)
    const v4 = length > 0 && view.getUint8(at) >> 4 === 4
    const protocol = gsoType === gso.udp ? udp : tcp
    if (size === 0 || !this.#fits(at, length, gsoType, v4, protocol, transport)) return false
    const own = protocol === tcp ? (view.getUint8(at + transport + 12) >> 4) * 4 : 8
    const headers = transport + own
    if (own < (protocol === tcp ? 20 : 8) || headers >= length || headers > longestHeaders) return false
    this.#v4 = v4
    this.#protocol = protocol
    this.#transport = transport
    this.#headers = headers
    this.#size = size
    this.#packet = at
    this.#end = at + length
    this.#count = Math.ceil((length - headers) / size)
    // Extension headers of IPv6 stand between: such packets go out complete.
    this.mark = marks && transport === (v4 ? 20 : 40) ? MARK_CHECKSUM : 0
    this.#addresses = addressSum(this.#memory, at, protocol)
    bytes.copyWithin(this.#template, at, at + headers)
    return true
  }

  #fits(
    at: number,
    length: number,
    gsoType: number,
    v4: boolean,
    protocol: number,
    transport: number,
  ): boolean {
    const { view } = this.#memory
    if (length < (v4 ? 20 : 40) + 8 || transport % 4 !== 0) return false
    if (gsoType !== gso.udp && gsoType !== (v4 ? gso.tcpV4 : gso.tcpV6)) return false
    if (!v4 && view.getUint8(at) >> 4 !== 6) return false
    const shortest = v4 ? (view.getUint8(at) & 15) * 4 : 40
    if (transport < 20 || transport < shortest || (v4 && transport !== shortest)) return false
    if (v4 && (view.getUint8(at + 9) !== protocol || (view.getUint16(at + 6) & 0x3fff) !== 0)) return false
    if (!v4 && transport === 40 && view.getUint8(at + 6) !== protocol) return false
    return transport + (protocol === tcp ? 20 : 8) <= length
  }

  /** Makes segment `index` of the packet the current one. */
  #cut(index: number): void {
    const { view } = this.#memory
    const payload = this.#packet + this.#headers + index * this.#size
    const end = Math.min(payload + this.#size, this.#end)
    if (index > 0) copyWords(view, this.#saved, payload, Math.min(padding, this.#end - payload))
    if (end < this.#end) copyWords(view, end, this.#saved, Math.min(padding, this.#end - end))
    this.at = payload - this.#headers
    this.length = end - this.at
    if (index > 0) copyWords(view, this.#template, this.at, this.#headers)
    this.#writeHeaders(index)
  }

  /** Headers of the current segment, which so far are those of the whole. */
  #writeHeaders(index: number): void {
    const { view } = this.#memory
    const { at, length } = this
    if (this.#v4) {
      view.setUint16(at + 2, length)
      view.setUint16(at + 4, (view.getUint16(at + 4) + index) & 0xffff)
      writeHeaderChecksum(this.#memory, at, this.#transport)
    } else view.setUint16(at + 4, length - 40)
    const own = at + this.#transport
    const ownLength = length - this.#transport
    const isTcp = this.#protocol === tcp
    if (isTcp) this.#writeTcp(own, index)
    else view.setUint16(own + 4, ownLength)
    const pseudo = this.#addresses + swapped(ownLength)
    const place = own + (isTcp ? checksumOffset[tcp] : checksumOffset[udp])
    if (this.mark === 0) writeChecksum(this.#memory, own, ownLength, place, pseudo, !isTcp)
    else view.setUint16(place, folded(pseudo), true)
  }

  #writeTcp(own: number, index: number): void {
    const { view } = this.#memory
    view.setUint32(own + 4, (view.getUint32(own + 4) + index * this.#size) >>> 0)
    let flags = view.getUint8(own + 13)
    if (index < this.#count - 1) flags &= ~lastOnly
    if (index > 0) flags &= ~firstOnly
    view.setUint8(own + 13, flags)
  }
}

/** For a few words, which are faster this way; the rest byte by byte. */
function copyWords(view: DataView, from: number, to: number, length: number): void {
  const words = length & ~3
  for (let at = 0; at < words; at += 4) view.setInt32(to + at, view.getInt32(from + at))
  for (let at = words; at < length; at++) view.setUint8(to + at, view.getUint8(from + at))
}
