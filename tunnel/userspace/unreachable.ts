/**
 * What the sender of a packet is told that no peer takes, in the words of the kernel's WireGuard: ICMP "host
 * unreachable", ICMPv6 "address unreachable". It comes from the address that was not reached: the one source that
 * surely passes a check of the reverse path here. Silent about errors, later fragments and groups (RFC 1122 3.2.2,
 * RFC 4443 2.4), and when it has been said too often.
 */
import { folded, type Memory, pseudoSum, writeHeaderChecksum } from './checksum.ts'
import { clearVirtio, virtioHeaderSize } from './virtio.ts'

const icmp = 1
const icmpV6 = 58
/** Which of ICMP are errors: unreachable, quench, redirect, time exceeded, parameter problem. */
const errorsV4: readonly number[] = [3, 4, 5, 11, 12]
/** The largest errors, by RFC 1812 4.3.2.3 and RFC 4443 2.4. */
const largestV4 = 576
const largestV6 = 1280
const margin = 16

/** A hundred in a second, up to fifty at once. */
const cost = 10
const mostCredit = 50 * cost

export const UNREACHABLE_ROOM = margin + largestV6

export class Unreachable {
  /** Where the message lies, a virtio header in front of it. */
  readonly at: number
  readonly #memory: Memory
  #credit = mostCredit
  #last = 0

  /** `room`: UNREACHABLE_ROOM bytes of the memory. */
  constructor(memory: Memory, { room }: { readonly room: number }) {
    this.#memory = memory
    this.at = room + margin
  }

  /** Writes what is to be said about the packet at `at`; its length, 0 for nothing. */
  about(at: number, length: number, now: number): number {
    const { view } = this.#memory
    const v4 = length >= 20 && view.getUint8(at) >> 4 === 4
    const v6 = length >= 40 && view.getUint8(at) >> 4 === 6
    if (!(v4 ? this.#deservesV4(at, length) : v6 && this.#deservesV6(at, length))) return 0
    if (!this.#may(now)) return 0
    clearVirtio(view, this.at - virtioHeaderSize)
    return v4 ? this.#writeV4(at, length) : this.#writeV6(at, length)
  }

  #may(now: number): boolean {
    this.#credit = Math.min(mostCredit, this.#credit + Math.max(0, now - this.#last))
    this.#last = now
    if (this.#credit < cost) return false
    this.#credit -= cost
    return true
  }

  #deservesV4(at: number, length: number): boolean {
    const { view } = this.#memory
    const [source, destination] = [view.getUint8(at + 12), view.getUint8(at + 16)]
    if (source === 0 || source === 127 || source >= 224 || destination >= 224) return false
    if ((view.getUint16(at + 6) & 0x1fff) !== 0) return false
    if (view.getUint8(at + 9) !== icmp) return true
    const type = at + (view.getUint8(at) & 15) * 4
    return type < at + length && !errorsV4.includes(view.getUint8(type))
  }

  /** Not behind extension headers, where an error might lie. */
  #deservesV6(at: number, length: number): boolean {
    const { view } = this.#memory
    const protocol = view.getUint8(at + 6)
    const unspecified = [8, 12, 16, 20].every((offset) => view.getUint32(at + offset) === 0)
    if (unspecified || view.getUint8(at + 8) === 0xff || view.getUint8(at + 24) === 0xff) return false
    if (protocol === icmpV6) return length > 40 && view.getUint8(at + 40) >= 128
    return protocol === 6 || protocol === 17
  }

  #writeV4(about: number, length: number): number {
    const { bytes, view, sum } = this.#memory
    const { at } = this
    const total = Math.min(28 + length, largestV4)
    view.setUint32(at, 0x45c00000 | total)
    view.setUint32(at + 4, 0)
    view.setUint32(at + 8, 0x40010000)
    view.setUint32(at + 12, view.getUint32(about + 16))
    view.setUint32(at + 16, view.getUint32(about + 12))
    writeHeaderChecksum(this.#memory, at, 20)
    view.setUint32(at + 20, 0x03010000)
    view.setUint32(at + 24, 0)
    bytes.copyWithin(at + 28, about, about + total - 28)
    view.setUint16(at + 22, ~folded(sum(at + 20, total - 20)) & 0xffff, true)
    return total
  }

  #writeV6(about: number, length: number): number {
    const { bytes, view, sum } = this.#memory
    const { at } = this
    const total = Math.min(48 + length, largestV6)
    view.setUint32(at, 0x60000000)
    view.setUint32(at + 4, ((total - 40) << 16) | 0x3a40)
    bytes.copyWithin(at + 8, about + 24, about + 40)
    bytes.copyWithin(at + 24, about + 8, about + 24)
    view.setUint32(at + 40, 0x01030000)
    view.setUint32(at + 44, 0)
    bytes.copyWithin(at + 48, about, about + total - 48)
    const own = total - 40
    view.setUint16(
      at + 42,
      ~folded(sum(at + 40, own) + pseudoSum(this.#memory, at, icmpV6, own)) & 0xffff,
      true,
    )
    return total
  }
}
