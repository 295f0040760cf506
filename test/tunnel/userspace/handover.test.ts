/**
 * A tunnel process that is replaced under load: nothing is lost, no session is made anew, and the successor is as
 * good as the first one was.
 */
import { rmSync } from 'node:fs'
import { test } from 'tap'
import { encodeFrame, FrameReader, inheritance, inherited } from '../../../tunnel/userspace/handover.ts'
import { needsRoot, until } from '../../support/netns.ts'
import {
  handshakeOf,
  pidOf,
  ping,
  replaced,
  run,
  type Side,
  socketOf,
  TunnelWorld,
} from '../../support/tunnel-pair.ts'

/** The machine may be busy. */
const slow = { ...needsRoot, timeout: 120_000 }
const world = await TunnelWorld.open()

/** What `wg show` tells of a side that a hand-over must not change. */
async function identity(one: Side): Promise<string> {
  const { stdout } = await run('wg', ['show', one.device, 'dump'])
  return stdout
    .split('\n')
    .map((line) => line.split('\t').toSpliced(5, 2).join(' '))
    .join('\n')
}

test('frames: whole, in pieces, and what is none', async (t) => {
  const frames = [
    { is: 'ready', reads: [1, 2] },
    { is: 'state', state: new Uint8Array(70_000).fill(7) },
    { is: 'refused', why: 'später' },
    { is: 'taken' },
  ] as const
  const bytes = Buffer.concat(frames.map(encodeFrame))
  for (const step of [1, 3, 5, 4096, bytes.length]) {
    const reader = new FrameReader()
    const read = []
    for (let at = 0; at < bytes.length; at += step) read.push(...reader.push(bytes.subarray(at, at + step)))
    t.strictSame(read, frames, `${step} bytes at a time`)
  }
  t.throws(() => new FrameReader().push(Buffer.alloc(9, 0xff)), RangeError)
  t.throws(() => new FrameReader().push(Uint8Array.of(0, 0, 0, 0, 77)), RangeError)
  const descriptors = { tun: 4, uapi: 5, udp4: 6, udp6: 7 }
  t.strictSame(inherited(inheritance(descriptors)), { channel: 3, descriptors })
  t.strictSame(inherited('3,4,5,6'), { channel: 3, descriptors: { ...descriptors, udp6: -1 } })
  for (const bad of ['3', '3,4,5', '3,4,5,6,7,8', 'a,b,c,d']) t.equal(inherited(bad), undefined)
})

test('replaced six times under load: nothing is lost and no handshake is needed', slow, async (t) => {
  const { one, other } = await world.pair(t, 'h', ['drover', 'drover'])
  await ping(one, other.address)
  const [before, session] = [await identity(one), await handshakeOf(one)]
  const stop = world.pings(one, other.address)
  const transfer = world.iperf(one, other, '-t 6')
  const pids = new Set([await pidOf(one), await pidOf(other)])
  for (let round = 0; round < 3; round++) {
    pids.add(await replaced(one))
    pids.add(await replaced(other))
  }
  t.ok((await transfer) > 1e6, 'TCP goes on')
  const { sent, lost, longest } = await stop()
  t.comment(`${sent} pings, longest ${longest} ms`)
  t.ok(sent > 1000)
  t.equal(lost, 0, 'pings lost')
  t.equal(pids.size, 8, 'each is another process')
  t.equal(await identity(one), before)
  t.equal(await handshakeOf(one), session, 'the session is the same')
  const { stdout } = await run('wg', ['show', one.device, 'transfer'])
  t.ok(Number(stdout.trim().split('\t')[2]) > 1e6, 'bytes are counted on')
})

test('a successor goes before other threads no longer than it must', slow, async (t) => {
  const { one, other } = await world.pair(t, 'u', ['drover', 'drover'])
  await ping(one, other.address)
  const pid = String(await replaced(one))
  const stop = world.pings(one, other.address)
  const policies = async (): Promise<string> => (await run('chrt', ['-a', '-p', pid])).stdout
  await until('ordinary threads', async () => !(await policies()).includes('SCHED_FIFO'))
  t.match(await policies(), 'SCHED_OTHER')
  t.equal((await stop()).lost, 0)
})

test('beside wireguard-go, and with settings changed afterwards', slow, async (t) => {
  const { one, other } = await world.pair(t, 'w', ['drover', 'wireguard-go'])
  await ping(one, other.address)
  const session = await handshakeOf(one)
  await replaced(one)
  await ping(other, one.address)
  t.equal(await handshakeOf(one), session)
  await run('wg', ['set', one.device, 'listen-port', '51999'])
  await ping(one, other.address)
  await replaced(one)
  t.match((await run('wg', ['show', one.device, 'listen-port'])).stdout, '51999')
  await ping(other, one.address)
  rmSync(socketOf(one))
  await until('a successor ends with its socket as well', () =>
    pidOf(one).then(
      () => false,
      () => true,
    ),
  )
})

test('cleaning up', async () => world.close())
