/**
 * What senders are told of packets that no peer takes: the messages byte by byte, about what there is none, and what
 * ping prints on a host whose engine sends them.
 */
import { test } from 'tap'
import { folded, type Memory, plainSum, pseudoSum } from '../../../tunnel/userspace/checksum.ts'
import { UNREACHABLE_ROOM, Unreachable } from '../../../tunnel/userspace/unreachable.ts'
import { isRoot, NetnsWorld, needsRoot, until } from '../../support/netns.ts'
import { TunnelHost, TunnelWorld } from '../../support/tunnel-hosts.ts'
import { innerV4, innerV6 } from '../../support/wireguard.ts'

const packetAt = UNREACHABLE_ROOM
const bytes = new Uint8Array(UNREACHABLE_ROOM + 65_536)
const view = new DataView(bytes.buffer)
const memory: Memory = { bytes, view, sum: plainSum(view) }
const fresh = (): Unreachable => new Unreachable(memory, { room: 0 })

type Change = Readonly<Record<number, number>>

/** A packet at its place, with some of its bytes changed; its length. */
function place({ memory, offset, length }: ReturnType<typeof innerV4>, change: Change = {}): number {
  bytes.set(memory.subarray(offset, offset + length), packetAt)
  for (const [at, value] of Object.entries(change)) bytes[packetAt + Number(at)] = value
  return length
}

const part = (at: number, length: number): readonly number[] => [...bytes.subarray(at, at + length)]

test('IPv4: the sums are right, the packet is quoted, the addresses are the other way round', (t) => {
  const { at } = fresh()
  for (const [length, total] of [
    [20, 48],
    [61, 89],
    [1420, 576],
  ] as const) {
    place(innerV4(1, 2, length))
    t.equal(fresh().about(packetAt, length, 1), total)
    t.strictSame(part(at - 10, 10), new Array(10).fill(0), 'no offload')
    t.equal(view.getUint16(at + 2), total)
    t.equal(bytes[at + 9], 1)
    t.strictSame(part(at + 12, 8), [10, 0, 0, 2, 10, 0, 0, 1])
    t.strictSame(part(at + 20, 2), [3, 1])
    t.strictSame(part(at + 28, total - 28), part(packetAt, total - 28))
    t.equal(folded(memory.sum(at, 20)), 0xffff)
    t.equal(folded(memory.sum(at + 20, total - 20)), 0xffff)
  }
  t.end()
})

test('IPv6: the same', (t) => {
  const { at } = fresh()
  for (const [length, total] of [
    [61, 109],
    [1420, 1280],
  ] as const) {
    place(innerV6(1, 2, length), { 6: 17 })
    t.equal(fresh().about(packetAt, length, 1), total)
    t.equal(view.getUint16(at + 4), total - 40)
    t.equal(bytes[at + 6], 58)
    t.strictSame(part(at + 8, 16), part(packetAt + 24, 16))
    t.strictSame(part(at + 24, 16), part(packetAt + 8, 16))
    t.strictSame(part(at + 40, 2), [1, 3])
    t.strictSame(part(at + 48, total - 48), part(packetAt, total - 48))
    t.equal(folded(memory.sum(at + 40, total - 40) + pseudoSum(memory, at, 58, total - 40)), 0xffff)
  }
  t.end()
})

test('about errors, fragments and groups nothing is said', (t) => {
  const v4 = (change: Change): number => fresh().about(packetAt, place(innerV4(1, 2, 64), change), 1)
  const v6 = (change: Change): number => fresh().about(packetAt, place(innerV6(1, 2, 80), change), 1)
  const said: readonly Change[] = [{ 9: 1, 20: 8 }, { 9: 1, 20: 0 }, { 6: 0x20 }]
  for (const change of said) t.equal(v4(change), 92, JSON.stringify(change))
  const silent: readonly Change[] = [
    ...[3, 4, 5, 11, 12].map((type) => ({ 9: 1, 20: type })),
    { 7: 1 },
    { 12: 0 },
    { 12: 127 },
    { 12: 224 },
    { 16: 224 },
    { 16: 255 },
    { 0: 0x55 },
    { 0: 0x4f, 9: 1, 20: 8, 60: 3 },
  ]
  for (const change of silent) t.equal(v4(change), 0, JSON.stringify(change))
  for (const change of [{ 6: 58, 40: 128 }, { 6: 6 }]) t.equal(v6(change), 128, JSON.stringify(change))
  const zero = Object.fromEntries(Array.from({ length: 16 }, (_, at) => [8 + at, 0]))
  for (const change of [{ 6: 58, 40: 1 }, { 6: 44 }, { 6: 0 }, { 6: 17, 8: 0xff }, { 6: 17, 24: 0xff }, zero])
    t.equal(v6({ 6: 17, ...change }), 0, JSON.stringify(change))
  for (const length of [0, 1, 19]) t.equal(fresh().about(packetAt, length, 1), 0)
  t.end()
})

test('fifty at once, then a hundred a second, whatever the clock does', (t) => {
  const unreachable = fresh()
  const length = place(innerV4(1, 2))
  const said = (times: number, now: number): number =>
    Array.from({ length: times }, () => unreachable.about(packetAt, length, now)).filter((one) => one > 0)
      .length
  t.equal(said(60, 5), 50)
  t.equal(said(5, 15), 1)
  t.equal(said(5, 3), 0)
  t.equal(said(60, 103), 10)
  t.equal(said(60, 1e9), 50)
  t.end()
})

test('ping tells', { ...needsRoot, timeout: 60_000 }, async (t) => {
  if (!isRoot) return
  const world = new TunnelWorld(await NetnsWorld.open())
  t.teardown(() => world.close())
  const host = new TunnelHost(world.netns, await world.netns.netns('u'), world.folder, {
    number: 1,
    engine: 'drover',
  })
  t.teardown(() => host.kill())
  await host.start()
  const tells = (target: string, what: string): Promise<boolean> =>
    until(`ping ${target} saying ${what}`, async () => {
      const { stdout } = await host.space.runner.attempt(['ping', '-n', '-c', '1', '-W', '1', target])
      return stdout.includes(`From ${target} icmp_seq=1 ${what}`)
    })
  t.ok(await tells('10.99.0.77', 'Destination Host Unreachable'))
  t.ok(await tells('fd99::77', 'Destination unreachable: Address unreachable'))
  const stranger = host.publicKey.replace(/^./, 'A')
  await host.wg('set', host.device, 'peer', stranger, 'allowed-ips', '10.99.0.78/32')
  t.ok(await tells('10.99.0.78', 'Destination Host Unreachable'), 'no endpoint')
  const connect = ['bash', '-c', 'echo >/dev/tcp/10.99.0.79/80']
  t.match((await host.space.runner.attempt(connect)).stderr, 'No route to host', 'a TCP connection')
})
