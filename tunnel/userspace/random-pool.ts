/**
 * Random bytes fetched many at a time: hundreds of peers that are called at once want a few thousand handfuls, and each
 * call to the source costs more than a handful is worth. What was handed out is wiped here. Pure but for the source.
 */
import type { Random } from '../../model/ports.ts'

const size = 4096

export class RandomPool implements Random {
  readonly #fill: (bytes: Uint8Array) => void
  readonly #pool = new Uint8Array(size)
  #next = size

  /** `fill` makes every byte random. */
  constructor(fill: (bytes: Uint8Array) => void) {
    this.#fill = fill
  }

  bytes(length: number): Uint8Array {
    if (length > size) return this.#fresh(length)
    if (this.#next + length > size) this.#refill()
    const end = this.#next + length
    const taken = this.#pool.slice(this.#next, end)
    this.#pool.fill(0, this.#next, end)
    this.#next = end
    return taken
  }

  #fresh(length: number): Uint8Array {
    const bytes = new Uint8Array(length)
    this.#fill(bytes)
    return bytes
  }

  #refill(): void {
    this.#fill(this.#pool)
    this.#next = 0
  }
}
