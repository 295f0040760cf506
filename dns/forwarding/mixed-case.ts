/**
 * A question in letters of random case: what a forger would have to guess besides port and id
 * (draft-vixie-dnsext-dns0x20). Pure.
 */
import type { Random } from '../../model/ports.ts'

/** Type and class at the end of a question section. */
const fixed = 4

export function mixedCase(question: Uint8Array, random: Random): Uint8Array {
  const mixed = question.slice()
  const coins = random.bytes(Math.ceil(question.length / 8))
  for (let at = 0; at < mixed.length - fixed; at++) {
    const letter = (mixed[at] ?? 0) & 0xdf
    const coin = ((coins[at >> 3] ?? 0) >> (at & 7)) & 1
    if (letter >= 0x41 && letter <= 0x5a) mixed[at] = coin === 1 ? letter : letter | 0x20
  }
  return mixed
}
