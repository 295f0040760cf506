/**
 * Opened TCP packets become fewer, larger ones for the TUN device, as the kernel's GRO does: only neighbours
 * that cutting the large packet would give back exactly, with valid checksums. Packets stay where they lie and
 * are gathered when they are written. Everything else passes unchanged; the order within a flow is kept, except
 * that data may overtake a pure ACK.
 */
import type { Gathered } from '../../linux/tun.ts'
import { folded, type Memory, pseudoSum, sumOf, writeHeaderChecksum } from './checksum.ts'
import { clearVirtio, gso, needsChecksum, virtioHeaderSize, writeVirtio } from './virtio.ts'

const tcp = 6
const flag = { fin: 1, psh: 8, ack: 16 }
const largest = 65_535
const openLimit = 16
const none = -1

/** A run: a first packet and what was appended to it. Lives in a pool. */
interface Run {
  at: number
  first: number
  last: number
  pieces: number
  v4: boolean
  transport: number
  headers: number
  size: number
  total: number
  nextSequence: number
  endFlags: number
  verified: boolean
}

export class Coalescer {
  readonly #memory: Memory
  readonly #limit: number
  readonly #pieceLimit: number
  readonly #at: Uint32Array
  readonly #length: Uint32Array
  readonly #next: Int32Array
  readonly #runs: Run[]
  readonly #open: Run[] = []
  readonly #gathered: Gathered
  #count = 0
  #runCount = 0

  /** Takes at most `limit` packets between two calls of `finish`. */
  constructor(memory: Memory, options: { readonly limit: number; readonly pieces: number }) {
    const { limit } = options
    this.#memory = memory
    this.#limit = limit
    this.#pieceLimit = options.pieces
    this.#at = new Uint32Array(limit)
    this.#length = new Uint32Array(limit)
    this.#next = new Int32Array(limit)
    this.#runs = Array.from({ length: limit }, blankRun)
    const column = (): Uint32Array => new Uint32Array(limit)
    this.#gathered = { count: 0, end: column(), at: column(), length: column() }
  }

  get full(): boolean {
    return this.#count === this.#limit
  }

  /** A whole packet at `at`, with room for a virtio header in front of it. */
  add(at: number, length: number): void {
    const index = this.#count++
    this.#at[index] = at
    this.#length[index] = length
    this.#next[index] = none
    const shape = this.#shapeOf(at, length)
    if (shape === 'alone') return void this.#start(index, 0)
    if (shape === 'ends') {
      this.#closeFlow(at)
      return void this.#start(index, 0)
    }
    const run = this.#flow(at)
    if (run !== undefined && this.#append(run, index, shape)) return
    if (run !== undefined) this.#close(run)
    this.#openRun(index, shape)
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
    this.#open.length = 0
    return this.#gathered
  }

  /**
   * The length of all headers of a data packet that may be part of a run. `alone`: anything that is no matter of
   * runs, pure ACKs included. `ends`: TCP that later packets of its flow must not overtake.
   */
  #shapeOf(at: number, length: number): number | 'alone' | 'ends' {
    const { view } = this.#memory
    if (length < 40) return 'alone'
    const first = view.getUint8(at)
    const v4 = first === 0x45
    const transport = v4 ? 20 : 40
    if (v4 ? view.getUint8(at + 9) !== tcp : first >> 4 !== 6 || view.getUint8(at + 6) !== tcp) return 'alone'
    const total = v4 ? view.getUint16(at + 2) : view.getUint16(at + 4) + 40
    if (total !== length || length < transport + 20) return 'alone'
    if (v4 && (view.getUint16(at + 6) & 0x3fff) !== 0) return 'alone'
    const headers = transport + (view.getUint8(at + transport + 12) >> 4) * 4
    if (headers < transport + 20 || headers > length) return 'alone'
    const flags = view.getUint8(at + transport + 13)
    const data = length > headers
    if ((flags & ~(flag.psh | flag.fin)) !== flag.ack) return 'ends'
    if (data) return headers
    return flags === flag.ack ? 'alone' : 'ends'
  }

