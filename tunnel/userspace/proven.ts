/**
 * Known answers that primitives are held against before they are used: those of RFC 7748 5.2 for X25519, and for AEADs
 * ours, made by libsodium, because published ones have other nonces than WireGuard.
 */
import { fromHex, sameBytes } from '../../model/bytes.ts'
import { AEAD_AFTER, AEAD_BEFORE, type Aead } from '../wireguard/aead.ts'
import type { Crypto } from '../wireguard/crypto.ts'

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
    if (!same(memory, to, known) || !opens(from, to)) return false
    memory.set(known, from)
    memory[from + 3] = known[3] ^ 1
    // The last one: what is left of a right tag would hide that nobody sums in place.
    return !key.open(memory, from, known.length, to, counter) && opens(to, to)
  } catch {
    return false
  } finally {
    key.close()
  }
}

/** Whether the primitives of handshakes give the known answers, and refuse a point of low order and what was changed. */
export function provenHandshakes(crypto: Crypto): boolean {
  const [data, extended] = [counting(17, 0x40), counting(24, 0x80)]
  const key = counting(32, 0)
  const text = Uint8Array.from(plain)
  const changed = handshake.sealed.slice()
  changed[3] = (changed[3] ?? 0) ^ 1
  const is = (made: Uint8Array | undefined, wanted: Uint8Array): boolean =>
    made !== undefined && sameBytes(made, wanted)
  try {
    return (
      is(crypto.publicKey(curve.base), curve.ofBase) &&
      is(crypto.shared(curve.scalar, curve.point), curve.product) &&
      crypto.shared(curve.scalar, new Uint8Array(32)) === undefined &&
      is(crypto.seal(key, counter, text, data), handshake.sealed) &&
      is(crypto.open(key, counter, handshake.sealed, data), text) &&
      crypto.open(key, counter, changed, data) === undefined &&
      is(crypto.sealExtended(key, extended, text, data), handshake.extended) &&
      is(crypto.openExtended(key, extended, handshake.extended, data), text)
    )
  } catch {
    return false
  }
}

const counting = (length: number, from: number): Uint8Array =>
  Uint8Array.from({ length }, (_, index) => from + index)

const same = (memory: Uint8Array, at: number, wanted: readonly number[]): boolean =>
  wanted.every((byte, index) => memory[at + index] === byte)

/** Beyond 32 bits, so that both words of the nonce are proven. */
const counter = 0x1_0203_0405
const plain = Array.from({ length: 20 }, (_, index) => 0xa0 + index)
const known = [
  0x91, 0x22, 0xa8, 0x73, 0x77, 0x6e, 0x15, 0x6b, 0x7b, 0xb4, 0xa6, 0x82, 0x60, 0xaf, 0x09, 0xe9, 0x16, 0x63,
  0x4c, 0xf4, 0xde, 0xf4, 0x20, 0x0b, 0x6f, 0x98, 0x33, 0x6a, 0xe1, 0xe2, 0xfc, 0xb7, 0x73, 0xc9, 0x33, 0x3c,
] as const

const bytes = (text: string): Uint8Array => fromHex(text) ?? new Uint8Array(0)
const curve = {
  base: bytes('0900000000000000000000000000000000000000000000000000000000000000'),
  ofBase: bytes('422c8e7a6227d7bca1350b3e2bb7279f7897b87bb6854b783c60e80311ae3079'),
  scalar: bytes('a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4'),
  point: bytes('e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c'),
  product: bytes('c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552'),
} as const
const handshake = {
  sealed: bytes('9122a873776e156b7bb4a68260af09e916634cf4d68037341b304aace957f6079483e94b'),
  extended: bytes('e24ffbfa4331e5cdb4b18950e310b67ec920ee62eaf0d0b59f11b2b440577bd9560ed842'),
} as const
