import { spawn } from 'node:child_process'
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'tap'
import { offloads } from '../../../tunnel/engine-facts.ts'
import { UapiClient } from '../../../tunnel/uapi-client.ts'
import { readState } from '../../../tunnel/uapi-peers.ts'
import { needsRoot, until } from '../../support/netns.ts'
import {
  addPeer,
  handshakeOf,
  mainScript,
  pidOf,
  ping,
  port,
  replace,
  run,
  type Side,
  socketOf,
  startSide,
  TunnelWorld,
} from '../../support/tunnel-pair.ts'

const world = await TunnelWorld.open()

const pairs: readonly (readonly [string, readonly [string, string]])[] = [
  ['a', ['drover', 'drover']],
  ['b', ['drover', 'wireguard-go']],
  ['c', ['wireguard-go', 'drover']],
]

for (const [label, engines] of pairs) {
  test(`${engines[0]} calls ${engines[1]}`, needsRoot, async (t) => {
    const { one, other } = await world.pair(t, label, engines)
    await ping(one, other.address)
    await ping(other, `fd99::${one.address.slice(-1)}`)
    await ping(one, other.address, '-M do -s 1392')
    t.ok((await handshakeOf(one)) > 0)
    t.ok((await world.iperf(one, other)) > 1e6, 'TCP out')
    t.ok((await world.iperf(one, other, '-R')) > 1e6, 'TCP back')
    t.ok((await world.iperf(one, other, '-u -b 20M')) > 1e6, 'UDP')
    await run('wg', ['set', one.device, 'peer', other.publicKey, 'remove'])
    await addPeer(one, other)
    await ping(one, other.address)
    t.ok((await handshakeOf(one)) > 0, 'a new handshake')
    const { stdout: shown } = await run('wg', ['showconf', one.device])
    const config = join(world.folder, `${one.device}.conf`)
    writeFileSync(config, shown)
    await run('wg', ['syncconf', one.device, config])
    t.equal((await run('wg', ['showconf', one.device])).stdout, shown, 'syncconf changes nothing')
    await ping(other, one.address)
  })
}

test('after kill -9 it comes back with key and peers and calls them', needsRoot, async (t) => {
  const { one, other } = await world.pair(t, 'k', ['drover', 'drover'])
  await ping(one, other.address)
  t.equal(statSync(one.state).mode & 0o777, 0o600)
  process.kill(await pidOf(one), 'SIGKILL')
  t.match(await one.space.sh('ip -o link'), one.device, 'the device stays')
  const begun = performance.now()
  await startSide(one)
  await until('a handshake by itself', async () => (await handshakeOf(one)) > 0)
  t.comment(`handshake ${Math.round(performance.now() - begun)} ms after its start`)
  await ping(other, one.address)
  const again = run('nsenter', [
    `--net=${one.space.path}`,
    process.execPath,
    mainScript,
    'tunnel',
    one.device,
  ])
  await t.rejects(again, 'a second process for one interface is refused')
})

test('what Node compiled of the packet thread is kept before it ends', needsRoot, async (t) => {
  const folder = join(world.folder, 'compiled')
  process.env.NODE_COMPILE_CACHE = folder
  t.teardown(() => delete process.env.NODE_COMPILE_CACHE)
  await world.pair(t, 'm', ['drover', 'drover'])
  const files = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((one) => one.isFile())
  const texts = files.map(({ parentPath, name }) => readFileSync(join(parentPath, name), 'latin1'))
  t.ok(texts.some((text) => text.includes('class PacketLoop')))
})

test('it ends when its interface is removed', needsRoot, async (t) => {
  const { one } = await world.pair(t, 'i', ['drover', 'drover'])
  await one.space.sh(`ip link del ${one.device}`)
  await until('the socket gone', () => !existsSync(socketOf(one)))
  await until('the process gone', () =>
    pidOf(one).then(
      () => false,
      () => true,
    ),
  )
})

test('over IPv6, and past a narrow path', needsRoot, async (t) => {
  const { one, other } = await world.pair(t, 'u', ['drover', 'drover'])
  await one.space.sh('ip addr add fd77::1/64 dev w0 nodad')
  await other.space.sh('ip addr add fd77::2/64 dev w0 nodad')
  await run('wg', ['set', one.device, 'peer', other.publicKey, 'endpoint', `[fd77::2]:${port}`])
  await ping(one, other.address)
  t.ok((await world.iperf(one, other)) > 1e6)
  t.match((await run('wg', ['show', other.device, 'endpoints'])).stdout, '[fd77::1]')
  await run('wg', ['set', one.device, 'peer', other.publicKey, 'endpoint', `192.168.77.2:${port}`])
  await ping(one, other.address)
  for (const { space } of [one, other]) await space.sh('ip link set w0 mtu 1300')
  await ping(one, other.address, '-s 1392')
  t.ok((await world.iperf(one, other)) > 1e5, 'segments that do not fit are sent one by one')
  await other.space.sh('ip link set w0 down')
  await t.rejects(ping(one, other.address), 'nothing gets through')
  await other.space.sh('ip link set w0 up')
  await until('the way back', () =>
    ping(one, other.address).then(
      () => true,
      () => false,
    ),
  )
})

