/**
 * Opened packets on their way to the TUN device: put back into the order in which the peer sealed them, coalesced
 * where that is on, written as one batch.
 */
import type { Gathered, TunDevice, TunState } from '../../linux/tun.ts'
import type { Memory } from './checksum.ts'
import { Coalescer } from './coalesce.ts'
import { clearVirtio, virtioHeaderSize } from './virtio.ts'

export interface InboundDeps {
  readonly memory: Memory
  readonly tun: TunDevice
}

export class Inbound {
  readonly #deps: InboundDeps
  readonly #limit: number
  readonly #at: Uint32Array
  readonly #length: Uint32Array
  /** Session and counter of each, from the header it came with. */
  readonly #session: Uint32Array
  readonly #counter: Uint32Array
  readonly #coalescer: Coalescer | undefined
  readonly #plain: Gathered
  #count = 0
  #sorted = true

  /** `pieces`: the most packets that become one, 1 for no coalescing. */
  constructor(deps: InboundDeps, options: { readonly limit: number; readonly pieces: number }) {
    const { limit, pieces } = options
    this.#deps = deps
    this.#limit = limit
    const column = (): Uint32Array => new Uint32Array(limit)
    this.#at = column()
    this.#length = column()
    this.#session = column()
    this.#counter = column()
    this.#coalescer = pieces > 1 ? new Coalescer(deps.memory, options) : undefined
    this.#plain = {
      count: 0,
      end: Uint32Array.from(this.#at.keys(), (i) => i + 1),
      at: this.#at,
      length: this.#length,
    }
  }

  get full(): boolean {
    return this.#count === this.#limit
  }

  /** Looks at a datagram before it is opened: which session and counter it claims (paper 5.4.6). */
  note(at: number, length: number): void {
    const { view } = this.#deps.memory
    const carries = length >= 16
    this.#session[this.#count] = carries ? view.getUint32(at + 4, true) : 0
    this.#counter[this.#count] = carries ? view.getUint32(at + 8, true) : 0
  }

  /** The packet that was in the datagram noted last. */
  add(at: number, length: number): void {
    const index = this.#count++
    this.#at[index] = at
    this.#length[index] = length
    if (index > 0 && this.#session[index] === this.#session[index - 1])
      this.#sorted &&= (this.#counter[index] ?? 0) >= (this.#counter[index - 1] ?? 0)
  }

  write(): TunState {
    if (this.#count === 0) return 'works'
    const gathered = this.#coalescer === undefined ? this.#gather() : this.#coalesce(this.#coalescer)
    this.#count = 0
    this.#sorted = true
    return this.#deps.tun.writeBatch(gathered)
  }

  #coalesce(coalescer: Coalescer): Gathered {
    if (this.#sorted) {
      for (let index = 0; index < this.#count; index++)
        coalescer.add(this.#at[index] ?? 0, this.#length[index] ?? 0)
    } else {
      for (const index of this.#order()) coalescer.add(this.#at[index] ?? 0, this.#length[index] ?? 0)
    }
    return coalescer.finish()
  }

  /** By session, then by counter; a counter's low half is enough within one batch. */
  #order(): readonly number[] {
    return Array.from({ length: this.#count }, (_, index) => index).sort(
      (one, other) =>
        (this.#session[one] ?? 0) - (this.#session[other] ?? 0) ||
        (this.#counter[one] ?? 0) - (this.#counter[other] ?? 0),
    )
  }

  #gather(): Gathered {
    const { bytes } = this.#deps.memory
    for (let index = 0; index < this.#count; index++)
      clearVirtio(bytes, (this.#at[index] ?? 0) - virtioHeaderSize)
    this.#plain.count = this.#count
    return this.#plain
  }
}
