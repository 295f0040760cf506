/**
 * One piece of memory outside of V8's heap, which the kernel and OpenSSL may be given addresses of.
 * Everything inside is named by its offset; `address` is the only place where an offset becomes an address,
 * and it refuses whatever does not lie inside. Memory is handed out once and never taken back.
 */
export class Arena {
  readonly bytes: Uint8Array
  readonly view: DataView
  readonly u32: Uint32Array
  readonly #base: number
  readonly #size: number
  #taken = 0

  constructor(base: number, memory: ArrayBuffer) {
    this.#base = base
    this.#size = memory.byteLength
    this.bytes = new Uint8Array(memory)
    this.view = new DataView(memory)
    this.u32 = new Uint32Array(memory)
  }

  /** The offset of `length` fresh bytes. */
  take(length: number, align = 64): number {
    const at = Math.ceil(this.#taken / align) * align
    if (!(length >= 0 && at + length <= this.#size)) throw new RangeError('the arena is full')
    this.#taken = at + length
    return at
  }

  /** The address of `length` bytes at an offset. */
  address(at: number, length: number): number {
    // `| 0` refuses what is not a whole number; an arena has less than 2 GiB.
    if ((at | 0) !== at || (length | 0) !== length || at < 0 || length < 0)
      throw new RangeError('not an offset and a length')
    if (at + length > this.#size) throw new RangeError('outside of the arena')
    return this.#base + at
  }

  /** Writes the address of `length` bytes at `target` into the eight bytes at `at`, a multiple of four. */
  point(at: number, target: number, length: number): void {
    const address = this.address(target, length)
    const high = address < 2 ** 32 ? 0 : Math.floor(address / 2 ** 32)
    this.u32[at >> 2] = address
    this.u32[(at >> 2) + 1] = high
  }
}
