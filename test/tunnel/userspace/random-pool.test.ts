import { test } from 'tap'
import { RandomPool } from '../../../tunnel/userspace/random-pool.ts'

test('every byte of the source is handed out once at most, in handfuls of any length', async (t) => {
  let [next, fills] = [0, 0]
  const pool = new RandomPool((bytes) => {
    fills++
    const view = new DataView(bytes.buffer)
    for (let at = 0; at + 4 <= bytes.length; at += 4) view.setUint32(at, ++next)
  })
  const words: number[] = []
  for (const length of [4, 32, 24, 4096, 4, 4092, 8, 8192, 32]) {
    const bytes = pool.bytes(length)
    t.equal(bytes.length, length)
    const view = new DataView(bytes.buffer, bytes.byteOffset)
    for (let at = 0; at < length; at += 4) words.push(view.getUint32(at))
  }
  t.equal(new Set(words).size, words.length, 'no word comes twice')
  t.notOk(words.includes(0), 'none was wiped before')
  t.equal(fills, 5, 'four pools and what is longer than one')
  for (let round = 0; round < 100; round++) pool.bytes(32)
  t.equal(fills, 5, 'a hundred keys come of one')
})

test('what was handed out stays as it is and does not stay here', async (t) => {
  let source: Uint8Array = new Uint8Array(0)
  const pool = new RandomPool((bytes) => {
    source = bytes.fill(7)
  })
  const first = pool.bytes(32)
  pool.bytes(32)
  t.strictSame(first, new Uint8Array(32).fill(7))
  t.strictSame(source.subarray(0, 64), new Uint8Array(64), 'wiped')
  t.equal(source[64], 7, 'and only that')
})
