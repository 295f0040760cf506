/**
 * The primitives of handshakes composed of OpenSSL's: what libsodium gives, nothing left behind in memory, and no
 * wrong one taken. Their vectors: test/tunnel/wireguard/.
 */
import { test } from 'tap'
import type { HandshakeDeps } from '../../../tunnel/userspace/handshake-crypto.ts'
import { provenHandshakes } from '../../../tunnel/userspace/proven.ts'
import { everyCrypto, opensslCrypto, secretsLeft } from '../../support/handshake-crypto.ts'
import { SeededRandom } from '../../support/ports.ts'
import { primitives } from '../../support/wireguard.ts'

const sodium = primitives.crypto

test('the known answers are given by both, and by nothing that is wrong', async (t) => {
  for (const [name, crypto] of Object.entries(everyCrypto)) t.ok(provenHandshakes(crypto), name)
  const wrong = (change: Partial<HandshakeDeps>): boolean => provenHandshakes(opensslCrypto(change))
  const nothing = () => undefined
  t.notOk(wrong({ primitives: { chacha20: nothing, poly1305: nothing } }), 'clear text')
  t.notOk(wrong({ curve: { shared: () => true, publicKey: nothing } }), 'no secret')
  t.notOk(wrong({ curve: { shared: () => false, publicKey: nothing } }))
  const throws = () => {
    throw new TypeError('no such function')
  }
  t.notOk(wrong({ curve: { shared: throws, publicKey: throws } }))
})

test('it gives what libsodium gives, at every length, and no secret stays in memory', async (t) => {
  const random = new SeededRandom(11)
  const crypto = opensslCrypto()
  let [different, left] = [0, 0]
  const compare = (one: Uint8Array | undefined, other: Uint8Array | undefined): void => {
    if (one === undefined || other === undefined || Buffer.compare(one, other) !== 0) different++
    if (secretsLeft()) left++
  }
  for (let round = 0; round < 300; round++) {
    const [key, nonce, counter] = [random.bytes(32), random.bytes(24), random.below(2 ** 31) * 2 ** 20]
    const [plain, data] = [random.bytes(round), random.bytes(random.below(64))]
    const other = sodium.publicKey(random.bytes(32))
    compare(crypto.publicKey(key), sodium.publicKey(key))
    compare(crypto.shared(key, other), sodium.shared(key, other))
    const [sealed, extended] = [
      sodium.seal(key, counter, plain, data),
      sodium.sealExtended(key, nonce, plain, data),
    ]
    compare(crypto.seal(key, counter, plain, data), sealed)
    compare(crypto.open(key, counter, sealed, data), plain)
    compare(crypto.sealExtended(key, nonce, plain, data), extended)
    compare(crypto.openExtended(key, nonce, extended, data), plain)
    for (const text of [sealed, extended]) {
      const flip = random.below(text.length)
      text[flip] = (text[flip] ?? 0) ^ (1 << random.below(8))
    }
    if (crypto.open(key, counter, sealed, data) !== undefined) different++
    if (crypto.openExtended(key, nonce, extended, data) !== undefined) different++
    if (secretsLeft()) left++
  }
  t.equal(different, 0)
  t.equal(left, 0, 'the room is wiped, also after what did not open')
})

test('what has another length than a key, or fits no handshake, is refused before memory is touched', async (t) => {
  const crypto = opensslCrypto()
  const key = new Uint8Array(32)
  t.throws(() => crypto.publicKey(new Uint8Array(31)), { name: 'RangeError' })
  t.throws(() => crypto.shared(key, new Uint8Array(33)), { name: 'RangeError' })
  t.throws(() => crypto.seal(new Uint8Array(16), 0, key, key), { name: 'RangeError' })
  t.throws(() => crypto.sealExtended(key, new Uint8Array(12), key, key), { name: 'RangeError' })
  t.throws(() => crypto.seal(key, 0, new Uint8Array(4096), key), { name: 'RangeError' })
  t.equal(secretsLeft(), false)
})
