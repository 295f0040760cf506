/**
 * Our tunnel against Debian's wireguard-go, and against itself, as processes: every scenario over a relay that can
 * lose, reorder, duplicate and replay. Sessions that age, restart and roam at leisure are test/simulation's.
 */
import { spawnSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Test, test } from 'tap'
import { isRoot, NetnsWorld, needsRoot, type TestNetns, until } from '../support/netns.ts'
import {
  type Engine,
  gateway,
  gateway6,
  outer,
  outputOf,
  port,
  type Relay,
  type TunnelHost,
  TunnelWorld,
} from '../support/tunnel-hosts.ts'

const installed = spawnSync('wireguard-go', ['--version']).status === 0
const floodProgram = join(import.meta.dirname, '../support/handshake-flood.ts')
const world = isRoot ? new TunnelWorld(await NetnsWorld.open()) : undefined
const engines: readonly (readonly [Engine, Engine])[] = [
  ['drover', 'drover'],
  ['drover', 'wireguard-go'],
  ['wireguard-go', 'drover'],
]

interface Pair {
  readonly one: TunnelHost
  readonly other: TunnelHost
  readonly router: TestNetns
  readonly relay: Relay
}

/** Both forget each other and meet again: no session, no endpoint but the relay's. */
async function meet({ one, other }: Pair, family: 4 | 6 = 4, ...words: readonly string[]): Promise<void> {
  const via = family === 4 ? gateway : (number: number) => `[${gateway6(number)}]`
  await one.forget(other)
  await other.forget(one)
  await other.peer(one, 'endpoint', `${via(2)}:${port}`, ...words)
  await one.peer(other, 'endpoint', `${via(1)}:${port}`, ...words)
}

type Scenario = (t: Test, pair: Pair) => Promise<void>

const scenarios: Readonly<Record<string, Scenario>> = {
  'IPv4 and IPv6 inside, every size up to the MTU and beyond': async (t, { one, other }) => {
    for (const size of [0, 1, 15, 16, 17, 1391, 1392, 1393, 4000])
      t.ok(await one.ping(other.inner, `-c 1 -W 5 -s ${size}`))
    for (const size of [0, 1371, 1372])
      t.ok(await other.ping(one.inner6, `-c 1 -W 5 -M do -s ${size}`), `${size}`)
  },
  'IPv6 outside': async (t, pair) => {
    await world?.relay(pair.router, 6)
    await meet(pair, 6)
    t.ok(await pair.one.ping(pair.other.inner))
    t.ok(await pair.other.ping(pair.one.inner6))
    t.match(await pair.other.about('endpoints'), `[${gateway6(2)}]:${port}`)
  },
  'nothing comes twice, whatever the network repeats': async (t, { one, other, relay }) => {
    await relay.tell('duplicate 1')
    await relay.tell('reorder 30')
    const pinged = (await one.ping(other.inner, '-c 30 -i 0.01 -W 3')) ?? ''
    // wireguard-go, also towards itself, loses some of the first packets of a session that it began.
    t.match(pinged, one.engine === 'drover' ? '30 received' : /(1[5-9]|2\d|30) received/)
    t.notMatch(pinged, /DUP|duplicates/)
    await relay.tell('clear')
    const before = [await other.about('endpoints'), await other.about('latest-handshakes')]
    await relay.tell('replay')
    t.notMatch(await one.ping(other.inner), /DUP|duplicates/)
    t.strictSame([await other.about('endpoints'), await other.about('latest-handshakes')], before)
  },
  'a way that loses and reorders carries a file': async (t, { one, other, relay }) => {
    await relay.tell('loss 0.02')
    await relay.tell('reorder 3')
    const wanted = await transfer(one, other, 300_000)
    t.equal(wanted.arrived, wanted.sent)
  },
  'the first roams': async (t, { one, other, relay }) => {
    t.ok(await one.ping(other.inner))
    const before = await other.about('endpoints')
    await relay.tell('roam')
    t.ok(await one.ping(other.inner))
    t.not(await other.about('endpoints'), before)
    t.ok(await other.ping(one.inner), 'and is called where it is now')
  },
  'a preshared key: on one side, on both': async (t, pair) => {
    const { one, other } = pair
    const psk = join(world?.folder ?? '', 'psk')
    writeFileSync(psk, await one.wg('genpsk'), { mode: 0o600 })
    await meet(pair)
    await one.peer(other, 'preshared-key', psk)
    t.notOk(await one.ping(other.inner, '-c 1 -W 1'))
    await meet(pair, 4, 'preshared-key', psk)
    t.ok(await one.ping(other.inner))
  },
  'allowed IPs change under way; a peer speaks for its own addresses only': async (t, { one, other }) => {
    t.ok(await one.ping(other.inner))
    await other.peer(one, 'allowed-ips', `${one.inner6}/128`)
    t.notOk(await one.ping(other.inner, '-c 1 -W 1'), 'not its address any more')
    t.ok(await one.ping(other.inner6), 'the other still is')
    await other.peer(one, 'allowed-ips', '10.99.0.0/24,fd99::/64')
    t.ok(await one.ping(other.inner))
  },
  'a new private key': async (t, pair) => {
    const { one, other } = pair
    t.ok(await one.ping(other.inner))
    await other.forget(one)
    await one.newKey()
    await meet(pair)
    t.ok(await one.ping(other.inner))
    t.ok(await other.ping(one.inner))
  },
  'a persistent keepalive, and who learns an endpoint from it': async (t, pair) => {
    const { one, other } = pair
    await meet(pair)
    await other.forget(one)
    await other.peer(one)
    t.equal(await other.about('endpoints'), '(none)')
    await one.peer(other, 'persistent-keepalive', '1')
    await until('keepalives', async () => Number((await other.about('transfer')).split('\t')[0]) > 148 + 32)
    t.equal(await other.about('endpoints'), `${gateway(2)}:${port}`)
    t.ok(await other.ping(one.inner))
  },
  'one is killed and comes back': async (t, pair) => {
    const { one, other } = pair
    t.ok(await one.ping(other.inner))
    await other.kill()
    await other.start()
    await other.peer(one, 'endpoint', `${gateway(2)}:${port}`)
    t.ok(await other.ping(one.inner), 'it calls')
    t.ok(await one.ping(other.inner))
  },
  'strangers are not answered; under load they get cookies, and the peer gets in': async (t, pair) => {
    const { one, other, router } = pair
    const key = Buffer.from(other.publicKey, 'base64').toString('hex')
    const flood = (rate: number) => {
      const words = [floodProgram, outer(2), String(port), key, String(rate)]
      const child = world?.netns.spawn(router, [process.execPath, ...words])
      if (child === undefined) throw new TypeError('no world')
      return { child, said: outputOf(child) }
    }
    const few = flood(50)
    await until('strangers', () => few.said().includes('ready'))
    await meet(pair)
    t.ok(await one.ping(other.inner, '-c 10 -i 0.05 -W 3'))
    t.notMatch(few.said(), 'answered', 'silence')
    few.child.kill()
    if (one.engine === other.engine || other.engine !== 'drover') return
    const many = flood(600)
    await until('cookies', () => many.said().includes('answered 3 64'))
    await one.forget(other)
    await one.peer(other, 'endpoint', `${gateway(1)}:${port}`)
    await until('the peer gets in', () => one.ping(other.inner, '-c 1 -W 1'), 30_000)
    t.notMatch(many.said(), /answered [^3]/, 'cookies are all they get')
    many.child.kill()
  },
}

