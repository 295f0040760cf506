/**
 * Packets of the TUN device on their way to the network: cut into segments, sealed one by one into an area of their
 * own, where datagrams lie end to end as far as their lengths allow, sent as one batch. Whoever sent what no peer takes is
 * told.
 */
import type { Gathered, TunDevice } from '../../linux/tun.ts'
import type { Millis } from '../../model/time.ts'
import { type Device, HEADROOM, TAILROOM } from '../wireguard/device.ts'
import { TRANSPORT_HEADER } from '../wireguard/messages.ts'
import type { Memory } from './checksum.ts'
import type { UdpPorts } from './ports.ts'
import type { Segmenter } from './segment.ts'
import type { Unreachable } from './unreachable.ts'

/** In front of a datagram's header: what sealing uses and the datagram before may lie in. */
const BEFORE = HEADROOM - TRANSPORT_HEADER
const KEPT = BEFORE / 4

export interface OutboundDeps {
  readonly memory: Memory
  readonly device: Pick<Device, 'takesMarks' | 'send' | 'sealed'>
  readonly segmenter: Segmenter
  readonly udp: Pick<UdpPorts, 'add' | 'flush'>
  readonly tun: Pick<TunDevice, 'writeBatch'>
  readonly unreachable: Unreachable
}

export interface OutboundOptions {
  /** Where sealed packets go: an offset of the memory, and how many bytes there are. */
  readonly area: { readonly at: number; readonly length: number }
  /** Whether packets come with virtio headers. */
  readonly vnetHeader: boolean
}

export class Outbound {
  /** Packets of the TUN device that lied about themselves. */
  malformed = 0
  readonly #deps: OutboundDeps
  readonly #options: OutboundOptions
  readonly #told: Gathered
  /** The memory, in words. */
  readonly #words: Int32Array
  readonly #kept = new Int32Array(KEPT)
  /** Where the next datagram begins; a multiple of four. */
  #next: number

  constructor(deps: OutboundDeps, options: OutboundOptions) {
    this.#deps = deps
    this.#options = options
    this.#next = options.area.at + HEADROOM
    const { buffer, byteLength } = deps.memory.bytes
    this.#words = new Int32Array(buffer, 0, byteLength >> 2)
    const at = Uint32Array.of(deps.unreachable.at)
    this.#told = { count: 1, end: Uint32Array.of(1), at, length: new Uint32Array(1) }
  }

  /** What was read at `at`. */
  take(at: number, length: number, now: Millis): void {
    const { memory, device, segmenter } = this.#deps
    if (!this.#options.vnetHeader) segmenter.beginPlain(at, length)
    else if (!segmenter.begin(at, length, device.takesMarks(memory.bytes, at, length))) this.malformed++
    while (segmenter.next()) {
      if (this.#seal(now)) continue
      // The other segments go the same way.
      this.#tell(now)
      break
    }
  }

  /** Sends what was sealed. */
  flush(): void {
    this.#deps.udp.flush()
    this.#next = this.#options.area.at + HEADROOM
  }

  /** False where there is nobody to send it to. */
  #seal(now: Millis): boolean {
    const { memory, device, segmenter, udp } = this.#deps
    const { area } = this.#options
    const { at, length, mark } = segmenter
    if (this.#next + TRANSPORT_HEADER + length + TAILROOM > area.at + area.length) this.flush()
    const before = (this.#next - BEFORE) >> 2
    copy(this.#words, before, this.#kept, 0)
    const result = device.send(memory.bytes, at, length, now, mark, this.#next + TRANSPORT_HEADER)
    copy(this.#kept, 0, this.#words, before)
    if (result !== 'sealed') return result !== 'no-route' && result !== 'no-endpoint'
    const { sealed } = device
    udp.add(sealed.offset, sealed.length, sealed.to)
    const end = sealed.offset + sealed.length
    this.#next = (end & 3) === 0 ? end : (end + HEADROOM + 63) & ~63
    return true
  }

  #tell(now: Millis): void {
    const { segmenter, tun, unreachable } = this.#deps
    this.#told.length[0] = unreachable.about(segmenter.at, segmenter.length, now)
    if (this.#told.length[0] > 0) tun.writeBatch(this.#told)
  }
}

/** KEPT words, without a view of either side, which would be an object a packet. */
function copy(from: Int32Array, at: number, to: Int32Array, into: number): void {
  for (let index = 0; index < KEPT; index++) to[into + index] = from[at + index] ?? 0
}
