/** Messages of several pieces: what lies end to end is one piece for the kernel, within one message. */
import { test } from 'tap'
import { Libc, makeArena } from '../../linux/ffi.ts'
import { MessageTable } from '../../linux/messages.ts'

const libc = new Libc(makeArena(1 << 16))
const { arena } = libc
const room = arena.take(1024)

/** The pieces of a message as the kernel reads them: where they begin in `room`, and their lengths. */
function piecesOf(table: MessageTable, index: number): readonly (readonly [number, number])[] {
  const message = table.at + 64 * index
  const first = arena.view.getUint32(message + 16, true) - arena.address(0, 0)
  const count = arena.view.getUint32(message + 24, true)
  return Array.from({ length: count }, (_, piece) => [
    arena.view.getUint32(first + 16 * piece, true) - arena.address(room, 0),
    Number(arena.view.getBigUint64(first + 16 * piece + 8, true)),
  ])
}

test('pieces that lie end to end are one, those of another message are not', async (t) => {
  const table = new MessageTable(libc, 4, 16)
  for (const pieces of [
    [0, 100, 200],
    [300, 500, 600],
  ]) {
    table.begin(0, 3)
    for (const at of pieces) table.piece(room + at, 100)
    table.finish(100, undefined)
  }
  t.same(piecesOf(table, 0), [[0, 300]])
  t.same(piecesOf(table, 1), [
    [300, 100],
    [500, 200],
  ])
})

test('a piece that would reach beyond memory is refused, joined or not', async (t) => {
  const table = new MessageTable(libc, 4, 16)
  const end = arena.bytes.length
  table.begin(0, 2)
  t.throws(() => table.piece(end - 10, 11), RangeError)
  table.piece(end - 20, 10)
  t.throws(() => table.piece(end - 10, 11), RangeError)
})