  #start(index: number, headers: number): Run {
    const run = this.#runs[this.#runCount++] ?? blankRun()
    const at = this.#at[index] ?? 0
    run.at = at
    run.first = index
    run.last = index
    run.pieces = 1
    run.headers = headers
    run.total = this.#length[index] ?? 0
    run.verified = false
    return run
  }

  #openRun(index: number, headers: number): void {
    const { view } = this.#memory
    const run = this.#start(index, headers)
    run.v4 = view.getUint8(run.at) >> 4 === 4
    run.transport = run.v4 ? 20 : 40
    run.size = run.total - headers
    const own = run.at + run.transport
    run.nextSequence = (view.getUint32(own + 4) + run.size) >>> 0
    run.endFlags = view.getUint8(own + 13)
    if ((run.endFlags & (flag.psh | flag.fin)) !== 0) return
    if (this.#open.length === openLimit) this.#open.shift()
    this.#open.push(run)
  }

  #close(run: Run): void {
    this.#open.splice(this.#open.indexOf(run), 1)
  }

  #closeFlow(at: number): void {
    const v4 = this.#memory.view.getUint8(at) >> 4 === 4
    const run = this.#open.findLast((one) => one.v4 === v4 && this.#sameFlow(one, at))
    if (run !== undefined) this.#close(run)
  }

  /** The open run of the same addresses and ports. */
  #flow(at: number): Run | undefined {
    const v4 = this.#memory.view.getUint8(at) >> 4 === 4
    for (let index = this.#open.length - 1; index >= 0; index--) {
      const run = this.#open[index]
      if (run !== undefined && run.v4 === v4 && this.#sameFlow(run, at)) return run
    }
    return undefined
  }

  /** Addresses and ports lie next to each other in both versions. */
  #sameFlow(run: Run, at: number): boolean {
    return run.v4 ? this.#same(run.at, at, 12, 24) : this.#same(run.at, at, 8, 44)
  }

  #append(run: Run, index: number, headers: number): boolean {
    const at = this.#at[index] ?? 0
    const payload = (this.#length[index] ?? 0) - headers
    const { view } = this.#memory
    const own = at + run.transport
    if (headers !== run.headers || payload > run.size || run.total + payload > largest) return false
    if (run.pieces >= this.#pieceLimit || view.getUint32(own + 4) !== run.nextSequence) return false
    if (!this.#sameHeaders(run, at)) return false
    if (!run.verified && !this.#valid(run.at, run.transport, this.#length[run.first] ?? 0)) return false
    run.verified = true
    if (!this.#valid(at, run.transport, this.#length[index] ?? 0)) return false
    this.#next[run.last] = index
    run.last = index
    run.pieces++
    run.total += payload
    run.nextSequence = (run.nextSequence + payload) >>> 0
    run.endFlags = view.getUint8(own + 13)
    if (payload < run.size || (run.endFlags & (flag.psh | flag.fin)) !== 0) this.#close(run)
    return true
  }

  /** All that cutting would copy: everything but lengths, identification, sequence, PSH, FIN and checksums. */
  #sameHeaders(run: Run, at: number): boolean {
    const { view } = this.#memory
    if (run.v4 ? !this.#sameV4(run, at) : !(this.#same(run.at, at, 0, 4) && this.#same(run.at, at, 6, 8)))
      return false
    const { transport, headers } = run
    return (
      this.#same(run.at, at, transport + 8, transport + 13) &&
      ((view.getUint8(run.at + transport + 13) ^ view.getUint8(at + transport + 13)) &
        ~(flag.psh | flag.fin)) ===
        0 &&
      this.#same(run.at, at, transport + 14, transport + 16) &&
      this.#same(run.at, at, transport + 18, headers)
    )
  }

  /** With DF set the identification means nothing (RFC 6864 4.1); else it must count up. */
  #sameV4(run: Run, at: number): boolean {
    const { view } = this.#memory
    const unfragmentable = (view.getUint16(at + 6) & 0x4000) !== 0
    const counted = view.getUint16(at + 4) === ((view.getUint16(run.at + 4) + run.pieces) & 0xffff)
    if (!unfragmentable && !counted) return false
    return this.#same(run.at, at, 1, 2) && this.#same(run.at, at, 6, 9)
  }

  #same(one: number, other: number, from: number, to: number): boolean {
    const { bytes } = this.#memory
    for (let offset = from; offset < to; offset++) {
      if (bytes[one + offset] !== bytes[other + offset]) return false
    }
    return true
  }

  #valid(at: number, transport: number, length: number): boolean {
    const { view } = this.#memory
    if (transport === 20 && folded(sumOf(view, at, 20, 0)) !== 0xffff) return false
    const own = length - transport
    return folded(sumOf(view, at + transport, own, pseudoSum(view, at, tcp, own))) === 0xffff
  }

  #writeHeaders(run: Run): void {
    const { bytes, view } = this.#memory
    const virtio = run.at - virtioHeaderSize
    if (run.pieces === 1) {
      clearVirtio(bytes, virtio)
      return
    }
    const { at, transport, headers } = run
    if (run.v4) {
      view.setUint16(at + 2, run.total)
      writeHeaderChecksum(view, at, 20)
    } else view.setUint16(at + 4, run.total - 40)
    view.setUint8(at + transport + 13, run.endFlags)
    view.setUint16(at + transport + 16, folded(pseudoSum(view, at, tcp, run.total - transport)), true)
    writeVirtio(view, virtio, {
      flags: needsChecksum,
      gsoType: run.v4 ? gso.tcpV4 : gso.tcpV6,
      headerLength: headers,
      gsoSize: run.size,
      checksumStart: transport,
      checksumOffset: 16,
    })
  }
}

const blankRun = (): Run => ({
  at: 0,
  first: 0,
  last: 0,
  pieces: 0,
  v4: true,
  transport: 0,
  headers: 0,
  size: 0,
  total: 0,
  nextSequence: 0,
  endFlags: 0,
  verified: false,
})
