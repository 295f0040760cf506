/**
 * Two hosts come to the same preshared key by what their certificates name, and nobody else does. libsodium is the
 * oracle for the way from a signing key to one that X25519 takes.
 */
import { createHash, createPrivateKey, createPublicKey, hkdfSync, randomBytes } from 'node:crypto'
import sodium from 'libsodium-wrappers'
import { test } from 'tap'
import { base64 } from '../../model/bytes.ts'
import { instant } from '../../model/time.ts'
import type { Uuid } from '../../model/uuid.ts'
import { presharedKeysOf } from '../../pki/preshared.ts'
import { settings } from '../support/records.ts'

const context = { environment: settings.uuid, since: instant(1_000) }

function keyOf(seed: Uint8Array): string {
  const der = Buffer.concat([Buffer.from('302e020100300506032b657004220420', 'hex'), seed])
  const key = createPublicKey(createPrivateKey({ key: der, format: 'der', type: 'pkcs8' }))
  return base64(key.export({ format: 'der', type: 'spki' }).subarray(-32))
}

function hostWith(seed: Uint8Array) {
  const signingKey = keyOf(seed)
  return { seed, signingKey, with: presharedKeysOf(seed, signingKey) }
}

test('both sides, and each time another key', (t) => {
  for (let round = 0; round < 20; round++) {
    const [one, other, third] = [randomBytes(32), randomBytes(32), randomBytes(32)].map(hostWith)
    if (one === undefined || other === undefined || third === undefined)
      throw new TypeError('three were made')
    const key = one.with(other.signingKey, context)
    t.equal(other.with(one.signingKey, context), key)
    t.equal(Buffer.from(key ?? '', 'base64').length, 32)
    const others = [
      one.with(third.signingKey, context),
      one.with(other.signingKey, { ...context, since: instant(2_000) }),
      one.with(other.signingKey, { ...context, environment: '0' as Uuid }),
    ]
    t.notOk(others.includes(key))
    t.equal(new Set(others).size, 3)
  }
  t.end()
})

test('the shared secret is that of libsodium', async (t) => {
  await sodium.ready
  for (let round = 0; round < 20; round++) {
    const [seed, other] = [randomBytes(32), randomBytes(32)]
    const pair = sodium.crypto_sign_seed_keypair(seed)
    const secret = sodium.crypto_scalarmult(
      sodium.crypto_sign_ed25519_sk_to_curve25519(pair.privateKey),
      sodium.crypto_sign_ed25519_pk_to_curve25519(Buffer.from(keyOf(other), 'base64')),
    )
    const names = [keyOf(seed), keyOf(other)].sort().join('\n')
    const info = `drover preshared key 1\n${context.since}\n${names}`
    const wanted = base64(new Uint8Array(hkdfSync('sha256', secret, context.environment, info, 32)))
    t.equal(hostWith(seed).with(keyOf(other), context), wanted)
  }
})

test('a signing key of low order shares nothing, and harms nobody else', (t) => {
  const one = hostWith(createHash('sha256').update('one').digest())
  const identity = Buffer.alloc(32)
  identity[0] = 1
  t.equal(one.with(base64(identity), context), undefined)
  t.end()
})