/** Digests of what was sent over TCP and of what arrived. */
async function transfer(
  from: TunnelHost,
  to: TunnelHost,
  size: number,
): Promise<{ sent: string; arrived: string }> {
  const digest = `const hash = require('crypto').createHash('sha256')`
  const server = `${digest}
    require('net').createServer((socket) => socket.on('data', (chunk) => hash.update(chunk))
      .on('end', () => console.log('got', hash.digest('hex')))).listen(7777, () => console.log('ready'))
    process.stdin.resume().on('end', () => process.exit())`
  const client = `${digest}
    const bytes = require('crypto').randomBytes(${size})
    require('net').connect(7777, '${to.inner}').end(bytes, () => console.log(hash.update(bytes).digest('hex')))`
  if (world === undefined) throw new TypeError('no world')
  const child = world.netns.spawn(to.space, [process.execPath, '-e', server])
  const said = outputOf(child)
  await until('the server', () => said().includes('ready'))
  const sent = (await from.space.runner.run([process.execPath, '-e', client])).trim()
  await until('the whole file', () => said().includes('got'), 30_000)
  child.kill()
  return { sent, arrived: said().split('got ')[1]?.trim() ?? '' }
}

async function every(t: Test, label: string, first: Engine, second: Engine): Promise<void> {
  if (world === undefined) return
  const { router, hosts } = await world.hosts(label, [first, second])
  const [one, other] = hosts
  if (one === undefined || other === undefined) throw new TypeError('no hosts')
  const relay = await world.relay(router, 4)
  const pair = { one, other, router, relay }
  for (const [name, run] of Object.entries(scenarios)) {
    await t.test(name, async (t) => {
      await relay.tell('clear')
      await meet(pair)
      await run(t, pair)
    })
  }
  await Promise.all([one.kill(), other.kill()])
}

test('as processes', { timeout: 120_000 }, async (t) => {
  t.jobs = engines.length
  for (const [index, [first, second]] of engines.entries()) {
    const skip = first === second || installed ? needsRoot : { skip: 'needs wireguard-go' }
    const options = { ...skip, buffered: true, timeout: 120_000 }
    void t.test(`${first} calls ${second}`, options, (t) => every(t, `i${index}`, first, second))
  }
})

test('cleaning up', async () => world?.close())
