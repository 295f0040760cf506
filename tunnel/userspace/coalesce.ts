/**
 * Opened packets become fewer, larger ones for the TUN device, as the kernel's GRO does: only neighbours of one TCP
 * or UDP flow that cutting the large packet would give back exactly. Their checksums are valid, or were left to the
 * receiver. Packets stay where they lie and are gathered when they are written. Everything else passes unchanged;
 * the order within a flow is kept, except that data may overtake a pure ACK.
 */
import type { Gathered } from '../../linux/tun.ts'
import { folded, type Memory, pseudoSum, writeChecksum, writeHeaderChecksum } from './checksum.ts'
import { checksumOffset, type Transport, tcp, transportOf, udp } from './transport.ts'
import { clearVirtio, gso, virtioHeaderSize, writeVirtio } from './virtio.ts'

const flag = { fin: 1, psh: 8, ack: 16 }
const largest = 65_535
/** The kernel's limit for a run of UDP (UDP_MAX_SEGMENTS, before it was raised). */
const longestUdp = 64
const openLimit = 16
const none = -1

export interface CoalescerOptions {
  /** The most packets between two calls of `finish`. */
  readonly limit: number
  /** The most packets that become one, 1 for no coalescing. */
  readonly pieces: number
  /** Whether runs of UDP may be made (USO). */
  readonly udp: boolean
  /** Whether the device completes checksums; without virtio headers it cannot. */
  readonly completes: boolean
}

/** A run: a first packet and what was appended to it. Lives in a pool. */
interface Run {
  at: number
  first: number
  last: number
  pieces: number
  v4: boolean
  protocol: number
  transport: number
  headers: number
  size: number
  total: number
  nextSequence: number
  endFlags: number
  /** Whether the checksum of its first packet was looked at, or left to us. */
  verified: boolean
  marked: boolean
}

export class Coalescer {
  readonly #memory: Memory
  readonly #options: CoalescerOptions
  readonly #at: Uint32Array
  readonly #length: Uint32Array
  readonly #next: Int32Array
  /** As many as were ever needed at once. */
  readonly #runs: Run[] = []
  /** The first `#openCount` of them are open runs; an array that shrinks would be allocated anew. */
  readonly #open: Run[]
  readonly #gathered: Gathered
  #count = 0
  #runCount = 0
  #openCount = 0

  constructor(memory: Memory, options: CoalescerOptions) {
    const { limit } = options
    this.#memory = memory
    this.#options = options
    const column = (): Uint32Array => new Uint32Array(limit)
    this.#at = column()
    this.#length = column()
    this.#next = new Int32Array(limit)
    this.#open = Array.from({ length: openLimit }, blankRun)
    this.#gathered = { count: 0, end: column(), at: column(), length: column() }
  }

