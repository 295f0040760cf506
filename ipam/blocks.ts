/**
 * One block as a bitmap: which of its addresses are in use, and which is next. Pure, never throws; an address
 * of elsewhere is never free. The next address lies behind the last one given, so that one just freed is the
 * last to come back.
 */
import { type Cidr, type Ipv4, ipv4At, networkOf } from '../model/ip.ts'
import { isUsable, type Space } from './space.ts'

export class Block {
  readonly cidr: Cidr
  readonly #first: Ipv4
  readonly #size: number
  readonly #used: Uint32Array
  #free: number
  #cursor = 0

  constructor(cidr: Cidr, space: Space) {
    const { first, size } = networkOf(cidr)
    this.cidr = cidr
    this.#first = first
    this.#size = size
    this.#used = new Uint32Array(Math.ceil(size / 32))
    this.#free = size
    // Only the two ends of the subnet are unusable, and they are ends of a block.
    for (const address of new Set([first, ipv4At(first, size - 1)])) {
      if (!isUsable(space, address)) this.use(address)
    }
  }

  get free(): number {
    return this.#free
  }

  isFree(address: Ipv4): boolean {
    const at = this.#offset(address)
    return at !== undefined && !this.#isUsed(at)
  }

  /** Marks an address as used; false when it is already, or lies elsewhere. */
  use(address: Ipv4): boolean {
    const at = this.#offset(address)
    if (at === undefined || this.#isUsed(at)) return false
    this.#used[at >>> 5] = (this.#used[at >>> 5] ?? 0) | (1 << (at & 31))
    this.#free--
    this.#cursor = (at + 1) % this.#size
    return true
  }

  /** Marks an address as free; false when it is already, or lies elsewhere. */
  release(address: Ipv4): boolean {
    const at = this.#offset(address)
    if (at === undefined || !this.#isUsed(at)) return false
    this.#used[at >>> 5] = (this.#used[at >>> 5] ?? 0) & ~(1 << (at & 31))
    this.#free++
    return true
  }

  /** A free address, which stays free until `use`. */
  next(): Ipv4 | undefined {
    if (this.#free === 0) return undefined
    for (let step = 0; step < this.#size; step++) {
      const at = (this.#cursor + step) % this.#size
      if (!this.#isUsed(at)) return ipv4At(this.#first, at)
    }
    return undefined
  }

  /** What is wrong with the block; empty when nothing is. */
  checkInvariants(): readonly string[] {
    let free = 0
    for (let at = 0; at < this.#size; at++) if (!this.#isUsed(at)) free++
    return free === this.#free ? [] : [`${this.cidr}: ${free} addresses are free, ${this.#free} are counted`]
  }

  #offset(address: Ipv4): number | undefined {
    const at = address - this.#first
    return at >= 0 && at < this.#size ? at : undefined
  }

  #isUsed(at: number): boolean {
    return (((this.#used[at >>> 5] ?? 0) >>> (at & 31)) & 1) === 1
  }
}
