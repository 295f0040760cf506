/**
 * Internet checksums of many packets, completed and summed by the helper in one call: a table in the arena.
 */
import type { Arena } from './arena.ts'
import type { PacketHelper } from './ffi.ts'

/** struct checksum of tunnel/native/packets.c: address, length, field, never zero. */
const jobSize = 16

export class ChecksumBatch {
  readonly #arena: Arena
  readonly #helper: PacketHelper
  readonly #table: number
  readonly #limit: number
  #count = 0

  constructor(arena: Arena, helper: PacketHelper, limit: number) {
    this.#arena = arena
    this.#helper = helper
    this.#limit = limit
    this.#table = arena.take(limit * jobSize)
  }

  /** The checksum of `length` bytes, whose field at `field` of them holds the sum of the pseudo header. */
  add(at: number, length: number, field: number, neverZero: boolean): void {
    if (this.#count === this.#limit) this.run()
    const { u32 } = this.#arena
    const address = this.#arena.address(at, Math.max(length, field + 2))
    const job = (this.#table + this.#count++ * jobSize) >> 2
    u32[job] = address
    u32[job + 1] = address / 2 ** 32
    u32[job + 2] = length
    u32[job + 3] = field | (neverZero ? 0x10000 : 0)
  }

  run(): void {
    if (this.#count > 0)
      this.#helper.complete(this.#arena.address(this.#table, this.#limit * jobSize), this.#count)
    this.#count = 0
  }
}

/** A table of packets whose sums are wanted; columns in the arena. */
export class SumTable {
  readonly at: Uint32Array
  readonly length: Uint32Array
  /** Unfolded, of all bytes of a packet, in the machine's order. */
  readonly sum: Uint32Array
  readonly #arena: Arena
  readonly #helper: PacketHelper
  readonly #table: number
  readonly #limit: number

  constructor(arena: Arena, helper: PacketHelper, limit: number) {
    this.#arena = arena
    this.#helper = helper
    this.#limit = limit
    this.#table = arena.take(limit * 12)
    const column = (index: number): Uint32Array =>
      arena.u32.subarray((this.#table >> 2) + index * limit, (this.#table >> 2) + (index + 1) * limit)
    this.at = column(0)
    this.length = column(1)
    this.sum = column(2)
  }

  run(count: number): void {
    for (let index = 0; index < count; index++)
      this.#arena.address(this.at[index] ?? 0, this.length[index] ?? 0)
    const column = (index: number): number =>
      this.#arena.address(this.#table + index * this.#limit * 4, count * 4)
    this.#helper.sums(this.#arena.address(0, 0), column(0), column(1), column(2), count)
  }
}
