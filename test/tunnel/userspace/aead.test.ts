import { test } from 'tap'
import { makeArena } from '../../../linux/ffi.ts'
import { EvpContext, fusedPrimitives, opensslPrimitives } from '../../../linux/openssl.ts'
import { ComposedAead, type Primitives } from '../../../tunnel/userspace/chacha20-poly1305.ts'
import { EvpAead } from '../../../tunnel/userspace/evp.ts'
import { PROOF_ROOM, proven } from '../../../tunnel/userspace/proven.ts'
import { AEAD_AFTER, AEAD_BEFORE, type Aead, type AeadKey, KEY_ROOM } from '../../../tunnel/wireguard/aead.ts'
import { loadSodium } from '../../../tunnel/wireguard/sodium.ts'
import { aeadOracle, ORACLE_ROOM } from '../../compliance/aead-oracle.ts'
import { SeededRandom } from '../../support/ports.ts'

const arena = makeArena(1 << 20)
const evp = new EvpAead({
  arena,
  context: (scratch, keyAt, direction) => new EvpContext(arena, scratch, keyAt, direction),
})
const primitives = opensslPrimitives(arena)
if (primitives === undefined) throw new TypeError('this Node does not export the primitives')
const composed = new ComposedAead({ arena, primitives })
const inOneCall = fusedPrimitives(arena)
const fused = new ComposedAead({ arena, primitives: inOneCall ?? primitives })
const { aead: sodium } = await loadSodium()
const aeads = { evp, composed, fused, sodium }
const proof = arena.take(PROOF_ROOM)
const [one, other] = [arena.take(70_000), arena.take(70_000)]

/** An AEAD whose keys differ from OpenSSL's in one thing. */
const broken = (change: Partial<AeadKey>): Aead => ({
  prepare: (key) => {
    const good = composed.prepare(key)
    return {
      seal: (...given) => good.seal(...given),
      open: (...given) => good.open(...given),
      close: () => good.close(),
      ...change,
    }
  },
})

/** Primitives of which one is wrong. */
const withPrimitive = (change: Partial<Primitives>): Aead =>
  new ComposedAead({
    arena,
    primitives: {
      chacha20: (...given) => primitives.chacha20(...given),
      poly1305: (...given) => primitives.poly1305(...given),
      chacha20Poly1305: (...given) => primitives.chacha20Poly1305(...given),
      ...change,
    },
  })

test('the known answer is given by every AEAD, and by nothing that is wrong', async (t) => {
  for (const [name, aead] of Object.entries(aeads)) t.ok(proven(aead, arena.bytes, proof), name)
  t.notOk(proven(broken({ seal: () => undefined }), arena.bytes, proof), 'clear text')
  t.notOk(proven(broken({ open: () => true }), arena.bytes, proof), 'nothing is checked')
  t.notOk(proven(broken({ open: () => false }), arena.bytes, proof), 'nothing is opened')
  const throws = () => {
    throw new TypeError('no such function')
  }
  t.notOk(proven(broken({ seal: throws }), arena.bytes, proof))
  t.notOk(proven(withPrimitive({ chacha20: () => undefined }), arena.bytes, proof))
  t.notOk(proven(withPrimitive({ poly1305: () => undefined }), arena.bytes, proof))
  t.notOk(proven(withPrimitive({ chacha20Poly1305: () => undefined }), arena.bytes, proof))
})

test('a packet takes one call where the processor has code for it', async (t) => {
  t.equal(inOneCall !== undefined, process.arch === 'x64')
})

