import { test } from 'tap'
import { errors, Libc, makeArena } from '../../linux/ffi.ts'
import { Reactor } from '../../linux/reactor.ts'

const arena = makeArena(1 << 16)
const libc = new Libc(arena)

test('an arena gives addresses of what lies inside, and of nothing else', async (t) => {
  const at = arena.take(100)
  t.equal(at % 64, 0)
  t.equal(arena.address(at, 100) - arena.address(0, 0), at)
  t.equal(arena.address(0, 1 << 16), arena.address(0, 0))
  const refused: readonly (readonly [number, number])[] = [
    [-1, 1],
    [0, (1 << 16) + 1],
    [1 << 16, 1],
    [(1 << 16) - 1, 2],
    [0, -1],
    [0.5, 1],
    [Number.NaN, 1],
    [0, Number.POSITIVE_INFINITY],
  ]
  for (const [offset, length] of refused) t.throws(() => arena.address(offset, length), RangeError)
  t.throws(() => arena.point(0, 1 << 16, 1), RangeError)
  t.throws(() => arena.take(1 << 16), RangeError)
  t.throws(() => arena.take(-1), RangeError)
})

test('every call that takes memory refuses what is not in the arena', async (t) => {
  const out = 1 << 16
  t.throws(() => libc.read(0, out, 1), RangeError)
  t.throws(() => libc.write(1, out - 1, 2), RangeError)
  t.throws(() => libc.writev(1, out - 16, 2), RangeError)
  t.throws(() => libc.ioctl(0, 0, out, 1), RangeError)
  t.throws(() => libc.poll(out - 4, 1, 0), RangeError)
  t.throws(() => libc.bind(0, -4, 16), RangeError)
  t.throws(() => libc.socketName(0, out, 16), RangeError)
  t.throws(() => libc.setOptionAt(0, 0, 0, out, 4), RangeError)
  t.throws(() => libc.sendTo(0, 0, 8, 0, out, 16), RangeError)
  t.throws(() => libc.receive(0, out - 1, 2, 0), RangeError)
  t.throws(() => libc.receiveMany(0, out - 64, 2, 0), RangeError)
  t.throws(() => libc.sendMany(0, out - 64, 2, 0), RangeError)
})

test('errors are negative numbers', async (t) => {
  t.equal(libc.read(-1, 0, 1), -errors.EBADF)
  t.equal(libc.close(-1), -errors.EBADF)
})

test('a reactor waits for a descriptor, or for its time', async (t) => {
  const fd = libc.eventfd()
  t.teardown(() => libc.close(fd))
  const reactor = new Reactor(libc)
  reactor.watch([fd])
  reactor.wait(0)
  t.equal(reactor.ready(0), 'idle')
  const at = arena.take(8)
  arena.bytes[at] = 1
  t.equal(libc.write(fd, at, 8), 8)
  reactor.wait(-1)
  t.equal(reactor.ready(0), 'readable')
  t.equal(libc.read(fd, at, 8), 8)
  t.equal(libc.read(fd, at, 8), -errors.EAGAIN)
})
