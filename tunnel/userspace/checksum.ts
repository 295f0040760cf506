/**
 * The Internet checksum (RFC 1071) over memory, in the machine's little-endian order: sums are folded and stored
 * as they are, which gives the same bytes (RFC 1071 section 2B). Sums of up to 64 KB do not overflow 31 bits.
 */
export interface Memory {
  readonly bytes: Uint8Array
  /** Over the same memory. */
  readonly view: DataView
  /** The unfolded sum of `length` bytes. */
  readonly sum: Sum
}

export type Sum = (at: number, length: number) => number

/** Sums in JavaScript, for engines without SIMD. */
export const plainSum =
  (view: DataView): Sum =>
  (at, length) => {
    let total = 0
    let here = at
    const end = at + length
    for (; here + 8 <= end; here += 8) {
      const a = view.getUint32(here, true)
      const b = view.getUint32(here + 4, true)
      total += (a & 0xffff) + (a >>> 16) + (b & 0xffff) + (b >>> 16)
    }
    for (; here + 2 <= end; here += 2) total += view.getUint16(here, true)
    return here < end ? total + view.getUint8(here) : total
  }

/** Sixteen bits of one's complement. */
export function folded(sum: number): number {
  const once = (sum & 0xffff) + (sum >>> 16)
  return (once & 0xffff) + (once >>> 16)
}

/** A 16-bit number as it stands in a header, for a sum in the machine's order. */
export const swapped = (value: number): number => ((value & 0xff) << 8) | ((value >>> 8) & 0xff)

/** The sum of addresses and protocol of the packet at `at`: a pseudo header without its length. */
export function addressSum({ view, sum }: Memory, at: number, protocol: number): number {
  const v4 = view.getUint8(at) >> 4 === 4
  return (v4 ? sum(at + 12, 8) : sum(at + 8, 32)) + (protocol << 8)
}

/** The sum of the whole pseudo header (RFC 9293 3.1, RFC 8200 8.1); `length` of the transport part. */
export const pseudoSum = (memory: Memory, at: number, protocol: number, length: number): number =>
  addressSum(memory, at, protocol) + swapped(length)

/** Writes the checksum of the IPv4 header at `at`. */
export function writeHeaderChecksum({ view, sum }: Memory, at: number, length: number): void {
  view.setUint16(at + 10, 0)
  view.setUint16(at + 10, ~folded(sum(at, length)) & 0xffff, true)
}

/**
 * Writes the transport checksum at `field` over `length` bytes at `at`, on top of the pseudo header's sum. A UDP
 * checksum (RFC 768) that comes out as zero is sent as all ones.
 */
export function writeChecksum(
  { view, sum }: Memory,
  at: number,
  length: number,
  field: number,
  pseudo: number,
  isUdp: boolean,
): void {
  view.setUint16(field, 0)
  const checksum = ~folded(sum(at, length) + pseudo) & 0xffff
  view.setUint16(field, checksum === 0 && isUdp ? 0xffff : checksum, true)
}
