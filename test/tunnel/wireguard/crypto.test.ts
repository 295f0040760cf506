/**
 * Primitives against published vectors (RFC 7693, RFC 7748, draft-irtf-cfrg-xchacha), points of low order, and the
 * portable AEAD against the compliance suite.
 */
import { test } from 'tap'
import { hex, utf8 } from '../../../model/bytes.ts'
import { equalSecrets, hash, kdf1, kdf2, kdf3 } from '../../../tunnel/wireguard/crypto.ts'
import { aeadCompliance } from '../../compliance/aead.ts'
import { aeadOracle, ORACLE_ROOM } from '../../compliance/aead-oracle.ts'
import { everyCrypto } from '../../support/handshake-crypto.ts'
import { bytes, fixture, primitives } from '../../support/wireguard.ts'

test('BLAKE2s', async (t) => {
  t.equal(hex(hash(utf8('abc'))), '508c5e8c327c14e2e1a72ba34eeb452f37458b209ed63a294d999b4c86675982')
  t.equal(
    hex(hash(utf8('a'), new Uint8Array(0), utf8('bc'))),
    '508c5e8c327c14e2e1a72ba34eeb452f37458b209ed63a294d999b4c86675982',
  )
})

test('the key derivations are prefixes of each other', async (t) => {
  const key = new Uint8Array(32).fill(1)
  const input = utf8('input')
  const three = kdf3(key, input)
  t.strictSame(kdf2(key, input), three.slice(0, 2))
  t.strictSame(kdf1(key, input), three[0])
})

for (const [who, crypto] of Object.entries(everyCrypto))
  test(`${who}: X25519 as in RFC 7748 5.2`, async (t) => {
    const shared = (scalar: string, point: string): string =>
      hex(crypto.shared(bytes(scalar), bytes(point)) ?? new Uint8Array(0))
    t.equal(
      shared(
        'a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4',
        'e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c',
      ),
      'c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552',
    )
    t.equal(
      shared(
        '4b66e9d4d1b4673c5ad22691957d6af5c11b6421e0ea01d42ca4169e7918ba0d',
        'e5210f12786811d3f4b7959d0538ae2c31dbe7106fc03c3efc4cd549c715a493',
      ),
      '95cbde9476e8907d7aade45cb4b873f88b595a68799fa152e6f8f7647aac7957',
    )
    let scalar = new Uint8Array(32)
    scalar[0] = 9
    let point = scalar
    for (let round = 0; round < 1000; round++) {
      const next = crypto.shared(scalar, point) ?? new Uint8Array(32)
      point = scalar
      scalar = new Uint8Array(next)
    }
    t.equal(hex(scalar), '684cf59ba83309552800ef566f2f4d3c1c3887c49360e3875f2eb94d99532c51')
  })

for (const [who, crypto] of Object.entries(everyCrypto))
  test(`${who}: points of low order give no secret`, async (t) => {
    const points = [
      '0000000000000000000000000000000000000000000000000000000000000000',
      '0100000000000000000000000000000000000000000000000000000000000000',
      'e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800',
      '5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157',
      'ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
      'edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
      'eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
    ]
    for (const point of points)
      t.equal(crypto.shared(new Uint8Array(32).fill(0x77), bytes(point)), undefined, point)
  })

for (const [who, crypto] of Object.entries(everyCrypto))
  test(`${who}: XChaCha20-Poly1305 as in draft-irtf-cfrg-xchacha A.3.1`, async (t) => {
    const key = Uint8Array.from({ length: 32 }, (_, at) => 0x80 + at)
    const nonce = Uint8Array.from({ length: 24 }, (_, at) => 0x40 + at)
    const data = bytes('50515253c0c1c2c3c4c5c6c7')
    const plain = utf8(
      "Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, sunscreen would be it.",
    )
    const sealed = crypto.sealExtended(key, nonce, plain, data)
    t.equal(hex(sealed.subarray(-16)), 'c0875924c1c7987947deafd8780acf49')
    t.strictSame(crypto.openExtended(key, nonce, sealed, data), plain)
    sealed[3] = (sealed[3] ?? 0) ^ 1
    t.equal(crypto.openExtended(key, nonce, sealed, data), undefined)
    t.equal(crypto.openExtended(key, nonce, sealed.subarray(0, 15), data), undefined)
  })

for (const [who, crypto] of Object.entries(everyCrypto))
  test(`${who}: the handshake AEAD binds its data`, async (t) => {
    const key = new Uint8Array(32).fill(3)
    const sealed = crypto.seal(key, 0, utf8('text'), utf8('data'))
    t.strictSame(crypto.open(key, 0, sealed, utf8('data')), utf8('text'))
    t.equal(crypto.open(key, 0, sealed, utf8('date')), undefined)
    t.equal(crypto.open(key, 1, sealed, utf8('data')), undefined)
    t.equal(crypto.open(key, 0, new Uint8Array(3), utf8('data')), undefined)
  })

test('secrets are compared whole', async (t) => {
  t.equal(equalSecrets(bytes('0102'), bytes('0102')), true)
  t.equal(equalSecrets(bytes('0102'), bytes('0103')), false)
  t.equal(equalSecrets(bytes('0102'), bytes('010200')), false)
})

test('the portable AEAD', async (t) => {
  const memoryOf = (length: number): Uint8Array => new Uint8Array(length)
  aeadCompliance(t, primitives.aead, memoryOf, fixture.aead)
  aeadOracle(t, primitives.aead, new Uint8Array(ORACLE_ROOM), 0)
})
