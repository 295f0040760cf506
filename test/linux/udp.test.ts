import { test } from 'tap'
import { Libc, makeArena } from '../../linux/ffi.ts'
import type { UdpAddress } from '../../linux/messages.ts'
import { Reactor } from '../../linux/reactor.ts'
import { type UdpOptions, UdpSocket } from '../../linux/udp.ts'

const libc = new Libc(makeArena(16 << 20))
const reactor = new Reactor(libc)
const defaults: UdpOptions = { family: 4, gso: true, gro: true, gsoTail: false, buffer: 1 << 20, slots: 4 }

function addressOf(family: 4 | 6, port: number): UdpAddress {
  const host = family === 4 ? [127, 0, 0, 1] : [...new Array(15).fill(0), 1]
  return { family, bytes: Uint8Array.from([...host, port >> 8, port & 255]), scope: 0 }
}

/** Sends datagrams of these lengths, each filled with its own number; answers what arrived, cut into segments. */
function exchange(from: UdpSocket, to: UdpSocket, lengths: readonly number[]): readonly string[] {
  const target = addressOf(to.family, to.port())
  const at = Uint32Array.from(lengths, (length, index) => {
    const offset = libc.arena.take(length)
    libc.arena.bytes.fill(index + 1, offset, offset + length)
    return offset
  })
  const length = Uint32Array.from(lengths)
  from.sendBatch({ count: lengths.length, at, length, to: lengths.map(() => target) })
  reactor.watch([to.fd])
  const heard: string[] = []
  for (;;) {
    reactor.wait(200)
    if (to.receiveBatch() === 0) return heard
    heard.push(...segments(to))
  }
}

function segments(socket: UdpSocket): readonly string[] {
  const { received } = socket
  const found: string[] = []
  for (let slot = 0; slot < received.count; slot++) {
    const end = received.length[slot] ?? 0
    const step = received.segment[slot] ?? 1
    for (let done = 0; done < end; done += step) {
      const at = (received.at[slot] ?? 0) + done
      found.push(`${libc.arena.bytes[at]}x${Math.min(step, end - done)}`)
    }
  }
  return found
}

for (const family of [4, 6] as const) {
  test(`datagrams over IPv${family}, alone and in runs`, async (t) => {
    const one = new UdpSocket(libc, { ...defaults, family })
    const other = new UdpSocket(libc, { ...defaults, family })
    t.ok(one.open(0) > 0 && other.open(0) > 0)
    t.teardown(() => [one, other].map((socket) => socket.close()))
    t.ok(one.gso)
    t.same(exchange(one, other, [100]), ['1x100'])
    const lengths = [1400, 1400, 1400, 700, 1400, 32, 1400, 1400]
    t.same(
      exchange(one, other, lengths),
      lengths.map((length, index) => `${index + 1}x${length}`),
    )
    t.same(exchange(one, other, new Array(130).fill(1000)).length, 130)
    t.equal(one.refused.count, 0)
    other.receiveBatch()
    const sender = [
      ...libc.arena.bytes.subarray(other.received.addressAt[0], (other.received.addressAt[0] ?? 0) + 4),
    ]
    t.same(sender, family === 4 ? [127, 0, 0, 1] : [0, 0, 0, 0])
    t.equal(other.received.port[0], one.port())
  })
}

test('without GSO the same arrives', async (t) => {
  const one = new UdpSocket(libc, { ...defaults, gso: false })
  const other = new UdpSocket(libc, { ...defaults, gro: false })
  t.ok(one.open(0) > 0 && other.open(0) > 0)
  t.teardown(() => [one, other].map((socket) => socket.close()))
  t.notOk(one.gso)
  t.same(exchange(one, other, [50, 50, 50]), ['1x50', '2x50', '3x50'])
})

test('a run of equal segments may end with a one-byte datagram', async (t) => {
  const one = new UdpSocket(libc, { ...defaults, gsoTail: true })
  const other = new UdpSocket(libc, defaults)
  t.ok(one.open(0) > 0 && other.open(0) > 0)
  t.teardown(() => [one, other].map((socket) => socket.close()))
  t.same(exchange(one, other, [50, 50]), ['1x50', '2x50', '0x1'])
  t.same(exchange(one, other, [50, 20]), ['1x50', '2x20'])
})

test('what the kernel refuses is counted, the rest arrives', async (t) => {
  const one = new UdpSocket(libc, defaults)
  const other = new UdpSocket(libc, defaults)
  t.ok(one.open(0) > 0 && other.open(0) > 0)
  t.teardown(() => [one, other].map((socket) => socket.close()))
  t.same(exchange(one, other, [100, 65_530, 90]), ['1x100', '3x90'])
  t.same(one.refused, { count: 1, errno: 90 })
})

test('a port that is taken is an answer, and a socket may be opened again', async (t) => {
  const one = new UdpSocket(libc, defaults)
  const other = new UdpSocket(libc, defaults)
  const port = one.open(0)
  t.teardown(() => [one, other].map((socket) => socket.close()))
  t.equal(other.open(port), -98)
  one.close()
  t.equal(other.open(port), port)
  t.ok(one.open(0) > 0)
  t.same(exchange(one, other, [10]), ['1x10'])
})

test('a bound socket is taken over with what waits in it', async (t) => {
  const [one, other] = [new UdpSocket(libc, defaults), new UdpSocket(libc, defaults)]
  const port = one.open(0)
  other.open(0)
  other.sendBatch({
    count: 1,
    at: Uint32Array.of(libc.arena.take(5)),
    length: Uint32Array.of(5),
    to: [addressOf(4, port)],
  })
  const heir = new UdpSocket(libc, defaults)
  t.equal(heir.adopt(libc.dup(one.fd)), port)
  one.close()
  reactor.watch([heir.fd])
  reactor.wait(1000)
  t.equal(heir.receiveBatch(), 1)
  t.equal(heir.received.length[0], 5)
  t.ok(new UdpSocket(libc, defaults).adopt(libc.eventfd()) < 0, 'not a socket')
  for (const socket of [other, heir]) socket.close()
})
