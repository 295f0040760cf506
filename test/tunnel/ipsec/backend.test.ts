/**
 * Two hosts with a real charon each, userspace ESP: real IKE, real packets.
 */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import tap, { type Test, test } from 'tap'
import type { Cidr } from '../../../model/ip.ts'
import type { Peer } from '../../../tunnel/backend.ts'
import { endCharon } from '../../../tunnel/ipsec/charon-place.ts'
import { IpsecBackend } from '../../../tunnel/ipsec/ipsec-backend.ts'
import type { Vici } from '../../../tunnel/ipsec/vici-client.ts'
import { type IpsecHost, IpsecWorld, needsIpsec, peerOf, pings } from '../../support/ipsec-hosts.ts'
import { carried, isSingle, meet, standing } from '../../support/ipsec-sas.ts'
import { until } from '../../support/netns.ts'
import { realClock } from '../../support/real-clock.ts'
import { hostIdOf } from '../../support/snapshots.ts'

tap.setTimeout(240000)

/** The networks of others go into charon's device, as the daemon's routes do. */
const route = (host: IpsecHost, to: string) =>
  host.space.sh(`ip route replace ${to} dev ipsec0 src ${host.managed}`)

async function pair(t: Test): Promise<{ world: IpsecWorld; one: IpsecHost; two: IpsecHost }> {
  const world = await IpsecWorld.open()
  t.teardown(() => world.close())
  const one = await world.host({ number: 1, esp: 'userspace' })
  const two = await world.host({ number: 2, esp: 'userspace' })
  await Promise.all([one.start(), two.start()])
  for (const [host, other] of [
    [one, two],
    [two, one],
  ] as const)
    await route(host, other.block)
  return { world, one, two }
}

test('hosts meet, packets go, and nothing goes in clear', needsIpsec, async (t) => {
  const { world, one, two } = await pair(t)
  const capture = await world.netns.capture(one.space, 'eth0', 'net 10.42.0.0/16')
  await meet(one, two)
  await carried(one, two)
  await carried(two, one)
  t.same(await capture.lines(), [], 'not one packet with an address of ours outside')

  const { peers, problems } = await one.backend.status()
  t.match(peers, [
    { host: two.identity.id, backend: 'ipsec', engine: 'charon', endpoint: '192.168.77.2:4500' },
  ])
  t.ok((peers[0]?.received ?? 0) > 0 && (peers[0]?.sent ?? 0) > 0, 'bytes are counted')
  t.ok((peers[0]?.lastHandshake ?? 0) > Date.now() - 60_000)
  t.same(problems, [])

  await until('one SA', async () => (await isSingle(one)) && (await isSingle(two)), 60_000)
  const before = await standing(one)
  await meet(one, two)
  t.equal(await standing(one), before, 'applying again changes nothing')
  await one.stop()
  await one.start()
  await one.backend.apply([peerOf(two)])
  await one.backend.tend()
  t.equal(await standing(one), before, 'a restart of the daemon changes nothing')
  t.ok(await pings(one, two))

  await one.backend.apply([])
  await until('the other side knows', async () => (await standing(two)) === '')
  t.notOk(await pings(two, one), 'a host that was removed has no SA')
})

/** Connections to a socket that are open now. */
const connections = (path: string): number =>
  readFileSync('/proc/net/unix', 'utf8')
    .split('\n')
    .filter((line) => line.endsWith(` ${path}`) && / 03 +\d+ /.test(line)).length

test('many questions at once take one connection, and none outlives who asks', needsIpsec, async (t) => {
  const world = await IpsecWorld.open()
  t.teardown(() => world.close())
  const host = await world.host({ number: 1, esp: 'userspace' })
  await host.start()
  const { backend } = host
  await Promise.all([backend.status(), backend.apply([]), backend.status(), backend.tend()])
  t.equal(connections(host.socket), 2, "the keeper's and the backend's")
  await host.stop()
  await until('both to be closed', () => connections(host.socket) === 0)
  host.begin()
  const late = host.backend.status().then(
    () => 'answered',
    () => 'refused',
  )
  await host.stop()
  await late
  await until('what began late to be closed', () => connections(host.socket) === 0)
})

