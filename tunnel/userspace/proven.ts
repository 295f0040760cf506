/**
 * A known answer that an AEAD is held against before it is used. RFC 8439 2.8.2 has associated data, which
 * transport packets have not, so the vector is ours, made by libsodium.
 */
import { AEAD_AFTER, AEAD_BEFORE, type Aead } from '../wireguard/aead.ts'

export const PROOF_ROOM = 2 * (AEAD_BEFORE + 64 + AEAD_AFTER)

/**
 * Whether an AEAD gives the known answer, opens it again, from one place to another and where it lies, and
 * refuses a changed one. `offset`: PROOF_ROOM bytes of the memory.
 */
export function proven(aead: Aead, memory: Uint8Array, offset: number): boolean {
  const key = aead.prepare(Uint8Array.from({ length: 32 }, (_, index) => index))
  const [from, to] = [offset + AEAD_BEFORE, offset + PROOF_ROOM / 2 + AEAD_BEFORE]
  const opens = (source: number, target: number): boolean => {
    memory.set(known, source)
    return key.open(memory, source, known.length, target, counter) && same(memory, target, plain)
  }
  try {
    memory.set(plain, from)
    key.seal(memory, from, plain.length, to, counter)
    if (!same(memory, to, known) || !opens(from, to) || !opens(to, to)) return false
    memory.set(known, from)
    memory[from + 3] = known[3] ^ 1
    return !key.open(memory, from, known.length, to, counter)
  } catch {
    return false
  } finally {
    key.close()
  }
}

const same = (memory: Uint8Array, at: number, wanted: readonly number[]): boolean =>
  wanted.every((byte, index) => memory[at + index] === byte)

/** Beyond 32 bits, so that both words of the nonce are proven. */
const counter = 0x1_0203_0405
const plain = Array.from({ length: 20 }, (_, index) => 0xa0 + index)
const known = [
  0x91, 0x22, 0xa8, 0x73, 0x77, 0x6e, 0x15, 0x6b, 0x7b, 0xb4, 0xa6, 0x82, 0x60, 0xaf, 0x09, 0xe9, 0x16, 0x63,
  0x4c, 0xf4, 0xde, 0xf4, 0x20, 0x0b, 0x6f, 0x98, 0x33, 0x6a, 0xe1, 0xe2, 0xfc, 0xb7, 0x73, 0xc9, 0x33, 0x3c,
] as const
