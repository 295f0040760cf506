/**
 * The little that WireGuard reads of inner packets: version, length as the header claims it, where the addresses
 * are; and their padding. Never beyond the bytes it was given.
 */
export const V4_SOURCE = 12
export const V4_DESTINATION = 16
export const V6_SOURCE = 8
export const V6_DESTINATION = 24
const V4_HEADER = 20
const V6_HEADER = 40

const u16 = (memory: Uint8Array, at: number): number => ((memory[at] ?? 0) << 8) | (memory[at + 1] ?? 0)

/** 4 or 6 where there are enough bytes for that header; else 0. */
export function versionOf(memory: Uint8Array, offset: number, length: number): 4 | 6 | 0 {
  const version = (memory[offset] ?? 0) >> 4
  if (version === 4 && length >= V4_HEADER) return 4
  return version === 6 && length >= V6_HEADER ? 6 : 0
}

/** The length of the packet by its header; 0 where that cannot be. What follows it is padding. */
export function claimedLength(memory: Uint8Array, offset: number, length: number, version: 4 | 6): number {
  const claimed = version === 4 ? u16(memory, offset + 2) : u16(memory, offset + 4) + V6_HEADER
  return claimed > length || claimed < (version === 4 ? V4_HEADER : V6_HEADER) ? 0 : claimed
}

/** Zeros up to a multiple of 16 (paper 5.4.6), but not beyond the MTU; answers the length with them. */
export function pad(memory: Uint8Array, offset: number, length: number, mtu: number): number {
  const padded = (length + 15) & ~15
  const until = length <= mtu ? Math.min(padded, mtu) : padded
  for (let at = length; at < until; at++) memory[offset + at] = 0
  return until
}
