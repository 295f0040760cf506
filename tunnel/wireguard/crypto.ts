/**
 * The primitives of handshakes. BLAKE2s, its MAC, HMAC and key derivation (paper 5.4) live here: pure functions, of
 * Node's OpenSSL where it has them, which is without a key. X25519 and the two AEADs come in as `Crypto`, because who
 * offers them is found out when a tunnel starts.
 */
import { createHmac, hash as digest } from 'node:crypto'
import { blake2s } from '@noble/hashes/blake2.js'
import { concat } from '../../model/bytes.ts'

export interface Crypto {
  /** The public key of a 32-byte private key, which is clamped first. */
  publicKey(privateKey: Uint8Array): Uint8Array
  /** X25519; undefined where the result is all zero (a point of low order). */
  shared(privateKey: Uint8Array, publicKey: Uint8Array): Uint8Array | undefined
  /** ChaCha20-Poly1305 with a nonce of four zero bytes and `counter`. */
  seal(key: Uint8Array, counter: number, plain: Uint8Array, data: Uint8Array): Uint8Array
  open(key: Uint8Array, counter: number, sealed: Uint8Array, data: Uint8Array): Uint8Array | undefined
  /** XChaCha20-Poly1305 with a 24-byte nonce. */
  sealExtended(key: Uint8Array, nonce: Uint8Array, plain: Uint8Array, data: Uint8Array): Uint8Array
  openExtended(
    key: Uint8Array,
    nonce: Uint8Array,
    sealed: Uint8Array,
    data: Uint8Array,
  ): Uint8Array | undefined
}

/** HASH of the paper: BLAKE2s of 32 bytes. */
export const hash = (...parts: readonly Uint8Array[]): Uint8Array =>
  plainly(digest('blake2s256', concat(...parts), 'buffer'))

/** MAC of the paper: keyed BLAKE2s of 16 bytes. */
export const mac = (key: Uint8Array, ...parts: readonly Uint8Array[]): Uint8Array =>
  blake2s(concat(...parts), { key, dkLen: 16 })

const derive = (key: Uint8Array, input: Uint8Array): Uint8Array =>
  plainly(createHmac('blake2s256', key).update(input).digest())

/** Without Buffer's own idea of `slice`. */
const plainly = ({ buffer, byteOffset, length }: Buffer): Uint8Array =>
  new Uint8Array(buffer, byteOffset, length)

/** KDF1, KDF2 and KDF3 of the paper: keys out of a chaining key and new input. */
export function kdf1(key: Uint8Array, input: Uint8Array): Uint8Array {
  return derive(derive(key, input), Uint8Array.of(1))
}

export function kdf2(key: Uint8Array, input: Uint8Array): readonly [Uint8Array, Uint8Array] {
  const secret = derive(key, input)
  const first = derive(secret, Uint8Array.of(1))
  return [first, derive(secret, concat(first, Uint8Array.of(2)))]
}

export function kdf3(key: Uint8Array, input: Uint8Array): readonly [Uint8Array, Uint8Array, Uint8Array] {
  const secret = derive(key, input)
  const first = derive(secret, Uint8Array.of(1))
  const second = derive(secret, concat(first, Uint8Array.of(2)))
  return [first, second, derive(secret, concat(second, Uint8Array.of(3)))]
}

/** A nonce of the paper (5.4.6): four zero bytes, then the counter. */
export function nonceOf(counter: number): Uint8Array {
  const nonce = new Uint8Array(12)
  const view = new DataView(nonce.buffer)
  view.setUint32(4, counter >>> 0, true)
  view.setUint32(8, Math.floor(counter / 2 ** 32), true)
  return nonce
}

/** Comparison in constant time. */
export function equalSecrets(one: Uint8Array, other: Uint8Array): boolean {
  let difference = one.length ^ other.length
  for (let at = 0; at < one.length; at++) difference |= (one[at] ?? 0) ^ (other[at] ?? 0)
  return difference === 0
}
