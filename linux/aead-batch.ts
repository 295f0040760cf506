/**
 * Sealing and opening that is asked for packet by packet and done together, by the helper in one call: a table of
 * jobs in the arena. What was asked for is done when `run` returns; the bytes must stay where they lie until then.
 */
import type { Arena } from './arena.ts'
import type { EvpContext, PacketHelper } from './ffi.ts'

/** struct job of tunnel/native/packets.c, in 32-bit words: context, address, counter, length, done. */
const jobWords = 8
const word = { context: 0, address: 2, counter: 4, length: 6, done: 7 }
const tagLength = 16

class Jobs {
  readonly #arena: Arena
  readonly #table: number
  readonly #limit: number
  readonly #offsets: Float64Array
  count = 0

  constructor(arena: Arena, limit: number) {
    this.#arena = arena
    this.#limit = limit
    this.#table = arena.take(limit * jobWords * 4)
    this.#offsets = new Float64Array(limit)
  }

  get full(): boolean {
    return this.count === this.#limit
  }

  get address(): number {
    return this.#arena.address(this.#table, this.#limit * jobWords * 4)
  }

  add(context: EvpContext, at: number, length: number, counter: number): void {
    const { u32 } = this.#arena
    const address = this.#arena.address(at, length + tagLength)
    const job = (this.#table >> 2) + this.count * jobWords
    const owner = context.address
    u32[job + word.context] = owner
    u32[job + word.context + 1] = owner / 2 ** 32
    u32[job + word.address] = address
    u32[job + word.address + 1] = address / 2 ** 32
    u32[job + word.counter] = counter
    u32[job + word.counter + 1] = counter / 2 ** 32
    u32[job + word.length] = length
    this.#offsets[this.count++] = at
  }

  offset(job: number): number {
    return this.#offsets[job] ?? 0
  }

  done(job: number): boolean {
    return this.#arena.u32[(this.#table >> 2) + job * jobWords + word.done] === 1
  }
}

export class AeadBatch {
  readonly #helper: PacketHelper
  readonly #seals: Jobs
  readonly #opens: Jobs
  #opened = 0
  #cursor = 0

  constructor(arena: Arena, helper: PacketHelper, limit: number) {
    this.#helper = helper
    this.#seals = new Jobs(arena, limit)
    this.#opens = new Jobs(arena, limit)
  }

  /** `length` bytes and room for the tag behind them. */
  seal(context: EvpContext, at: number, length: number, counter: number): void {
    if (this.#seals.full) this.run()
    this.#seals.add(context, at, length, counter)
  }

  /** `length` bytes and the tag behind them, at ever higher offsets until `forget`. What is too much is left. */
  foresee(context: EvpContext, at: number, length: number, counter: number): void {
    if (!this.#opens.full) this.#opens.add(context, at, length, counter)
  }

  run(): void {
    const [seals, opens] = [this.#seals, this.#opens]
    if (seals.count > 0) {
      this.#helper.seal(seals.address, seals.count)
      for (let job = 0; job < seals.count; job++)
        if (!seals.done(job)) throw new TypeError('OpenSSL does not seal')
      seals.count = 0
    }
    if (opens.count > this.#opened) {
      this.#helper.open(opens.address, opens.count)
      this.#opened = opens.count
    }
  }

  /** Whether what lies there was genuine; undefined where it was not foreseen. Ask in the order of `foresee`. */
  opened(at: number): boolean | undefined {
    while (this.#cursor < this.#opened && this.#opens.offset(this.#cursor) < at) this.#cursor++
    if (this.#cursor >= this.#opened || this.#opens.offset(this.#cursor) !== at) return undefined
    return this.#opens.done(this.#cursor++)
  }

  forget(): void {
    this.#opens.count = 0
    this.#opened = 0
    this.#cursor = 0
  }
}
