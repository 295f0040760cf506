import { execFileSync, spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import koffi from 'koffi'
import { type Test, test } from 'tap'
import { Libc, makeArena } from '../../../linux/ffi.ts'
import { TunDevice } from '../../../linux/tun.ts'
import { UdpSocket } from '../../../linux/udp.ts'
import { UapiClient } from '../../../tunnel/uapi-client.ts'
import { isRoot, needsRoot, until } from '../../support/netns.ts'
import { enterOwnNetns } from '../../support/own-netns.ts'
import { SeededRandom } from '../../support/ports.ts'

const sh = (line: string): string => execFileSync('sh', ['-c', line], { encoding: 'utf8' })
if (isRoot) {
  enterOwnNetns()
  sh('ip link set lo up')
}

const count = Number(process.env.DROVER_FUZZ ?? 20_000)
const folder = mkdtempSync(join(tmpdir(), 'drover-robust-'))
const script = join(import.meta.dirname, '../../../cli/wireguard.ts')
const libc = new Libc(makeArena(8 << 20))
const { arena } = libc
const key = '77'.repeat(32)
const port = 51_820

/** A tunnel in the foreground, with descriptors that it inherits from 3 on. */
function tunnel(t: Test, name: string, env: NodeJS.ProcessEnv = {}, inherited: readonly number[] = []) {
  const child = spawn(process.execPath, [script, '-f', name], {
    env: { ...process.env, DROVER_TUNNEL_SOCKETS: folder, ...env },
    stdio: ['ignore', 'inherit', 'inherit', ...inherited],
  })
  const ended = new Promise<number | null>((resolve) => child.once('exit', resolve))
  t.teardown(async () => {
    child.kill('SIGKILL')
    await ended
  })
  return { child, ended, client: new UapiClient(join(folder, `${name}.sock`)) }
}

const answers = (client: UapiClient) =>
  until('an answer', () =>
    client.get().then(
      () => true,
      () => false,
    ),
  )

function memoryOf(pid = 0): number {
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1024
}

/** Datagrams that are almost messages: a type, often its length, sometimes an index that is in use; then noise. */
function nextDatagram(random: SeededRandom, at: number): number {
  const lengths = [148, 92, 64, 32, 31, 0, 1, random.below(1500)]
  const length = lengths[random.below(lengths.length)] ?? 0
  for (let index = 0; index < length; index++) arena.bytes[at + index] = random.below(256)
  if (random.below(4) > 0) arena.bytes.set([1 + random.below(4), 0, 0, 0].slice(0, length), at)
  return length
}

function floodUdp(random: SeededRandom, rounds: number): void {
  const socket = new UdpSocket(libc, {
    family: 4,
    gso: false,
    gro: false,
    gsoTail: false,
    buffer: 1 << 20,
    slots: 1,
  })
  socket.open(0)
  const to = { family: 4, bytes: Uint8Array.of(127, 0, 0, 1, port >> 8, port & 255), scope: 0 } as const
  const batch = 50
  for (let round = 0; round < rounds / batch; round++) {
    const at = Uint32Array.from({ length: batch }, (_, index) => udpAt + index * 1600)
    const length = at.map((offset) => nextDatagram(random, offset))
    socket.sendBatch({ count: batch, at, length, to: new Array(batch).fill(to) })
  }
  socket.close()
}

const udpAt = arena.take(50 * 1600)
const packetAt = arena.take(70_000)
const linkAt = arena.take(32)

/** Packets that lie about themselves, put on the way into the TUN device by AF_PACKET with a virtio header. */
function floodTun(random: SeededRandom, device: string, rounds: number): number {
  const socket = libc.socket(17, 3, 0)
  arena.view.setInt32(linkAt, 1, true)
  libc.setOptionAt(socket, 263, 15, linkAt, 4)
  arena.bytes.fill(0, linkAt, linkAt + 20)
  arena.view.setUint16(linkAt, 17, true)
  arena.view.setUint16(linkAt + 2, random.below(2) === 0 ? 0x0800 : 0x86dd)
  arena.view.setInt32(linkAt + 4, Number.parseInt(sh(`ip -o link show ${device}`), 10), true)
  let taken = 0
  for (let round = 0; round < rounds; round++) {
    const length = nextPacket(random, packetAt)
    if (libc.sendTo(socket, packetAt, length, 0, linkAt, 20) >= 0) taken++
  }
  libc.close(socket)
  return taken
}

function nextPacket(random: SeededRandom, at: number): number {
  const { bytes, view } = arena
  const size = 20 + random.below(random.below(8) === 0 ? 9000 : 1300)
  for (let index = 0; index < 10 + Math.min(size, 80); index++) bytes[at + index] = random.below(256)
  bytes.fill(0, at, at + 10)
  const v4 = random.below(2) === 0
  if (random.below(8) > 0) bytes[at + 10] = v4 ? 0x45 : 0x60
  if (random.below(4) > 0) bytes[at + 10 + (v4 ? 9 : 6)] = random.below(2) === 0 ? 6 : 17
  if (random.below(4) > 0) bytes.set([10, 8, 0, 2], at + 10 + 16)
  if (random.below(4) > 0) view.setUint16(at + 10 + (v4 ? 2 : 4), v4 ? size : size - 40)
  if (random.below(3) === 0) {
    bytes[at] = 1
    bytes[at + 1] = [1, 4, 5][random.below(3)] ?? 1
    view.setUint16(at + 4, 1 + random.below(2000), true)
    view.setUint16(at + 6, v4 ? 20 : 40, true)
    view.setUint16(at + 8, random.below(2) === 0 ? 16 : 6, true)
    view.setUint16(at + 2, 60, true)
  }
  return 10 + size
}

test('garbage from both sides: it lives on, and its memory is flat', needsRoot, async (t) => {
  const name = `dt${process.pid}g`
  const { child, client } = tunnel(t, name)
  await answers(client)
  const peer = [
    `public_key=${'0a'.repeat(31)}20`,
    'endpoint=127.0.0.1:9',
    'allowed_ip=0.0.0.0/0',
    'allowed_ip=::/0',
  ]
  await client.set([`private_key=${key}`, `listen_port=${port}`, ...peer])
  sh(`sysctl -qw net.ipv6.conf.${name}.disable_ipv6=1; ip link set ${name} up mtu 9000`)
  const random = new SeededRandom(Number(process.env.DROVER_SEED ?? 1))
  floodUdp(random, count / 4)
  floodTun(random, name, count / 40)
  await answers(client)
  const before = memoryOf(child.pid)
  floodUdp(random, count)
  const taken = floodTun(random, name, count / 10)
  t.ok(taken > count / 100, `${taken} odd packets were taken by the kernel`)
  await answers(client)
  const after = memoryOf(child.pid)
  t.comment(`${before.toFixed(0)} MiB before, ${after.toFixed(0)} MiB after ${count} datagrams`)
  t.ok(after < before + 24, 'flat')
  t.equal(child.exitCode, null)
  t.match(await client.get(), `listen_port=${port}`)
})

/** A unix socket that listens, and that nobody here accepts from. */
function listenAt(path: string): number {
  const listen = koffi.load(null).func('int listen(int, int)')
  const socket = libc.socket(1, 1, 0)
  arena.bytes.fill(0, packetAt, packetAt + 110)
  arena.view.setUint16(packetAt, 1, true)
  arena.bytes.set(Buffer.from(path), packetAt + 2)
  libc.bind(socket, packetAt, 110)
  listen(socket, 8)
  return socket
}

test('WG_TUN_FD and WG_UAPI_FD: descriptors that somebody else made', needsRoot, async (t) => {
  const name = `dt${process.pid}f`
  const options = { name, persistent: false, tso: true, uso: true, slots: 1, batchBytes: 65_536 }
  const device = new TunDevice(libc, options)
  const path = join(folder, 'given.sock')
  const listening = listenAt(path)
  const { child, client, ended } = tunnel(t, name, { WG_TUN_FD: '3', WG_UAPI_FD: '4' }, [
    device.fd,
    listening,
  ])
  libc.close(listening)
  device.close()
  const given = new UapiClient(path)
  await answers(given)
  t.equal(child.exitCode, null)
  await given.set([`private_key=${key}`])
  t.match(await given.get(), `private_key=${key}`)
  await t.rejects(client.get(), 'there is no socket by name')
  sh(`ip link del ${name}`)
  t.equal(await ended, 0, 'it ends with its interface')
})

test('cleaning up', async () => rmSync(folder, { recursive: true, force: true }))