test('each opens what another sealed, from place to place and in place, at every length and counter', async (t) => {
  const random = new SeededRandom(7)
  const pick = (): Aead => [evp, composed, fused, sodium][random.below(4)] ?? evp
  for (let round = 0; round < 600; round++) {
    const key = random.bytes(32)
    const [sealing, opening] = [pick().prepare(key), pick().prepare(key)]
    const length = round < 200 ? round : random.below(65_000)
    const counter = random.below(2 ** 31) * random.below(2 ** 20)
    const from = one + AEAD_BEFORE + random.below(64)
    const to = random.below(2) === 0 ? from : other + AEAD_BEFORE + random.below(64)
    const back = random.below(2) === 0 ? to : to === from ? other + AEAD_BEFORE : from
    const plain = random.bytes(length)
    arena.bytes.set(plain, from)
    sealing.seal(arena.bytes, from, length, to, counter)
    const sealed = arena.bytes.slice(to, to + length + 16)
    if (!opening.open(arena.bytes, to, length + 16, back, counter)) t.fail(`length ${length}, ${counter}`)
    if (Buffer.compare(plain, arena.bytes.subarray(back, back + length)) !== 0) t.fail('other bytes')
    arena.bytes.set(sealed, to)
    const flip = to + random.below(length + 16)
    arena.bytes[flip] = (arena.bytes[flip] ?? 0) ^ (1 << random.below(8))
    if (opening.open(arena.bytes, to, length + 16, back, counter)) t.fail('a changed bit was not noticed')
    sealing.close()
    opening.close()
  }
  t.pass('600 rounds')
})

test('only the bytes that the contract names are used', async (t) => {
  const random = new SeededRandom(9)
  const room = 4096
  const [from, to] = [one + 1024, other + 1024]
  const changed = (before: Uint8Array, start: number, first: number, end: number): number[] =>
    [...before.keys()].filter(
      (index) =>
        before[index] !== arena.bytes[start + index] && (start + index < first || start + index >= end),
    )
  for (const [name, aead] of Object.entries(aeads)) {
    const key = aead.prepare(random.bytes(32))
    const outside: number[] = []
    for (let length = 0; length < 130; length++) {
      for (const start of [one, other]) arena.bytes.set(random.bytes(room), start)
      const source = arena.bytes.slice(one, one + room)
      let target = arena.bytes.slice(other, other + room)
      key.seal(arena.bytes, from, length, to, length)
      outside.push(...changed(source, one, from - AEAD_BEFORE, from - AEAD_BEFORE + KEY_ROOM))
      outside.push(...changed(target, other, to - AEAD_BEFORE, to + length + 16 + AEAD_AFTER))
      target = arena.bytes.slice(other, other + room)
      if (!key.open(arena.bytes, to, length + 16, from, length)) t.fail(`${name}: length ${length}`)
      const tag = to + length
      outside.push(
        ...changed(target, other, to - AEAD_BEFORE, to - AEAD_BEFORE + KEY_ROOM).filter(
          (index) => other + index < tag || other + index >= tag + 16,
        ),
      )
    }
    t.same(outside, [], name)
  }
})

test('nothing outside of the arena is touched, and a closed key is closed', async (t) => {
  const end = arena.bytes.length
  for (const [name, aead] of Object.entries({ evp, composed, fused })) {
    const key = aead.prepare(new Uint8Array(32))
    const seal = (from: number, length: number, to: number) => () =>
      key.seal(arena.bytes, from, length, to, 0)
    t.throws(seal(one, 5, end - 20), RangeError, `${name}: the tag would not fit`)
    t.throws(seal(end - 3, 5, one), RangeError)
    t.throws(seal(-1, 5, one), RangeError)
    t.throws(seal(one, 5, 1.5), RangeError)
    t.throws(seal(one, Number.NaN, one), RangeError)
    t.throws(() => key.seal(new Uint8Array(100), 0, 5, 0, 0), RangeError, 'other memory')
    t.throws(() => key.open(arena.bytes, end - 10, 26, one, 0), RangeError)
    t.notOk(key.open(arena.bytes, one, 15, other, 0), 'shorter than a tag')
    key.close()
    key.close()
    t.throws(seal(one, 5, other), TypeError)
  }
})

for (const [name, aead] of Object.entries({ evp, composed, fused }))
  test(`${name} against the oracle`, async (t) => aeadOracle(t, aead, arena.bytes, arena.take(ORACLE_ROOM)))