  /**
   * A whole packet at `at`, with room for a virtio header in front of it. `marked`: its transport checksum was left
   * to us. False for a packet that cannot have been sent that way: it is dropped.
   */
  add(at: number, length: number, marked: boolean): boolean {
    const transport = transportOf(this.#memory.view, at, length)
    if (marked && transport === undefined) return false
    const index = this.#count++
    this.#at[index] = at
    this.#length[index] = length
    this.#next[index] = none
    const headers = transport === undefined ? 0 : this.#headersOf(transport, at, length, marked)
    if (transport === undefined || headers <= 0) {
      if (transport !== undefined && headers < 0) this.#closeFlow(at, transport)
      this.#start(index, transport, 0, marked)
      return true
    }
    const run = this.#flow(at, transport)
    if (run !== undefined && this.#append(run, index, headers, marked)) return true
    if (run !== undefined) this.#close(run)
    this.#openRun(index, transport, headers, marked)
    return true
  }

  /** The packets to write, valid until the next `add`; starts anew. */
  finish(): Gathered {
    const { end, at, length } = this.#gathered
    let piece = 0
    for (let index = 0; index < this.#runCount; index++) {
      const run = this.#runs[index]
      if (run === undefined) continue
      this.#writeHeaders(run)
      for (let packet = run.first; packet !== none; packet = this.#next[packet] ?? none) {
        const skip = packet === run.first ? 0 : run.headers
        at[piece] = (this.#at[packet] ?? 0) + skip
        length[piece++] = (this.#length[packet] ?? 0) - skip
      }
      end[index] = piece
    }
    this.#gathered.count = this.#runCount
    this.#count = 0
    this.#runCount = 0
    this.#openCount = 0
    return this.#gathered
  }

  /**
   * The length of all headers of a data packet that may be part of a run. 0: no matter of runs, pure ACKs included;
   * -1: later packets of its flow must not overtake it.
   */
  #headersOf({ protocol, start }: Transport, at: number, length: number, marked: boolean): number {
    const { view } = this.#memory
    if (this.#options.pieces === 1) return 0
    if (protocol === udp) {
      if (!this.#options.udp) return 0
      const whole = length > start + 8 && (marked || view.getUint16(at + start + 6) !== 0)
      return whole ? start + 8 : -1
    }
    const headers = start + (view.getUint8(at + start + 12) >> 4) * 4
    if (headers < start + 20 || headers > length) return 0
    const flags = view.getUint8(at + start + 13)
    if ((flags & ~(flag.psh | flag.fin)) !== flag.ack) return -1
    if (length > headers) return headers
    return flags === flag.ack ? 0 : -1
  }

  #start(index: number, transport: Transport | undefined, headers: number, marked: boolean): Run {
    if (this.#runCount === this.#runs.length) this.#runs.push(blankRun())
    const run = this.#runs[this.#runCount++] ?? blankRun()
    const at = this.#at[index] ?? 0
    run.at = at
    run.first = index
    run.last = index
    run.pieces = 1
    run.protocol = transport?.protocol ?? 0
    run.transport = transport?.start ?? 0
    run.headers = headers
    run.total = this.#length[index] ?? 0
    run.verified = marked
    run.marked = marked
    return run
  }

  #openRun(index: number, transport: Transport, headers: number, marked: boolean): void {
    const { view } = this.#memory
    const run = this.#start(index, transport, headers, marked)
    run.v4 = transport.start === 20
    run.size = run.total - headers
    run.endFlags = 0
    if (transport.protocol === tcp) {
      const own = run.at + transport.start
      run.nextSequence = (view.getUint32(own + 4) + run.size) >>> 0
      run.endFlags = view.getUint8(own + 13)
      if ((run.endFlags & (flag.psh | flag.fin)) !== 0) return
    }
    if (this.#openCount === openLimit) this.#closeAt(0)
    this.#open[this.#openCount++] = run
  }

  #close(run: Run): void {
    let index = this.#openCount - 1
    while (index > 0 && this.#open[index] !== run) index--
    this.#closeAt(index)
  }

  #closeAt(index: number): void {
    this.#openCount--
    this.#open.copyWithin(index, index + 1, this.#openCount + 1)
  }

  #closeFlow(at: number, transport: Transport): void {
    const run = this.#flow(at, transport)
    if (run !== undefined) this.#close(run)
  }

  /** The open run of the same addresses, protocol and ports. */
  #flow(at: number, { protocol, start }: Transport): Run | undefined {
    for (let index = this.#openCount - 1; index >= 0; index--) {
      const run = this.#open[index]
      if (run === undefined || run.transport !== start || run.protocol !== protocol) continue
      if (this.#sameWords(run.at, at, run.v4 ? 12 : 8, start + 4)) return run
    }
    return undefined
  }

  #append(run: Run, index: number, headers: number, marked: boolean): boolean {
    const at = this.#at[index] ?? 0
    const length = this.#length[index] ?? 0
    const payload = length - headers
    const isTcp = run.protocol === tcp
    if (headers !== run.headers || payload > run.size || run.total + payload > largest) return false
    if (run.pieces >= this.#options.pieces || (!isTcp && run.pieces >= longestUdp)) return false
    const own = at + run.transport
    if (isTcp && this.#memory.view.getUint32(own + 4) !== run.nextSequence) return false
    if (!this.#sameIp(run, at) || (isTcp && !this.#sameTcp(run, at))) return false
    if (!run.verified && !this.#valid(run.at, run, this.#length[run.first] ?? 0)) return false
    run.verified = true
    if (!marked && !this.#valid(at, run, length)) return false
    this.#next[run.last] = index
    run.last = index
    run.pieces++
    run.total += payload
    run.nextSequence = (run.nextSequence + payload) >>> 0
    if (isTcp) run.endFlags = this.#memory.view.getUint8(own + 13)
    if (payload < run.size || (run.endFlags & (flag.psh | flag.fin)) !== 0) this.#close(run)
    return true
  }

  /**
   * What cutting would copy of the IP header: everything but lengths, identification and checksum. With DF set the
   * identification means nothing (RFC 6864 4.1); else it must count up.
   */
  #sameIp(run: Run, at: number): boolean {
    const { view } = this.#memory
    if (!run.v4)
      return (
        view.getInt32(run.at) === view.getInt32(at) && view.getUint16(run.at + 6) === view.getUint16(at + 6)
      )
    const flags = view.getUint16(at + 6)
    const counted = view.getUint16(at + 4) === ((view.getUint16(run.at + 4) + run.pieces) & 0xffff)
    return (
      ((flags & 0x4000) !== 0 || counted) &&
      view.getUint16(run.at) === view.getUint16(at) &&
      view.getUint16(run.at + 6) === flags &&
      view.getUint16(run.at + 8) === view.getUint16(at + 8)
    )
  }

  /** And of the TCP header: everything but sequence, PSH, FIN and checksum. */
  #sameTcp(run: Run, at: number): boolean {
    const { view } = this.#memory
    const one = run.at + run.transport
    const other = at + run.transport
    const ends = flag.psh | flag.fin
    return (
      view.getInt32(one + 8) === view.getInt32(other + 8) &&
      (view.getUint16(one + 12) | ends) === (view.getUint16(other + 12) | ends) &&
      view.getUint16(one + 14) === view.getUint16(other + 14) &&
      view.getUint16(one + 18) === view.getUint16(other + 18) &&
      this.#sameWords(run.at, at, run.transport + 20, run.headers)
    )
  }

  /** From one offset to another, a multiple of four further. */
  #sameWords(one: number, other: number, from: number, to: number): boolean {
    const { view } = this.#memory
    for (let offset = from; offset < to; offset += 4) {
      if (view.getInt32(one + offset) !== view.getInt32(other + offset)) return false
    }
    return true
  }

  #valid(at: number, { v4, protocol, transport }: Run, length: number): boolean {
    const { sum } = this.#memory
    if (v4 && folded(sum(at, 20)) !== 0xffff) return false
    const own = length - transport
    return folded(sum(at + transport, own) + pseudoSum(this.#memory, at, protocol, own)) === 0xffff
  }

  #writeHeaders(run: Run): void {
    const { view } = this.#memory
    if (run.pieces > 1) this.#writeRun(run)
    else if (!run.marked) clearVirtio(view, run.at - virtioHeaderSize)
    else if (this.#options.completes) this.#writeLeft(run, gso.none, 0)
    else this.#complete(run)
  }

  /** The headers of one packet that is as long as the whole run. */
  #writeRun(run: Run): void {
    const { view } = this.#memory
    const { at, transport, total, protocol, v4 } = run
    if (v4) {
      view.setUint16(at + 2, total)
      writeHeaderChecksum(this.#memory, at, 20)
    } else view.setUint16(at + 4, total - 40)
    const own = total - transport
    if (protocol === tcp) view.setUint8(at + transport + 13, run.endFlags)
    else view.setUint16(at + transport + 4, own)
    view.setUint16(placeOf(run), folded(pseudoSum(this.#memory, at, protocol, own)), true)
    const gsoType = protocol === udp ? gso.udp : v4 ? gso.tcpV4 : gso.tcpV6
    this.#writeLeft(run, gsoType, run.size)
  }

  /** A virtio header that leaves the transport checksum to the kernel. */
  #writeLeft(run: Run, gsoType: number, gsoSize: number): void {
    const { at, transport, headers } = run
    const offset = placeOf(run) - at - transport
    writeVirtio(this.#memory.view, at - virtioHeaderSize, gsoType, gsoSize, headers, transport, offset)
  }

  #complete(run: Run): void {
    const { at, transport, total, protocol } = run
    const pseudo = pseudoSum(this.#memory, at, protocol, total - transport)
    writeChecksum(this.#memory, at + transport, total - transport, placeOf(run), pseudo, protocol === udp)
  }
}

const placeOf = ({ at, transport, protocol }: Run): number =>
  at + transport + (protocol === udp ? checksumOffset[udp] : checksumOffset[tcp])

const blankRun = (): Run => ({
  at: 0,
  first: 0,
  last: 0,
  pieces: 0,
  v4: true,
  protocol: 0,
  transport: 0,
  headers: 0,
  size: 0,
  total: 0,
  nextSequence: 0,
  endFlags: 0,
  verified: false,
  marked: false,
})
