/**
 * A peer that calls us by one of our addresses is answered from there, as long as it is ours and answers come back:
 * as processes on a host of two addresses, towards wireguard-go and ourselves, and as the protocol decides it.
 */
import { spawnSync } from 'node:child_process'
import { type Test, test } from 'tap'
import { Libc, makeArena } from '../../linux/ffi.ts'
import { Reactor } from '../../linux/reactor.ts'
import { UdpSocket } from '../../linux/udp.ts'
import { millis } from '../../model/time.ts'
import { endpointV4, formatAddress } from '../../tunnel/wireguard/endpoint.ts'
import { isRoot, NetnsWorld, needsRoot } from '../support/netns.ts'
import { type Engine, port, TunnelHost, TunnelWorld } from '../support/tunnel-hosts.ts'
import { type Box, boxOf, v4 } from '../support/wireguard.ts'

const libc = new Libc(makeArena(8 << 20))

function socketOf(t: Test): UdpSocket {
  const options = { family: 4, gso: true, gro: true, gsoTail: false, buffer: 1 << 20, slots: 4 } as const
  const socket = new UdpSocket(libc, options)
  t.ok(socket.open(0) > 0)
  t.teardown(() => socket.close())
  return socket
}

/** Sends datagrams of these lengths; the other's view of the first that arrives. */
function sent(from: UdpSocket, to: UdpSocket, target: number, source: number, lengths: readonly number[]) {
  const endpoint = endpointV4(target, to.port(), source)
  const at = Uint32Array.from(lengths, (length) => libc.arena.take(length))
  const outgoing = { count: lengths.length, at, length: Uint32Array.from(lengths) }
  from.sendBatch({ ...outgoing, to: lengths.map(() => endpoint) })
  const reactor = new Reactor(libc)
  reactor.watch([to.fd])
  reactor.wait(1000)
  const count = to.receiveBatch()
  const { addressAt, localAt, segment } = to.received
  const text = (offset = 0): string => formatAddress(libc.arena.bytes.subarray(offset, offset + 4))
  return { count, from: text(addressAt[0]), to: text(localAt[0]), segment: segment[0] }
}

test('a socket says where a datagram came to, and sends from there', (t) => {
  const [one, other] = [socketOf(t), socketOf(t)]
  const [first, second, third] = [0x7f000001, 0x7f000002, 0x7f000003]
  t.match(sent(one, other, second, 0, [100]), { count: 1, from: '127.0.0.1', to: '127.0.0.2', segment: 100 })
  t.match(sent(one, other, second, third, [100]), { count: 1, from: '127.0.0.3', to: '127.0.0.2' })
  t.match(
    sent(one, other, first, second, [90, 90, 50]),
    { count: 1, from: '127.0.0.2', segment: 90 },
    'a run',
  )
  const stranger = 0xc0000201
  t.match(sent(one, other, first, stranger, [80]), { count: 1, from: '127.0.0.1' }, 'not an address of ours')
  t.match(sent(one, other, first, stranger, [70, 70]), { count: 1, from: '127.0.0.1', segment: 70 })
  t.match(sent(one, other, first, second, [60]), { from: '127.0.0.2' }, 'the others still are')
  t.equal(one.refused.count, 0)
  t.end()
})

test('what is asked for again and again is asked for from another address', (t) => {
  const [near, far] = [boxOf(1), boxOf(2)]
  const way = (last: number, source: number) => endpointV4(0xc0000200 + last, port, source)
  let now = 0
  const settle = (device: Box['device']): void => {
    while (device.nextTransmit(millis(now)) !== undefined);
  }
  near.device.configure(
    { privateKey: near.privateKey, peers: [{ publicKey: far.publicKey, allowedIps: [v4(2)] }] },
    millis(now),
  )
  const peer = { publicKey: near.publicKey, endpoint: way(1, 0), allowedIps: [v4(1)], persistentKeepalive: 5 }
  far.device.configure({ privateKey: far.privateKey, peers: [peer] }, millis(now))
  const call = far.device.nextTransmit(millis(now))
  if (call === undefined) throw new TypeError('no call')
  near.device.receive(call.memory, call.offset, call.length, way(2, 0x0a000001), millis(now))
  const source = (): Uint8Array | undefined => near.device.status().peers[0]?.endpoint?.source
  t.strictSame(source(), Uint8Array.of(10, 0, 0, 1), 'where it was called')
  settle(near.device)
  near.device.configure({ peers: [{ publicKey: far.publicKey, persistentKeepalive: 1 }] }, millis(now))
  for (; now < 20_000 && source() !== undefined; now += 100) {
    near.device.timeout(millis(now))
    settle(near.device)
  }
  t.equal(source(), undefined)
  t.ok(now >= 5000, 'after the first retry')
  t.end()
})

const second = { 4: '192.168.71.2', 6: 'fd71::2' } as const
const far = { 4: '192.168.71.9', 6: 'fd71::9' } as const
const bracketed = (address: string): string => (address.includes(':') ? `[${address}]` : address)

async function stays(t: Test, one: TunnelHost, other: TunnelHost, family: 4 | 6): Promise<void> {
  const { device } = other
  await one.forget(other)
  await other.forget(one)
  await one.peer(other)
  await other.peer(one, 'endpoint', `${bracketed(second[family])}:${port}`)
  const heard = async (): Promise<string> => (await other.about('endpoints')).replace(/:\d+$/, '')
  t.ok(await other.ping(one.inner), 'it is called by its second address')
  t.equal(await heard(), bracketed(second[family]), `${device} still talks to that`)
  t.ok(await one.ping(other.inner, '-c 3 -i 0.05 -W 3 -s 8000'), 'runs of datagrams')
  t.equal(await heard(), bracketed(second[family]))
  await one.space.sh(`ip addr del ${second[family]}/${family === 4 ? 24 : 64} dev w0`)
  t.ok(await one.ping(other.inner), 'without that address')
  t.not(await heard(), bracketed(second[family]))
}

const installed = spawnSync('wireguard-go', ['--version']).status === 0
const peers: readonly Engine[] = installed ? ['wireguard-go', 'drover'] : ['drover']

test('a host of two addresses', { ...needsRoot, timeout: 60_000 }, async (t) => {
  if (!isRoot) return
  const world = new TunnelWorld(await NetnsWorld.open())
  t.teardown(() => world.close())
  for (const [index, engine] of peers.entries()) {
    const spaces = [await world.netns.netns(`s${index}a`), await world.netns.netns(`s${index}b`)] as const
    await world.netns.wire(spaces[0], 'w0 192.168.71.1/24', spaces[1], `w0 ${far[4]}/24`)
    await spaces[0].sh(`ip addr add ${second[4]}/24 dev w0`)
    for (const address of ['fd71::1', second[6]]) await spaces[0].sh(`ip addr add ${address}/64 dev w0 nodad`)
    await spaces[1].sh(`ip addr add ${far[6]}/64 dev w0 nodad`)
    const hostOf = async (number: number, engine: Engine, side: 0 | 1): Promise<TunnelHost> => {
      const host = new TunnelHost(world.netns, spaces[side], world.folder, { number, engine })
      t.teardown(() => host.kill())
      await host.start()
      return host
    }
    const [one, other] = [await hostOf(2 * index + 1, 'drover', 0), await hostOf(2 * index + 2, engine, 1)]
    for (const family of [4, 6] as const)
      await t.test(`${engine} calls by IPv${family}`, (t) => stays(t, one, other, family))
  }
})