test('every offload can be switched off', needsRoot, async (t) => {
  process.env.DROVER_TUNNEL_WITHOUT = 'tso,uso,gso,gro,coalesce,openssl,fused,priority'
  t.teardown(() => delete process.env.DROVER_TUNNEL_WITHOUT)
  const { one, other } = await world.pair(t, 'o', ['drover', 'drover'])
  t.ok((await world.iperf(one, other)) > 1e6)
  const { facts } = readState(await new UapiClient(socketOf(one)).get())
  t.match(facts, {
    aead: 'libsodium',
    handshakes: 'libsodium',
    offloads: Object.fromEntries(offloads.map((name) => [name, 'off'])),
  })
  t.ok((await nicenesses(one)).every((nice) => nice === 0))
})

/** How nice each thread of a process is, the packet thread's last. */
async function nicenesses(one: Side): Promise<readonly number[]> {
  const tasks = `/proc/${await pidOf(one)}/task`
  const ofThread = (thread: string): number =>
    Number(
      readFileSync(join(tasks, thread, 'stat'), 'latin1')
        .split(') ')[1]
        ?.split(' ')[16],
    )
  return readdirSync(tasks)
    .map(ofThread)
    .toSorted((a, b) => b - a)
}

test('its packet thread goes before others, and no other of its threads', needsRoot, async (t) => {
  const { one } = await world.pair(t, 'y', ['drover', 'drover'])
  const urgentAlone = async (): Promise<void> => {
    const [last, ...others] = (await nicenesses(one)).toReversed()
    t.equal(last, -10)
    t.ok(others.every((nice) => nice === 0))
  }
  await urgentAlone()
  await replace(one)
  await urgentAlone()
})

test('what it says of itself beyond UAPI is no matter to wg, and marks outlive it', needsRoot, async (t) => {
  const { one, other } = await world.pair(t, 'f', ['drover', 'drover'])
  const client = new UapiClient(socketOf(one))
  const before = await run('wg', ['show', one.device, 'dump'])
  const config = join(world.folder, `${one.device}.conf`)
  writeFileSync(config, (await run('wg', ['showconf', one.device])).stdout)
  const peer = Buffer.from(other.publicKey, 'base64').toString('hex')
  await client.set([`public_key=${peer}`, 'drover_marks=true'])
  const answer = await client.get()
  t.match(answer, /^drover_aead=openssl\ndrover_handshakes=openssl\ndrover_ipv6=(true|false)\ndrover_tso=/)
  t.match(answer, '\ndrover_marks=true\n')
  t.match(readState(answer), { facts: { capabilities: ['checksum-marks'] }, peers: [{ marks: true }] })
  const shown = await run('wg', ['show', one.device, 'dump'])
  t.strictSame([shown.stdout, shown.stderr], [before.stdout, ''], 'wg shows what it did')
  await run('wg', ['syncconf', one.device, config])
  await ping(one, other.address)
  t.match(await client.get(), '\ndrover_marks=true\n', 'wg syncconf leaves it')
  process.kill(await pidOf(one), 'SIGKILL')
  await startSide(one)
  t.match(await client.get(), '\ndrover_marks=true\n', 'it is in the state file, where facts are not')
  t.notMatch(readFileSync(one.state, 'utf8'), 'drover_aead')
})

test('what is wrong is said', needsRoot, async (t) => {
  const start = (...words: string[]) =>
    new Promise<{ code: number | null; text: string }>((resolve) => {
      const child = spawn(process.execPath, [mainScript, 'tunnel', ...words])
      let text = ''
      child.stderr.on('data', (chunk) => {
        text += String(chunk)
      })
      child.on('close', (code) => resolve({ code, text }))
    })
  t.match(await start('-f'), { code: 2, text: 'NAME' })
  t.match(await start('a-name-that-is-too-long'), { code: 2 })
  t.match(await start('--replace', 'nobody0'), { code: 1, text: 'no process serves nobody0' })
})

test('cleaning up', async () => {
  await world.close()
})
