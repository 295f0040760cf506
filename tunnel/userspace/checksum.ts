/**
 * The Internet checksum (RFC 1071) over memory, in the machine's little-endian order: sums are folded and stored
 * as they are, which gives the same bytes (RFC 1071 section 2B). Sums of up to 64 KB do not overflow.
 */
export interface Memory {
  readonly bytes: Uint8Array
  /** Over the same memory. */
  readonly view: DataView
}

/** The unfolded sum of `length` bytes, on top of `sum`. */
export function sumOf(view: DataView, at: number, length: number, sum: number): number {
  let total = sum
  let here = at
  const end = at + length
  for (; here + 16 <= end; here += 16) {
    const a = view.getUint32(here, true)
    const b = view.getUint32(here + 4, true)
    const c = view.getUint32(here + 8, true)
    const d = view.getUint32(here + 12, true)
    total += (a & 0xffff) + (a >>> 16) + (b & 0xffff) + (b >>> 16)
    total += (c & 0xffff) + (c >>> 16) + (d & 0xffff) + (d >>> 16)
  }
  for (; here + 2 <= end; here += 2) total += view.getUint16(here, true)
  return here < end ? total + view.getUint8(here) : total
}

/** Sixteen bits of one's complement. */
export function folded(sum: number): number {
  const once = (sum & 0xffff) + (sum >>> 16)
  return (once & 0xffff) + (once >>> 16)
}

const swapped = (value: number): number => ((value & 0xff) << 8) | ((value >>> 8) & 0xff)

/** The sum of the pseudo header of the packet at `at` (RFC 9293 3.1, RFC 8200 8.1); `length` of the transport part. */
export function pseudoSum(view: DataView, at: number, protocol: number, length: number): number {
  const v4 = view.getUint8(at) >> 4 === 4
  const addresses = v4 ? sumOf(view, at + 12, 8, 0) : sumOf(view, at + 8, 32, 0)
  return addresses + (protocol << 8) + swapped(length)
}

/** Writes the checksum of the IPv4 header at `at`. */
export function writeHeaderChecksum(view: DataView, at: number, length: number): void {
  view.setUint16(at + 10, 0)
  view.setUint16(at + 10, ~folded(sumOf(view, at, length, 0)) & 0xffff, true)
}

/** Writes the transport checksum at `field` over `length` bytes at `at`, on top of the pseudo header's sum. */
export function writeChecksum(
  view: DataView,
  at: number,
  length: number,
  field: number,
  pseudo: number,
): void {
  view.setUint16(field, 0)
  view.setUint16(field, ~folded(sumOf(view, at, length, pseudo)) & 0xffff, true)
}
