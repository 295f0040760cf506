/**
 * A map from IPv4 addresses, in pages of 256: those of an environment lie close together, and a table of tens of
 * thousands of entries takes longer to grow and to walk than a few hundred small ones. Pure.
 */
import type { Ipv4 } from '../../model/ip.ts'

const pageBits = 8
const pageSize = 1 << pageBits
const pageMask = pageSize - 1

export class AddressMap<Value> {
  readonly #pages = new Map<number, (Value | undefined)[]>()

  get(address: Ipv4): Value | undefined {
    return this.#pages.get(address >>> pageBits)?.[address & pageMask]
  }

  has(address: Ipv4): boolean {
    return this.get(address) !== undefined
  }

  set(address: Ipv4, value: Value): void {
    const at = address >>> pageBits
    let page = this.#pages.get(at)
    if (page === undefined) {
      page = new Array<Value | undefined>(pageSize).fill(undefined)
      this.#pages.set(at, page)
    }
    page[address & pageMask] = value
  }

  delete(address: Ipv4): void {
    const page = this.#pages.get(address >>> pageBits)
    if (page !== undefined) page[address & pageMask] = undefined
  }

  /** Pages in the order in which they came, and in each of them by address. */
  forEach(visit: (value: Value, address: Ipv4) => void): void {
    this.#pages.forEach((page, at) => {
      for (let low = 0; low < pageSize; low++) {
        const value = page[low]
        if (value !== undefined) visit(value, (((at << pageBits) | low) >>> 0) as Ipv4)
      }
    })
  }
}
