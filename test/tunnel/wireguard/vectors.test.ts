/**
 * The primitives against Wycheproof and the known answers of BLAKE2s: X25519 and XChaCha20-Poly1305 as we call
 * them, ChaCha20-Poly1305 of libsodium and of the oracle that transport AEADs are held against (WireGuard's own
 * nonces occur in no vector).
 */
import { blake2s } from '@noble/hashes/blake2.js'
import sodium from 'libsodium-wrappers'
import { test } from 'tap'
import { hex } from '../../../model/bytes.ts'
import { hash, mac } from '../../../tunnel/wireguard/crypto.ts'
import { everyCrypto } from '../../support/handshake-crypto.ts'
import { bytes } from '../../support/wireguard.ts'
import { aeadVectors, blake2sAnswers, oracleSeal, x25519Vectors } from '../../support/wycheproof.ts'

const counting = (length: number): Uint8Array => Uint8Array.from({ length }, (_, at) => at)

for (const [who, crypto] of Object.entries(everyCrypto))
  test(`${who}: X25519: all of Wycheproof; a secret of zeros is refused`, async (t) => {
    t.equal(x25519Vectors.length, 518)
    for (const { name, privateKey, publicKey, shared } of x25519Vectors) {
      const secret = crypto.shared(privateKey, publicKey)
      const refused = shared.every((byte) => byte === 0)
      t.equal(secret && hex(secret), refused ? undefined : hex(shared), name)
    }
  })

for (const [who, crypto] of Object.entries(everyCrypto))
  test(`${who}: XChaCha20-Poly1305, which seals cookies: all of Wycheproof with nonces of 24 bytes`, async (t) => {
    const vectors = aeadVectors('xchacha20_poly1305').filter(({ nonce }) => nonce.length === 24)
    t.equal(vectors.length, 280)
    for (const { name, key, nonce, data, plain, sealed, valid } of vectors) {
      if (valid) t.equal(hex(crypto.sealExtended(key, nonce, plain, data)), hex(sealed), name)
      const opened = crypto.openExtended(key, nonce, sealed, data)
      t.equal(opened && hex(opened), valid ? hex(plain) : undefined, name)
    }
  })

test('ChaCha20-Poly1305 of libsodium and of the oracle: all of Wycheproof with nonces of 12', async (t) => {
  const vectors = aeadVectors('chacha20_poly1305').filter(({ nonce }) => nonce.length === 12)
  t.equal(vectors.length, 293)
  for (const { name, key, nonce, data, plain, sealed, valid } of vectors) {
    const made = sodium.crypto_aead_chacha20poly1305_ietf_encrypt(plain, data, null, nonce, key)
    t.equal(hex(oracleSeal(key, nonce, plain, data)), hex(made), name)
    t.equal(hex(made) === hex(sealed), valid, name)
    const open = () => sodium.crypto_aead_chacha20poly1305_ietf_decrypt(null, sealed, data, nonce, key)
    if (valid) t.equal(hex(open()), hex(plain), name)
    else t.throws(open, name)
  }
})

for (const [who, crypto] of Object.entries(everyCrypto))
  test(`${who}: the handshake AEAD, with data, gives what the oracle gives`, async (t) => {
    for (const { key, data, plain } of aeadVectors('chacha20_poly1305')) {
      const sealed = crypto.seal(key, 0, plain, data)
      t.equal(hex(sealed), hex(oracleSeal(key, new Uint8Array(12), plain, data)))
      t.strictSame(crypto.open(key, 0, sealed, data), plain)
    }
  })

test('BLAKE2s: its known answers, plain and keyed', async (t) => {
  t.strictSame([blake2sAnswers.plain.length, blake2sAnswers.keyed.length], [256, 256])
  for (const [length, answer] of blake2sAnswers.plain.entries()) t.equal(hex(hash(counting(length))), answer)
  for (const [length, answer] of blake2sAnswers.keyed.entries())
    t.equal(hex(blake2s(counting(length), { key: counting(32) })), answer)
})

/** The sequence of RFC 7693 appendix E. */
function sequence(length: number, seed: number): Uint8Array {
  let [a, b] = [Math.imul(0xdead4bad, seed), 1]
  return Uint8Array.from({ length }, () => {
    const sum = (a + b) | 0
    a = b
    b = sum
    return sum >>> 24
  })
}

test('BLAKE2s: the self-test of RFC 7693 appendix E, with outputs of 16 bytes as mac1 and mac2', async (t) => {
  const digests: Uint8Array[] = []
  for (const out of [16, 20, 28, 32]) {
    for (const length of [0, 3, 64, 65, 255, 1024]) {
      const input = sequence(length, length)
      const key = sequence(out, out)
      digests.push(blake2s(input, { dkLen: out }))
      digests.push(out === 16 ? mac(key, input) : blake2s(input, { dkLen: out, key }))
    }
  }
  t.strictSame(hash(...digests), bytes('6a411f08ce25adcdfb02aba641451cec53c598b24f4fc787fbdc88797f4c1dfe'))
})
