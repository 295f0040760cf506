/**
 * The sliding window against replayed counters (paper 5.4.6, algorithm of RFC 6479): a ring of 32-bit blocks, of
 * which one is always being recycled. Counters are exact up to 2^53.
 */
import { REJECT_AFTER_MESSAGES } from './constants.ts'

/** A power of two. */
const BLOCKS = 256
/** How far behind the highest counter one may still be accepted. */
export const REPLAY_WINDOW = (BLOCKS - 1) * 32

export const WINDOW_BYTES = BLOCKS * 4

/** Of the ring's bytes, those that counters up to `highest` have reached. */
export const usedBytes = (highest: number): number => Math.min(WINDOW_BYTES, 4 * (blockOf(highest) + 1))

export interface ReplayState {
  readonly highest: number
  /** The `usedBytes` of the blocks, as this machine stores words: a successor runs on the same one. */
  readonly ring: Uint8Array
}

export class ReplayWindow {
  readonly #ring = new Uint32Array(BLOCKS)
  #highest = 0

  /** True once for each counter that is not too old. Call only for what has been authenticated. */
  accept(counter: number): boolean {
    if (counter >= REJECT_AFTER_MESSAGES || this.#highest - counter > REPLAY_WINDOW) return false
    const block = blockOf(counter)
    if (counter > this.#highest) this.#advance(block, counter)
    const bit = 1 << (counter & 31)
    const slot = block & (BLOCKS - 1)
    const word = this.#ring[slot] ?? 0
    this.#ring[slot] = word | bit
    return (word & bit) === 0
  }

  state(): ReplayState {
    return {
      highest: this.#highest,
      ring: new Uint8Array(this.#ring.buffer).slice(0, usedBytes(this.#highest)),
    }
  }

  restore({ highest, ring }: ReplayState): void {
    new Uint8Array(this.#ring.buffer).set(ring)
    this.#highest = highest
  }

  #advance(block: number, counter: number): void {
    const current = blockOf(this.#highest)
    const steps = Math.min(block - current, BLOCKS)
    for (let step = 1; step <= steps; step++) this.#ring[(current + step) & (BLOCKS - 1)] = 0
    this.#highest = counter
  }
}

/** In whole numbers as long as the counter is one of 31 bits: V8 would box a fraction to pass it on. */
const blockOf = (counter: number): number => (counter < 2 ** 31 ? counter >>> 5 : Math.floor(counter / 32))
