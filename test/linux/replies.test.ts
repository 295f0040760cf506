/**
 * The batch socket for servers, on loopback with the kernel's own datagrams.
 */
import { createSocket, type Socket } from 'node:dgram'
import { once } from 'node:events'
import { test } from 'tap'
import { errors, Libc, makeArena } from '../../linux/ffi.ts'
import { ReplySocket } from '../../linux/replies.ts'
import { until } from '../support/netns.ts'

const loopback = 0x7f000001

function opened(slots: number, room = 512) {
  const arena = makeArena(1 << 20)
  const libc = new Libc(arena)
  const socket = new ReplySocket(libc, { address: loopback, slots, room, buffer: 1 << 20 })
  const fd = socket.open(0)
  const at = arena.take(16)
  libc.socketName(fd, at, 16)
  return { arena, libc, socket, fd, port: arena.view.getUint16(at + 2) }
}

async function client(port: number): Promise<Socket & { readonly heard: string[] }> {
  const socket = Object.assign(createSocket('udp4'), { heard: [] as string[] })
  socket.on('message', (bytes) => socket.heard.push(bytes.toString()))
  socket.connect(port, '127.0.0.1')
  await once(socket, 'connect')
  return socket
}

const sent = (socket: Socket, text: string | Buffer): Promise<void> =>
  new Promise((resolve) => socket.send(text, () => resolve()))

test('batches', async (t) => {
  const { arena, libc, socket, fd, port } = opened(4)
  t.ok(fd >= 0)
  const [one, other] = [await client(port), await client(port)]
  t.teardown(() => {
    one.close()
    other.close()
    libc.close(fd)
  })
  t.equal(socket.receive(fd, 0), 0, 'nothing is there, and nobody waits')
  for (const text of ['ask-a', 'ask-b', 'ask-c', 'ask-d', 'ask-e']) await sent(one, text)
  await sent(other, 'ask-f')
  t.equal(socket.receive(fd, 0), 4, 'as many as there are slots')
  const body = arena.take(8)
  arena.bytes.set(Buffer.from('BODY'), body)
  const end = arena.take(8)
  arena.bytes.set(Buffer.from('end'), end)
  for (const slot of [0, 1, 3]) {
    t.equal(socket.address(slot), loopback)
    t.equal(socket.port(slot), one.address().port)
    socket.reply(slot, socket.length(slot), body, 4, end, slot === 1 ? 3 : 0)
  }
  socket.send(fd, 4)
  await until('three answers', () => one.heard.length === 3)
  t.strictSame(one.heard, ['ask-aBODY', 'ask-bBODYend', 'ask-dBODY'], 'the one without an answer is left out')
  t.equal(socket.receive(fd, 1), 2, 'the rest, behind the first slot')
  t.equal(
    Buffer.from(arena.bytes.subarray(socket.at(2), socket.at(2) + socket.length(2))).toString(),
    'ask-f',
  )
  t.ok(socket.put(Buffer.from('by hand'), loopback, other.address().port))
  for (const slot of [0, 1, 2]) socket.reply(slot, socket.length(slot), body, 4, end, 0)
  socket.send(fd, 3)
  await until('the others', () => one.heard.length === 4 && other.heard.length === 2)
  t.strictSame(other.heard, ['by handBODY', 'ask-fBODY'])
})

test('datagrams that are too long, and answers that nobody takes', async (t) => {
  const { arena, libc, socket, fd, port } = opened(4, 64)
  const [asker, gone] = [await client(port), await client(port)]
  t.teardown(() => {
    asker.close()
    libc.close(fd)
  })
  await sent(asker, Buffer.alloc(65))
  await sent(asker, Buffer.alloc(64))
  t.equal(socket.receive(fd, 0), 2)
  t.strictSame([socket.isWhole(0), socket.isWhole(1)], [false, true])
  t.notOk(socket.put(Buffer.alloc(65), loopback, 1))
  const { port: lost } = gone.address()
  gone.close()
  const rounds = 50
  for (let round = 0; round < rounds; round++) {
    socket.put(Buffer.from('x'), loopback, lost)
    socket.reply(0, 1, arena.take(1), 0, 0, 0)
    socket.send(fd, 1)
  }
  await sent(asker, 'still here')
  await until('a datagram after the errors', () => socket.receive(fd, 1) === 1)
  t.equal(socket.length(1), 10)
})

test('an address that is not there, a port that is taken', (t) => {
  const { libc, fd, port } = opened(1)
  const arena = makeArena(1 << 16)
  const options = { slots: 1, room: 64, buffer: 4096 }
  const taken = new ReplySocket(new Libc(arena), { address: loopback, ...options })
  t.equal(taken.open(port), -errors.EADDRINUSE)
  const nowhere = new ReplySocket(new Libc(arena), { address: 0xcb007101, ...options })
  t.ok(nowhere.open(0) < 0)
  libc.close(fd)
  t.end()
})
