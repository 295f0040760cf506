import { test } from 'tap'
import { EvpContext, makeArena } from '../../../linux/ffi.ts'
import { EvpAead, proven } from '../../../tunnel/userspace/evp.ts'
import type { Aead, AeadKey } from '../../../tunnel/wireguard/aead.ts'
import { loadSodium } from '../../../tunnel/wireguard/sodium.ts'
import { SeededRandom } from '../../support/ports.ts'

const arena = makeArena(1 << 20)
const evp = new EvpAead({
  arena,
  context: (scratch, keyAt, direction) => new EvpContext(arena, scratch, keyAt, direction),
})
const { aead: sodium } = await loadSodium()
const at = arena.take(70_000)

/** An AEAD whose keys differ from OpenSSL's in one thing. */
const broken = (change: Partial<AeadKey>): Aead => ({
  prepare: (key) => {
    const good = evp.prepare(key)
    return {
      seal: (...given) => good.seal(...given),
      open: (...given) => good.open(...given),
      close: () => good.close(),
      ...change,
    }
  },
})

test('the known answer is given by OpenSSL and by libsodium, and by nothing that is wrong', async (t) => {
  t.ok(proven(evp, arena.bytes, at))
  t.ok(proven(sodium, arena.bytes, at))
  t.notOk(proven(broken({ seal: () => undefined }), arena.bytes, at), 'clear text')
  t.notOk(proven(broken({ open: () => true }), arena.bytes, at), 'nothing is checked')
  t.notOk(proven(broken({ open: () => false }), arena.bytes, at), 'nothing is opened')
  const throws = () => {
    throw new TypeError('no such function')
  }
  t.notOk(proven(broken({ seal: throws }), arena.bytes, at))
})

test('OpenSSL and libsodium open what the other sealed, at every length and counter', async (t) => {
  const random = new SeededRandom(7)
  for (let round = 0; round < 300; round++) {
    const key = random.bytes(32)
    const [one, other] = round % 2 === 0 ? [evp, sodium] : [sodium, evp]
    const [sealing, opening] = [one.prepare(key), other.prepare(key)]
    const length = round < 100 ? round : random.below(65_000)
    const counter = random.below(2 ** 31) * random.below(2 ** 20)
    const offset = at + random.below(64)
    const plain = random.bytes(length)
    arena.bytes.set(plain, offset)
    sealing.seal(arena.bytes, offset, length, counter)
    if (!opening.open(arena.bytes, offset, length + 16, counter)) t.fail(`length ${length}, ${counter}`)
    if (Buffer.compare(plain, arena.bytes.subarray(offset, offset + length)) !== 0) t.fail('other bytes')
    sealing.seal(arena.bytes, offset, length, counter)
    const flip = offset + random.below(length + 16)
    arena.bytes[flip] = (arena.bytes[flip] ?? 0) ^ (1 << random.below(8))
    if (opening.open(arena.bytes, offset, length + 16, counter)) t.fail('a changed bit was not noticed')
    sealing.close()
    opening.close()
  }
  t.pass('300 rounds')
})

test('nothing outside of the arena is touched, and a closed key is closed', async (t) => {
  const key = evp.prepare(new Uint8Array(32))
  const end = arena.bytes.length
  t.throws(() => key.seal(arena.bytes, end - 20, 5, 0), RangeError, 'the tag would not fit')
  t.throws(() => key.seal(arena.bytes, -1, 5, 0), RangeError)
  t.throws(() => key.seal(arena.bytes, 1.5, 5, 0), RangeError)
  t.throws(() => key.seal(arena.bytes, at, Number.NaN, 0), RangeError)
  t.throws(() => key.seal(new Uint8Array(100), 0, 5, 0), RangeError, 'other memory')
  t.throws(() => key.open(arena.bytes, end - 10, 26, 0), RangeError)
  t.notOk(key.open(arena.bytes, at, 15, 0), 'shorter than a tag')
  key.close()
  key.close()
  t.throws(() => key.seal(arena.bytes, at, 5, 0), TypeError)
})
