import { execFile, spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { type Test, test } from 'tap'
import { offloads } from '../../../tunnel/engine-facts.ts'
import { UapiClient } from '../../../tunnel/uapi-client.ts'
import { readState } from '../../../tunnel/uapi-peers.ts'
import { isRoot, NetnsWorld, needsRoot, type TestNetns, until } from '../../support/netns.ts'

const run = promisify(execFile)
const script = join(import.meta.dirname, '../../../cli/main.ts')
const folder = mkdtempSync(join(tmpdir(), 'drover-tunnel-'))
const world = isRoot ? await NetnsWorld.open() : undefined

interface Side {
  readonly space: TestNetns
  readonly device: string
  readonly address: string
  readonly underlay: string
  readonly key: string
  readonly publicKey: string
  readonly engine: string
  readonly state: string
}

const port = 51_820
const socketOf = ({ device }: Side): string => `/var/run/wireguard/${device}.sock`

async function side(space: TestNetns, number: number, engine: string, label: string): Promise<Side> {
  const { stdout: key } = await run('wg', ['genkey'])
  const path = join(folder, `${label}${number}.key`)
  writeFileSync(path, key, { mode: 0o600 })
  const device = `dt${process.pid}${label}${number}`
  return {
    space,
    device,
    address: `10.99.0.${number}`,
    underlay: `192.168.77.${number}`,
    key: path,
    publicKey: (await run('sh', ['-c', 'wg pubkey < "$0"', path])).stdout.trim(),
    engine,
    state: join(folder, `${device}.state`),
  }
}

const variables = (one: Side) => ({
  ...process.env,
  DROVER_TUNNEL_STATE: one.state,
  DROVER_TUNNEL_PERSIST: '1',
})

/** Starts an engine as wg-quick would, without `-f`. */
async function start(one: Side): Promise<void> {
  const enter = [`--net=${one.space.path}`]
  const command =
    one.engine === 'drover' ? [process.execPath, script, 'tunnel', one.device] : ['wireguard-go', one.device]
  await run('nsenter', [...enter, ...command], { env: variables(one) })
}

async function configure(one: Side, other: Side): Promise<void> {
  await run('wg', ['set', one.device, 'private-key', one.key, 'listen-port', String(port)])
  await addPeer(one, other)
  for (const address of [`${one.address}/24`, `fd99::${one.address.slice(-1)}/64`])
    await one.space.sh(`ip addr replace ${address} dev ${one.device} nodad`)
  await one.space.sh(`ip link set ${one.device} up mtu 1420`)
}

const addPeer = (one: Side, other: Side) =>
  run('wg', [
    'set',
    one.device,
    'peer',
    other.publicKey,
    'endpoint',
    `${other.underlay}:${port}`,
    'allowed-ips',
    `${other.address}/32,fd99::${other.address.slice(-1)}/128`,
  ])

const ping = (one: Side, target: string, ...more: string[]) =>
  one.space.sh(['ping -c 3 -i 0.05 -W 5', ...more, target].join(' '))

async function handshake(one: Side): Promise<number> {
  const { stdout } = await run('wg', ['show', one.device, 'latest-handshakes'])
  return Number(stdout.split('\t')[1])
}

const gone = (one: Side) =>
  until(`${one.device} gone`, async () => !(await one.space.sh('ip -o link')).includes(one.device))

/** Whoever serves a side's interface: the process whose command line ends with it. */
async function pidOf(one: Side): Promise<number> {
  const { stdout } = await run('pgrep', ['-f', `tunnel ${one.device} -f$`])
  return Number(stdout.trim())
}

async function pair(t: Test, label: string, engines: readonly [string, string]) {
  const spaces = await Promise.all([world?.netns(`${label}1`), world?.netns(`${label}2`)])
  const [first, second] = spaces
  if (world === undefined || first === undefined || second === undefined) throw new TypeError('no world')
  await world.wire(first, 'w0 192.168.77.1/24', second, 'w0 192.168.77.2/24')
  const one = await side(first, 1, engines[0], label)
  const other = await side(second, 2, engines[1], label)
  await Promise.all([start(one), start(other)])
  t.teardown(async () => {
    for (const end of [one, other]) {
      rmSync(socketOf(end), { force: true })
      await gone(end)
    }
  })
  await configure(one, other)
  await configure(other, one)
  return { one, other }
}

let iperfPort = 5300

/** Bytes that arrived in a second. */
async function iperf(one: Side, other: Side, ...options: string[]): Promise<number> {
  const server = world?.spawn(other.space, ['iperf3', '-s', '-1', '--forceflush', '-p', String(++iperfPort)])
  let said = ''
  server?.stdout?.on('data', (chunk) => {
    said += String(chunk)
  })
  await until('iperf3 listening', () => said.includes('listening'))
  const text = await one.space.sh(`iperf3 -J -p ${iperfPort} -c ${other.address} -t 1 ${options.join(' ')}`)
  return JSON.parse(text).end.sum_received?.bytes ?? JSON.parse(text).end.sum.bytes
}

const pairs: readonly (readonly [string, readonly [string, string]])[] = [
  ['a', ['drover', 'drover']],
  ['b', ['drover', 'wireguard-go']],
  ['c', ['wireguard-go', 'drover']],
]

for (const [label, engines] of pairs) {
  test(`${engines[0]} calls ${engines[1]}`, needsRoot, async (t) => {
    const { one, other } = await pair(t, label, engines)
    await ping(one, other.address)
    await ping(other, `fd99::${one.address.slice(-1)}`)
    await ping(one, other.address, '-M do -s 1392')
    t.ok((await handshake(one)) > 0)
    t.ok((await iperf(one, other)) > 1e6, 'TCP out')
    t.ok((await iperf(one, other, '-R')) > 1e6, 'TCP back')
    t.ok((await iperf(one, other, '-u -b 20M')) > 1e6, 'UDP')
    await run('wg', ['set', one.device, 'peer', other.publicKey, 'remove'])
    await addPeer(one, other)
    await ping(one, other.address)
    t.ok((await handshake(one)) > 0, 'a new handshake')
    const { stdout: shown } = await run('wg', ['showconf', one.device])
    const config = join(folder, `${one.device}.conf`)
    writeFileSync(config, shown)
    await run('wg', ['syncconf', one.device, config])
    t.equal((await run('wg', ['showconf', one.device])).stdout, shown, 'syncconf changes nothing')
    await ping(other, one.address)
  })
}

test('after kill -9 it comes back with key and peers and calls them', needsRoot, async (t) => {
  const { one, other } = await pair(t, 'k', ['drover', 'drover'])
  await ping(one, other.address)
  t.equal(statSync(one.state).mode & 0o777, 0o600)
  process.kill(await pidOf(one), 'SIGKILL')
  t.match(await one.space.sh('ip -o link'), one.device, 'the device stays')
  const begun = performance.now()
  await start(one)
  await until('a handshake by itself', async () => (await handshake(one)) > 0)
  t.comment(`handshake ${Math.round(performance.now() - begun)} ms after its start`)
  await ping(other, one.address)
  const again = run('nsenter', [`--net=${one.space.path}`, process.execPath, script, 'tunnel', one.device])
  await t.rejects(again, 'a second process for one interface is refused')
})

test('it ends when its interface is removed', needsRoot, async (t) => {
  const { one } = await pair(t, 'i', ['drover', 'drover'])
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
  const { one, other } = await pair(t, 'n', ['drover', 'drover'])
  await one.space.sh('ip addr add fd77::1/64 dev w0 nodad')
  await other.space.sh('ip addr add fd77::2/64 dev w0 nodad')
  await run('wg', ['set', one.device, 'peer', other.publicKey, 'endpoint', `[fd77::2]:${port}`])
  await ping(one, other.address)
  t.ok((await iperf(one, other)) > 1e6)
  t.match((await run('wg', ['show', other.device, 'endpoints'])).stdout, '[fd77::1]')
  await run('wg', ['set', one.device, 'peer', other.publicKey, 'endpoint', `192.168.77.2:${port}`])
  await ping(one, other.address)
  for (const { space } of [one, other]) await space.sh('ip link set w0 mtu 1300')
  await ping(one, other.address, '-s 1392')
  t.ok((await iperf(one, other)) > 1e5, 'segments that do not fit are sent one by one')
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
  process.env.DROVER_TUNNEL_WITHOUT = 'tso,uso,gso,gro,coalesce,openssl'
  t.teardown(() => delete process.env.DROVER_TUNNEL_WITHOUT)
  const { one, other } = await pair(t, 'o', ['drover', 'drover'])
  t.ok((await iperf(one, other)) > 1e6)
  const { facts } = readState(await new UapiClient(socketOf(one)).get())
  t.match(facts, { aead: 'libsodium', offloads: Object.fromEntries(offloads.map((name) => [name, 'off'])) })
})

test('what it says of itself beyond UAPI is no matter to wg, and marks outlive it', needsRoot, async (t) => {
  const { one, other } = await pair(t, 'f', ['drover', 'drover'])
  const client = new UapiClient(socketOf(one))
  const before = await run('wg', ['show', one.device, 'dump'])
  const config = join(folder, `${one.device}.conf`)
  writeFileSync(config, (await run('wg', ['showconf', one.device])).stdout)
  const peer = Buffer.from(other.publicKey, 'base64').toString('hex')
  await client.set([`public_key=${peer}`, 'drover_marks=true'])
  const answer = await client.get()
  t.match(answer, /^drover_aead=openssl\ndrover_ipv6=(true|false)\ndrover_tso=/)
  t.match(answer, '\ndrover_marks=true\n')
  t.match(readState(answer), { facts: { capabilities: ['checksum-marks'] }, peers: [{ marks: true }] })
  const shown = await run('wg', ['show', one.device, 'dump'])
  t.strictSame([shown.stdout, shown.stderr], [before.stdout, ''], 'wg shows what it did')
  await run('wg', ['syncconf', one.device, config])
  await ping(one, other.address)
  t.match(await client.get(), '\ndrover_marks=true\n', 'wg syncconf leaves it')
  process.kill(await pidOf(one), 'SIGKILL')
  await start(one)
  t.match(await client.get(), '\ndrover_marks=true\n', 'it is in the state file, where facts are not')
  t.notMatch(readFileSync(one.state, 'utf8'), 'drover_aead')
})

test('what is wrong is said', needsRoot, async (t) => {
  const start = (...words: string[]) =>
    new Promise<{ code: number | null; text: string }>((resolve) => {
      const child = spawn(process.execPath, [script, 'tunnel', ...words])
      let text = ''
      child.stderr.on('data', (chunk) => {
        text += String(chunk)
      })
      child.on('close', (code) => resolve({ code, text }))
    })
  t.match(await start('-f'), { code: 2, text: 'NAME' })
  t.match(await start('a-name-that-is-too-long'), { code: 2 })
})

test('cleaning up', async () => {
  await world?.close()
  rmSync(folder, { recursive: true, force: true })
})
