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
  #taken = 0

  constructor(base: number, memory: ArrayBuffer) {
    this.#base = base
    this.bytes = new Uint8Array(memory)
    this.view = new DataView(memory)
    this.u32 = new Uint32Array(memory)
  }

  /** The offset of `length` fresh bytes. */
  take(length: number, align = 64): number {
    const at = Math.ceil(this.#taken / align) * align
    if (!(length >= 0 && at + length <= this.bytes.length)) throw new RangeError('the arena is full')
    this.#taken = at + length
    return at
  }

  /** The address of `length` bytes at an offset. */
  address(at: number, length: number): number {
    if (!(Number.isInteger(at) && Number.isInteger(length) && at >= 0 && length >= 0))
      throw new RangeError('not an offset and a length')
    if (at + length > this.bytes.length) throw new RangeError('outside of the arena')
    return this.#base + at
  }

  /** Writes the address of `length` bytes at `target` into the eight bytes at `at`. */
  point(at: number, target: number, length: number): void {
    const address = this.address(target, length)
    this.view.setUint32(at, address % 2 ** 32, true)
    this.view.setUint32(at + 4, Math.floor(address / 2 ** 32), true)
  }

  /** Where bytes lie in the arena; undefined for bytes that live elsewhere. */
  offsetOf(bytes: Uint8Array): number | undefined {
    return bytes.buffer === this.bytes.buffer ? bytes.byteOffset : undefined
  }
}
