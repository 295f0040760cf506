/**
 * A stream that blocks, against programs at its other end: it waits for room and for bytes, and survives an end that goes.
 */
import { spawn } from 'node:child_process'
import { closeSync } from 'node:fs'
import { type Test, test } from 'tap'
import { Libc, makeArena } from '../../linux/ffi.ts'
import { Reactor } from '../../linux/reactor.ts'
import { STREAM_ROOM, Stream } from '../../linux/stream.ts'

/** More than a socket holds. */
const many = 3_000_000

/** A shell's command whose standard input or output is the other end. */
function beside(t: Test, command: string, end: 'stdin' | 'stdout') {
  const libc = new Libc(makeArena(STREAM_ROOM + 4096))
  const room = libc.arena.take(STREAM_ROOM)
  const pair = libc.socketPair()
  if (pair === undefined) throw new TypeError('no pair')
  const [ours, its] = pair
  libc.setNonBlocking(ours)
  const stdio = end === 'stdin' ? ([its, 'pipe', 'ignore'] as const) : (['ignore', its, 'ignore'] as const)
  const child = spawn('sh', ['-c', command], { stdio: [...stdio] })
  t.teardown(() => child.kill())
  closeSync(its)
  const stream = new Stream({ libc, reactor: new Reactor(libc), room }, ours)
  const left = (): boolean => libc.arena.bytes.subarray(room, room + STREAM_ROOM).some((byte) => byte !== 0)
  return { stream, child, left }
}

test('all is written, however slowly it is read', async (t) => {
  const { stream, child, left } = beside(t, 'wc -c', 'stdin')
  stream.write(new Uint8Array(many).fill(7))
  stream.close()
  let said = ''
  for await (const chunk of child.stdout ?? []) said += String(chunk)
  t.equal(Number(said), many)
  t.notOk(left(), 'nothing of it is left behind')
})

test('whatever comes is read, to the end', (t) => {
  const { stream, left } = beside(t, `head -c ${many} /dev/zero | tr '\\0' x`, 'stdout')
  let length = 0
  for (let bytes = stream.read(); bytes !== undefined; bytes = stream.read()) {
    length += bytes.length
    if (bytes.some((byte) => byte !== 120)) t.fail('another byte')
  }
  t.equal(length, many)
  t.notOk(left())
  stream.close()
  t.end()
})

test('an end that has gone is no error', (t) => {
  const { stream } = beside(t, 'exec true', 'stdin')
  stream.write(new Uint8Array(many))
  t.equal(stream.read(), undefined)
  stream.close()
  t.end()
})
