/**
 * Every `Aead` against ChaCha20-Poly1305 of `node:crypto`, itself proven by Wycheproof: all lengths, counters on both
 * sides of every word, ciphertexts that make the limbs of Poly1305 overflow or vanish.
 */
import type { Test } from 'tap'
import { AEAD_AFTER, AEAD_BEFORE, type Aead } from '../../tunnel/wireguard/aead.ts'
import { SeededRandom } from '../support/ports.ts'
import { nonceOf, oracleSeal } from '../support/wycheproof.ts'

/** What lies in front of and behind a packet. */
const room = AEAD_BEFORE + AEAD_AFTER
/** Bytes that the oracle needs. */
export const ORACLE_ROOM = 2048

interface Case {
  readonly key: Uint8Array
  readonly counter: number
  readonly plain: Uint8Array
}

/** `at`: ORACLE_ROOM bytes of the memory that the implementation works on. */
export function aeadOracle(t: Test, aead: Aead, memory: Uint8Array, at: number): void {
  t.test('agrees with the oracle at every length', async (t) => {
    const random = new SeededRandom(8)
    for (let length = 0; length < 700; length++) {
      const counter = random.below(2 ** 31) * random.below(2 ** 22)
      const given = { key: random.bytes(32), plain: random.bytes(length), counter }
      t.equal(agrees(aead, memory, at + room + random.below(64), given), true, `length ${length}`)
    }
  })

  t.test('agrees with the oracle where Poly1305 carries', async (t) => {
    const random = new SeededRandom(9)
    for (let round = 0; round < 400; round++) {
      const key = random.bytes(32)
      const counter = edgeCounters[round % edgeCounters.length] ?? 0
      const wanted = edgeText(random, random.below(round % 2 === 0 ? 80 : 600))
      const stream = oracleSeal(key, nonceOf(counter), new Uint8Array(wanted.length))
      const plain = wanted.map((byte, at) => byte ^ (stream[at] ?? 0))
      t.equal(agrees(aead, memory, at + room, { key, counter, plain }), true, `round ${round}`)
    }
  })
}

const edgeCounters = [0, 1, 2 ** 31, 2 ** 32 - 1, 2 ** 32, 2 ** 40 + 5, 2 ** 52, Number.MAX_SAFE_INTEGER - 1]

const patterns: readonly (readonly number[])[] = [
  [0xff],
  [0],
  [0xfb, ...new Array<number>(15).fill(0xff)],
  [0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0],
  [0, 0, 0, 0x80],
  [0xfa, ...new Array<number>(14).fill(0xff), 0x7f],
]

/** A pattern in each block of Poly1305. */
function edgeText(random: SeededRandom, length: number): Uint8Array {
  const blocks = Array.from({ length: Math.ceil(length / 16) }, () => random.below(patterns.length))
  return Uint8Array.from({ length }, (_, at) => {
    const pattern = patterns[blocks[at >> 4] ?? 0] ?? [0]
    return pattern[(at & 15) % pattern.length] ?? 0
  })
}

/** Seals as the oracle does and opens that again. */
function agrees(aead: Aead, memory: Uint8Array, at: number, { key, counter, plain }: Case): boolean {
  const prepared = aead.prepare(key)
  memory.set(plain, at)
  prepared.seal(memory, at, plain.length, at, counter)
  const sealed = memory.slice(at, at + plain.length + 16)
  const opened = prepared.open(memory, at, sealed.length, at, counter)
  prepared.close()
  const same = Buffer.compare(sealed, oracleSeal(key, nonceOf(counter), plain)) === 0
  return same && opened && Buffer.compare(memory.subarray(at, at + plain.length), plain) === 0
}
