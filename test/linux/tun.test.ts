import { execFileSync } from 'node:child_process'
import { test } from 'tap'
import { Libc, makeArena } from '../../linux/ffi.ts'
import { Reactor } from '../../linux/reactor.ts'
import { type Gathered, TunDevice, type TunOptions, virtioHeaderSize } from '../../linux/tun.ts'
import { isRoot, needsRoot } from '../support/netns.ts'
import { enterOwnNetns } from '../support/own-netns.ts'

if (isRoot) enterOwnNetns()

const libc = new Libc(makeArena(24 << 20))
const { arena } = libc
const reactor = new Reactor(libc)
const defaults: TunOptions = {
  name: 'dt%d',
  persistent: false,
  mtu: 1400,
  tso: true,
  uso: true,
  slots: 4,
  batchBytes: 65_536,
}
const sh = (line: string): string => execFileSync('sh', ['-c', line], { encoding: 'utf8' })

/** An ICMP echo request from 10.9.0.2 to 10.9.0.1, at an offset with room for a virtio header. */
function echoRequest(): { at: number; length: number } {
  const hex =
    '4500001c000040004001' +
    checksumOf('4500001c00004000400100000a0900020a090001') +
    '0a0900020a090001' +
    '0800f7fe00010000'
  const at = arena.take(256) + 64
  arena.bytes.fill(0, at - virtioHeaderSize, at)
  arena.bytes.set(Buffer.from(hex, 'hex'), at)
  return { at, length: hex.length / 2 }
}

function checksumOf(hex: string): string {
  const bytes = Buffer.from(hex, 'hex')
  let sum = 0
  for (let at = 0; at < bytes.length; at += 2) sum += bytes.readUInt16BE(at)
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16)
  return (~sum & 0xffff).toString(16).padStart(4, '0')
}

const gathered = (pieces: readonly { at: number; length: number }[]): Gathered => ({
  count: 1,
  end: Uint32Array.of(pieces.length),
  at: Uint32Array.from(pieces, ({ at }) => at),
  length: Uint32Array.from(pieces, ({ length }) => length),
})

function opened(options: Partial<TunOptions> = {}): TunDevice {
  const tun = new TunDevice(libc, { ...defaults, ...options })
  sh(`sysctl -qw net.ipv6.conf.${tun.name}.disable_ipv6=1; ip addr add 10.9.0.1/24 dev ${tun.name}`)
  tun.setUp()
  return tun
}

/** Everything that comes within a moment, as bytes. */
function read(tun: TunDevice): readonly Buffer[] {
  const found: Buffer[] = []
  for (;;) {
    reactor.watch([tun.fd])
    reactor.wait(300)
    if (reactor.ready(0) !== 'readable') return found
    if (tun.readBatch() === 'gone') return found
    const { at, length, count } = tun.packets
    for (let index = 0; index < count; index++)
      found.push(Buffer.from(arena.bytes.slice(at[index], (at[index] ?? 0) + (length[index] ?? 0))))
  }
}

test('a device is made with a name, an MTU and what the kernel offers', needsRoot, async (t) => {
  const tun = opened()
  t.teardown(() => tun.close())
  t.match(tun.name, /^dt\d+$/)
  t.equal(tun.mtu(), 1400)
  tun.setMtu(1300)
  t.equal(tun.mtu(), 1300)
  t.same(tun.offloads, { vnetHeader: true, tso: true, uso: tun.offloads.uso })
  t.match(sh(`ip -o link show ${tun.name}`), 'UP')
  const without = opened({ tso: false, uso: true })
  t.same(without.offloads, { vnetHeader: true, tso: false, uso: false })
  without.close()
  t.throws(() => tun.setMtu(70_000), { code: 'TUNNEL_DEVICE' })
})

test('packets in one piece and in several, both ways', needsRoot, async (t) => {
  const tun = opened()
  t.teardown(() => tun.close())
  read(tun)
  t.equal(tun.readBatch(), 'works')
  t.equal(tun.packets.count, 0, 'nothing there')
  const { at, length } = echoRequest()
  t.equal(tun.writeBatch(gathered([{ at, length }])), 'works')
  const split = gathered([
    { at, length: 20 },
    { at: at + 20, length: length - 20 },
  ])
  t.equal(tun.writeBatch(split), 'works')
  const replies = read(tun).filter((packet) => packet[9] === 1)
  t.equal(replies.length, 2, 'the kernel answers both')
  t.ok(replies.every((packet) => packet[20] === 0 && packet.length === length))
  t.equal(tun.refused.count, 0)
})

test('what the kernel refuses is counted and the batch goes on', needsRoot, async (t) => {
  const tun = opened()
  t.teardown(() => tun.close())
  read(tun)
  const { at, length } = echoRequest()
  const batch: Gathered = {
    count: 3,
    end: Uint32Array.of(1, 1 + 300, 302),
    at: new Uint32Array(302).fill(at),
    length: Uint32Array.from({ length: 302 }, (_, index) => (index === 0 || index === 301 ? length : 1)),
  }
  t.equal(tun.writeBatch(batch), 'works')
  t.match(tun.refused, { count: 1, errno: 22 })
  t.equal(read(tun).filter((packet) => packet[9] === 1).length, 2)
  arena.bytes[at] = 0x15
  tun.writeBatch(gathered([{ at, length }]))
  t.equal(tun.refused.count, 2, 'no version of IP')
})

test('a device that is removed is gone, a persistent one is taken again', needsRoot, async (t) => {
  const kept = opened({ persistent: true })
  kept.close()
  t.match(sh('ip -o link'), kept.name)
  const again = new TunDevice(libc, { ...defaults, name: kept.name, persistent: true })
  t.equal(again.name, kept.name)
  const adopted = new TunDevice(libc, { ...defaults, fd: libc.dup(again.fd) })
  t.equal(adopted.name, kept.name)
  t.ok(adopted.offloads.vnetHeader)
  t.throws(() => new TunDevice(libc, { ...defaults, name: kept.name }), { code: 'TUNNEL_DEVICE' }, 'busy')
  sh(`ip link del ${kept.name}`)
  const { at, length } = echoRequest()
  t.equal(again.readBatch(), 'gone')
  t.equal(again.writeBatch(gathered([{ at, length }])), 'gone')
  adopted.close()
  again.close()
  t.throws(() => new TunDevice(libc, { ...defaults, fd: 9999 }), { code: 'TUNNEL_DEVICE' })
})
