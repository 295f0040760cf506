/**
 * Opened packets on their way to the TUN device: given a place to be opened to, put back into the order in which the
 * peer sealed them, coalesced, written as one batch.
 */
import type { TunDevice, TunState } from '../../linux/tun.ts'
import { HEADROOM, TAILROOM } from '../wireguard/device.ts'
import type { Packet } from '../wireguard/results.ts'
import type { Memory } from './checksum.ts'
import { Coalescer, type CoalescerOptions } from './coalesce.ts'

export interface InboundDeps {
  readonly memory: Memory
  readonly tun: Pick<TunDevice, 'writeBatch'>
}

export interface InboundOptions extends CoalescerOptions {
  /** Where opened packets go: an offset of the memory, and how many bytes there are. */
  readonly area: { readonly at: number; readonly length: number }
}

export class Inbound {
  /** Marked packets that were no such thing. */
  malformed = 0
  readonly #deps: InboundDeps
  readonly #options: InboundOptions
  readonly #at: Uint32Array
  readonly #length: Uint32Array
  readonly #mark: Uint8Array
  /** Session and counter of each, from the header it came with. */
  readonly #session: Uint32Array
  readonly #counter: Uint32Array
  readonly #coalescer: Coalescer
  #next: number
  #count = 0
  #sorted = true
  #state: TunState = 'works'

  constructor(deps: InboundDeps, options: InboundOptions) {
    const { limit } = options
    this.#deps = deps
    this.#options = options
    const column = (): Uint32Array => new Uint32Array(limit)
    this.#at = column()
    this.#length = column()
    this.#mark = new Uint8Array(limit)
    this.#session = column()
    this.#counter = column()
    this.#coalescer = new Coalescer(deps.memory, options)
    this.#next = options.area.at
  }

  /**
   * Where the packet of the datagram at `at` may be opened to. Notes which session and counter it claims (paper
   * 5.4.6). Writes first what there is no more room beside.
   */
  place(at: number, length: number): number {
    const { area, limit } = this.#options
    if (this.#count === limit || this.#next + HEADROOM + length + TAILROOM > area.at + area.length)
      this.write()
    const { view } = this.#deps.memory
    const carries = length >= 16
    this.#session[this.#count] = carries ? view.getUint32(at + 4, true) : 0
    this.#counter[this.#count] = carries ? view.getUint32(at + 8, true) : 0
    return this.#next + HEADROOM
  }

  /** The packet that was opened to the last place. */
  add({ offset, length, mark }: Packet): void {
    const index = this.#count++
    this.#at[index] = offset
    this.#length[index] = length
    this.#mark[index] = mark
    this.#next = (offset + length + 63) & ~63
    if (index > 0 && this.#session[index] === this.#session[index - 1])
      this.#sorted &&= (this.#counter[index] ?? 0) >= (this.#counter[index - 1] ?? 0)
  }

  /** Writes what there is; `gone` from when the device is. */
  write(): TunState {
    this.#next = this.#options.area.at
    if (this.#count === 0) return this.#state
    if (this.#sorted) for (let index = 0; index < this.#count; index++) this.#coalesce(index)
    else for (const index of this.#order()) this.#coalesce(index)
    this.#count = 0
    this.#sorted = true
    if (this.#deps.tun.writeBatch(this.#coalescer.finish()) === 'gone') this.#state = 'gone'
    return this.#state
  }

  #coalesce(index: number): void {
    const marked = this.#mark[index] !== 0
    if (!this.#coalescer.add(this.#at[index] ?? 0, this.#length[index] ?? 0, marked)) this.malformed++
  }

  /** By session, then by counter; a counter's low half is enough within one batch. */
  #order(): readonly number[] {
    return Array.from({ length: this.#count }, (_, index) => index).sort(
      (one, other) =>
        (this.#session[one] ?? 0) - (this.#session[other] ?? 0) ||
        (this.#counter[one] ?? 0) - (this.#counter[other] ?? 0),
    )
  }
}