test(
  'one changed peer of many is one changed connection, and the same peers are none',
  needsIpsec,
  async (t) => {
    const world = await IpsecWorld.open()
    t.teardown(() => world.close())
    const host = await world.host({ number: 1, esp: 'userspace' })
    await host.start()
    const told: string[] = []
    const connect = async (): Promise<Vici> => {
      const vici = await host.vici()
      const request: Vici['request'] = (command, message) => {
        if (/^(un)?load-conn$/.test(command))
          told.push(`${command} ${message?.name ?? Object.keys(message ?? {})}`)
        return vici.request(command, message)
      }
      return {
        request,
        list: (command) => vici.list(command),
        subscribe: (names, heard) => vici.subscribe(names, heard),
        ended: vici.ended,
        close: () => vici.close(),
      }
    }
    const credentials = () => ({
      certificate: host.certificate,
      key: host.identity.tlsKey(),
      authorities: [host.authority.certificate.pem],
    })
    const backend = new IpsecBackend(
      { connect, credentials, kernelSas: undefined, clock: realClock, log: host.log, meter: host.meter },
      {
        host: host.identity.id,
        environment: 'default',
        subnet: '10.42.0.0/16' as Cidr,
        esp: 'userspace',
        port: 4500,
      },
    )
    t.teardown(() => backend.close())
    const peers = Array.from({ length: 20 }, (_, at) => absentPeer(at))
    const after = async (wanted: readonly Peer[]): Promise<readonly string[]> => {
      told.length = 0
      await backend.apply(wanted)
      return [...told]
    }
    t.equal((await after(peers)).length, 20)
    t.same(await after(peers), [])
    const grown = peers.map((peer, at) =>
      at === 7 ? { ...peer, allowed: [...peer.allowed, '10.42.99.0/26' as Cidr] } : peer,
    )
    t.same(await after(grown), [`load-conn ${peers[7]?.host}`])
    t.same(await after(grown.slice(1)), [`unload-conn ${peers[0]?.host}`])
  },
)

const absentPeer = (at: number): Peer => ({
  host: hostIdOf(at + 2),
  publicKey: '',
  endpoint: { address: `192.168.77.${at + 100}`, port: 51_820 },
  allowed: [`10.42.${at + 2}.0/26` as Cidr],
  marks: false,
  ipsec: { port: 4500, esp: 'userspace' },
})

test('both initiate at once and end with one SA', needsIpsec, async (t) => {
  const { one, two } = await pair(t)
  for (const host of [one, two]) {
    const other = host === one ? two : one
    await host.backend.apply([peerOf(other, { endpoint: { address: '192.168.77.99', port: 1 } })])
  }
  await meet(one, two)
  const calls = [one, two].map(async (host) => {
    const other = host === one ? two : one
    const vici = await host.vici()
    await vici.request('initiate', { ike: other.identity.id, child: 'net', timeout: '-1' })
    vici.close()
  })
  await Promise.all(calls)
  await until('one SA', async () => (await isSingle(one)) && (await isSingle(two)), 30_000)
  await carried(one, two)
  t.ok((await isSingle(one)) && (await isSingle(two)), 'also after traffic')
})

test('a new block is carried, and the SA before it goes', needsIpsec, async (t) => {
  const { one, two } = await pair(t)
  await meet(one, two)
  await carried(one, two)
  await two.space.sh('ip addr add 10.42.20.1/32 dev lo')
  await route(one, '10.42.20.0/26')
  const allowed = [two.block, '10.42.20.0/26'] as Cidr[]
  const grown: Peer = peerOf(two, { allowed })
  await one.backend.apply([grown])
  await until(
    'the new block',
    async () => {
      const { status } = await one.space.runner.attempt([
        'ping',
        '-c1',
        '-W1',
        '-I',
        one.managed,
        '10.42.20.1',
      ])
      return status === 0
    },
    30_000,
  )
  await until('one SA', () => isSingle(one), 60_000)
  t.ok(await pings(one, two), 'and the old one still is')
})

test('charon killed on one side: both sides carry again by themselves', needsIpsec, async (t) => {
  const { one, two } = await pair(t)
  await meet(one, two)
  await carried(one, two)
  const ups = two.ups
  await two.kill()
  await until('charon is back', () => two.ups > ups, 30_000)
  await two.backend.apply([peerOf(one)])
  await route(two, one.block)
  await carried(two, one)
  await carried(one, two)
  t.pass()
})

test('charon ends when this host has no IPsec any more, and the peer is told', needsIpsec, async (t) => {
  const { one, two } = await pair(t)
  await meet(one, two)
  await carried(one, two)
  await two.stop()
  await endCharon(join(two.folder, 'state/ipsec'), realClock)
  t.same(two.pids(), [])
  await until('the other side knows', async () => (await standing(one)) === '', 30_000)
  t.notOk(existsSync(join(two.folder, 'state/ipsec')), 'a unit finds no configuration')
  t.equal(one.pids().length, 1, 'the charon of another host is left alone')
})
