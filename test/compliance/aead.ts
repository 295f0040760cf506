/**
 * What every `Aead` must do, whatever it is made of: the vector of RFC 8439, in place, at any offset, with the
 * counter where WireGuard puts it. `memoryOf` gives a memory of the kind the implementation works on.
 */
import type { Test } from 'tap'
import { fromHex, hex } from '../../model/bytes.ts'
import { AEAD_AFTER, AEAD_BEFORE, type Aead } from '../../tunnel/wireguard/aead.ts'
import { SeededRandom } from '../support/ports.ts'

const bytes = (text: string): Uint8Array => fromHex(text) ?? new Uint8Array(0)

/** Key 0x01…, empty and short texts, counters on both sides of 2^32: computed with OpenSSL through Python. */
export interface AeadVector {
  readonly key: string
  readonly counter: number
  readonly plain: string
  readonly sealed: string
}

export function aeadCompliance(
  t: Test,
  aead: Aead,
  memoryOf: (length: number) => Uint8Array,
  vectors: readonly AeadVector[],
): void {
  t.test('gives the bytes that others give', async (t) => {
    for (const { key, counter, plain, sealed } of vectors) {
      const prepared = aead.prepare(bytes(key))
      const memory = memoryOf(4096)
      memory.set(bytes(plain), 96)
      prepared.seal(memory, 96, plain.length / 2, 96, counter)
      t.equal(hex(memory.subarray(96, 96 + sealed.length / 2)), sealed)
      t.equal(prepared.open(memory, 96, sealed.length / 2, 96, counter), true)
      t.equal(hex(memory.subarray(96, 96 + plain.length / 2)), plain)
      prepared.close()
    }
  })

  t.test('touches nothing around the packet', async (t) => {
    const prepared = aead.prepare(new Uint8Array(32).fill(9))
    const memory = memoryOf(4096)
    memory.fill(0xaa)
    prepared.seal(memory, 100, 200, 100, 7)
    t.ok(memory.subarray(0, 100 - AEAD_BEFORE).every((byte) => byte === 0xaa))
    t.ok(memory.subarray(316 + AEAD_AFTER, 4096).every((byte) => byte === 0xaa))
    t.equal(prepared.open(memory, 100, 216, 100, 7), true)
    t.ok(memory.subarray(100, 300).every((byte) => byte === 0xaa))
    prepared.close()
  })

  t.test('opens only what was sealed', async (t) => {
    const random = new SeededRandom(5)
    const prepared = aead.prepare(random.bytes(32))
    const other = aead.prepare(random.bytes(32))
    const memory = memoryOf(4096)
    for (const length of [0, 1, 15, 16, 63, 64, 65, 1420]) {
      const plain = random.bytes(length)
      const seal = (): void => {
        memory.set(plain, 64)
        prepared.seal(memory, 64, length, 64, 2 ** 40 + length)
      }
      seal()
      const at = 64 + random.below(length + 16)
      memory[at] = (memory[at] ?? 0) ^ (1 << random.below(8))
      t.equal(prepared.open(memory, 64, length + 16, 64, 2 ** 40 + length), false, 'a bit was flipped')
      seal()
      t.equal(prepared.open(memory, 64, length + 16, 64, 2 ** 40 + length + 1), false, 'another counter')
      seal()
      t.equal(other.open(memory, 64, length + 16, 64, 2 ** 40 + length), false, 'another key')
      seal()
      t.equal(prepared.open(memory, 64, length + 15, 64, 2 ** 40 + length), false, 'cut short')
      t.equal(prepared.open(memory, 64, 15, 64, 1), false, 'shorter than a tag')
      seal()
      t.equal(prepared.open(memory, 64, length + 16, 64, 2 ** 40 + length), true)
      t.strictSame([...memory.subarray(64, 64 + length)], [...plain])
    }
    prepared.close()
    other.close()
  })
}
