/**
 * Packets of the TUN device on their way to the network: cut into segments, sealed one by one into an area of their
 * own, sent as one batch.
 */
import type { Millis } from '../../model/time.ts'
import { type Device, HEADROOM, TAILROOM } from '../wireguard/device.ts'
import type { Memory } from './checksum.ts'
import type { UdpPorts } from './ports.ts'
import type { Segmenter } from './segment.ts'

export interface OutboundDeps {
  readonly memory: Memory
  readonly device: Device
  readonly segmenter: Segmenter
  readonly udp: UdpPorts
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
  #next: number

  constructor(deps: OutboundDeps, options: OutboundOptions) {
    this.#deps = deps
    this.#options = options
    this.#next = options.area.at
  }

  /** What was read at `at`. */
  take(at: number, length: number, now: Millis): void {
    const { memory, device, segmenter } = this.#deps
    if (!this.#options.vnetHeader) segmenter.beginPlain(at, length)
    else if (!segmenter.begin(at, length, device.takesMarks(memory.bytes, at, length))) this.malformed++
    while (segmenter.next()) this.#seal(now)
  }

  /** Sends what was sealed. */
  flush(): void {
    this.#deps.udp.flush()
    this.#next = this.#options.area.at
  }

  #seal(now: Millis): void {
    const { memory, device, segmenter, udp } = this.#deps
    const { area } = this.#options
    const { at, length, mark } = segmenter
    if (this.#next + HEADROOM + length + TAILROOM > area.at + area.length) this.flush()
    const into = this.#next + HEADROOM
    if (device.send(memory.bytes, at, length, now, mark, into) !== 'sealed') return
    const { sealed } = device
    udp.add(sealed.offset, sealed.length, sealed.to)
    this.#next = (into + length + TAILROOM + 63) & ~63
  }
}
