import { test } from 'tap'
import { without } from '../../model/holding.ts'
import { type Cidr, type Ipv4, parseCidr } from '../../model/ip.ts'
import type { HostRecord } from '../../model/records.ts'
import { instant } from '../../model/time.ts'
import type { Peer } from '../../tunnel/backend.ts'
import { type EngineFacts, factLines } from '../../tunnel/engine-facts.ts'
import { peersFor } from '../../tunnel/peers.ts'
import { readState } from '../../tunnel/uapi-peers.ts'
import { WireguardBackend } from '../../tunnel/wireguard-backend.ts'
import { hostIdOf, hostOf, hostRecordOf, ip, settingsOf } from '../support/snapshots.ts'

const cidr = (text: string): Cidr => parseCidr(text) ?? ('' as Cidr)
const keyOf = (n: number): string => Buffer.alloc(32, n).toString('base64')
const claim = (n: number, confirmed = true) => ({ host: hostIdOf(n), epoch: 0, container: null, confirmed })

const hosts = new Map(
  [3, 1, 2].map((n) => {
    const endpoint = { address: `192.0.2.${n}`, wireguard: 51820 }
    const record = hostRecordOf(n, { wireguardKey: keyOf(n), endpoint })
    return [record.id, { record, alive: undefined, reachability: 'unknown' as const, present: true }]
  }),
)

const environment = {
  revision: 1,
  settings: settingsOf(),
  self: hostIdOf(1),
  hosts,
  blocks: new Map([
    [cidr('10.42.0.0/26'), claim(1)],
    [cidr('10.42.0.64/26'), claim(2)],
    [cidr('10.42.1.0/26'), claim(2)],
  ]),
  pins: new Map([
    [ip('10.42.0.65'), claim(1)],
    [ip('10.42.9.9'), claim(3)],
    [ip('10.42.9.10'), claim(3, false)],
  ]),
  containers: new Map(),
  services: new Map(),
}

test('peers are the other hosts with what they hold', async (t) => {
  const peers = peersFor(environment, hostIdOf(1))
  t.same(
    peers.map(({ host }) => host),
    [hostIdOf(2), hostIdOf(3)],
  )
  const [second, third] = peers
  t.same(third?.allowed, ['10.42.9.9/32'], 'a confirmed pin')
  t.same(second?.allowed, [
    '10.42.0.64/32',
    '10.42.0.66/31',
    '10.42.0.68/30',
    '10.42.0.72/29',
    '10.42.0.80/28',
    '10.42.0.96/27',
    '10.42.1.0/26',
  ])
  t.same(second?.endpoint, { address: '192.0.2.2', port: 51820 })
})

test('a network without an address covers all the others', async (t) => {
  for (let hole = 0; hole < 64; hole++) {
    const left = without(cidr('10.42.0.0/26'), [(ip('10.42.0.0') + hole) as Ipv4])
    const size = left.reduce((sum, one) => sum + 2 ** (32 - Number(one.split('/')[1])), 0)
    t.equal(size, 63)
    t.notOk(left.includes(cidr(`10.42.0.${hole}/32`)))
  }
  t.same(without(cidr('10.42.0.0/32'), [ip('10.42.0.0')]), [])
})

/** An engine that remembers what it was sent and answers what it is told. */
class FakeEngine {
  answer = 'errno=0\n\n'
  readonly sent: string[][] = []
  async get(): Promise<string> {
    return this.answer
  }
  async set(lines: readonly string[]): Promise<void> {
    this.sent.push([...lines])
  }
}

const hexKey = (n: number): string => Buffer.alloc(32, n).toString('hex')
const peer = (n: number, more: Partial<Peer> = {}): Peer => ({
  host: hostIdOf(n),
  publicKey: keyOf(n),
  endpoint: { address: `192.0.2.${n}`, port: 51820 },
  allowed: [cidr(`10.42.${n}.0/26`)],
  marks: false,
  ...more,
})
const lineUp = (n: number): string =>
  `public_key=${hexKey(n)}\nendpoint=192.0.2.${n}:51820\nallowed_ip=10.42.${n}.0/26\n`
const own = `private_key=${hexKey(9)}\nlisten_port=51820\n`

test('a backend sends only what differs', async (t) => {
  const engine = new FakeEngine()
  const backend = new WireguardBackend(engine, { privateKey: keyOf(9), port: 51820 })
  await backend.apply([peer(2)])
  t.same(engine.sent.pop(), [
    `private_key=${hexKey(9)}`,
    'listen_port=51820',
    `public_key=${hexKey(2)}`,
    'endpoint=192.0.2.2:51820',
    'replace_allowed_ips=true',
    'allowed_ip=10.42.2.0/26',
  ])
  engine.answer = `${own}${lineUp(2)}errno=0\n\n`
  await backend.apply([peer(2)])
  t.same(engine.sent, [], 'the same again')
  engine.answer = `${own}${lineUp(2).replace('192.0.2.2', '198.51.100.7')}errno=0\n\n`
  await backend.apply([peer(2)])
  t.same(engine.sent, [], 'a peer that roamed is left where it is')
  await backend.apply([peer(2, { endpoint: { address: '2001:db8::2', port: 1 } })])
  t.same(engine.sent.pop(), [`public_key=${hexKey(2)}`, 'endpoint=[2001:db8::2]:1'])
  engine.answer = `${own}${lineUp(2)}${lineUp(3)}errno=0\n\n`
  await backend.apply([peer(3)])
  t.same(engine.sent.pop(), [`public_key=${hexKey(2)}`, 'remove=true'])
  engine.answer = 'errno=0\n\n'
  await backend.apply([peer(3)])
  t.equal(engine.sent.pop()?.length, 6, 'an engine that forgot everything is told everything')
})

test('marks are set for peers that understand them, on an engine that does', async (t) => {
  const engine = new FakeEngine()
  const backend = new WireguardBackend(engine, { privateKey: keyOf(9), port: 51820 })
  const [marking, other] = [peer(2, { marks: true }), peer(3)]
  engine.answer = `${own}${lineUp(2)}${lineUp(3)}errno=0\n\n`
  await backend.apply([marking, other])
  t.same(engine.sent, [], 'another engine is not asked for what it would refuse')
  const ours = 'drover_aead=openssl\ndrover_capabilities=later,checksum-marks\n'
  engine.answer = `${ours}${own}${lineUp(2)}${lineUp(3)}errno=0\n\n`
  await backend.apply([marking, other])
  t.same(engine.sent.pop(), [`public_key=${hexKey(2)}`, 'drover_marks=true'])
  engine.answer = `${ours}${own}${lineUp(2)}drover_marks=true\n${lineUp(3)}errno=0\n\n`
  await backend.apply([marking, other])
  t.same(engine.sent, [], 'the same again')
  await backend.apply([peer(2), other])
  t.same(engine.sent.pop(), [`public_key=${hexKey(2)}`, 'drover_marks=false'], 'its engine has changed')
})

test('only a peer whose engine is ours and says so gets marks', async (t) => {
  const marksOf = (record: Partial<HostRecord>) => {
    const other = hostRecordOf(2, record)
    const both = new Map([hostRecordOf(1), other].map((one) => [one.id, hostOf(one)]))
    return peersFor({ ...environment, hosts: both }, hostIdOf(1)).map(({ marks }) => marks)
  }
  const capabilities = ['checksum-marks']
  t.same(marksOf({ capabilities, wireguardEngine: 'userspace' }), [true])
  t.same(marksOf({ capabilities, wireguardEngine: 'kernel' }), [false])
  t.same(marksOf({ capabilities: [], wireguardEngine: 'userspace' }), [false])
  t.same(marksOf({}), [false], 'a host that says neither')
})

test('what our engine says of itself reads back', async (t) => {
  const facts: EngineFacts = {
    aead: 'libsodium',
    handshakes: 'libsodium',
    ipv6: false,
    offloads: { tso: 'on', uso: 'refused', gso: 'refused', gro: 'off', coalesce: 'on', fused: 'on' },
    capabilities: ['checksum-marks'],
  }
  const lines = factLines(facts)
  t.ok(lines.every((line) => /^drover_[a-z0-9_]+=/.test(line)))
  t.same(readState(`${lines.join('\n')}\n${own}${lineUp(2)}errno=0\n\n`).facts, facts)
  t.same(readState(`${own}${lineUp(2)}${lines.join('\n')}\n`).facts, undefined, 'lines of a peer are not its')
  const newer = readState('drover_aead=other\ndrover_tso=halfway\ndrover_later=1\n').facts
  t.same(
    newer,
    { aead: 'other', handshakes: 'libsodium', ipv6: false, offloads: {}, capabilities: [] },
    'of another version',
  )
})

test('what an engine says of its peers', async (t) => {
  const engine = new FakeEngine()
  const backend = new WireguardBackend(engine, { privateKey: keyOf(9), port: 51820 })
  engine.answer = `${own}${lineUp(2)}last_handshake_time_sec=5\nlast_handshake_time_nsec=7000000\nrx_bytes=1\ntx_bytes=2\n${lineUp(4)}errno=0\n\n`
  await backend.apply([peer(2)])
  t.match(await backend.status(), {
    peers: [
      {
        host: hostIdOf(2),
        engine: 'userspace',
        endpoint: '192.0.2.2:51820',
        lastHandshake: 5007,
        received: 1,
        sent: 2,
      },
    ],
    facts: undefined,
  })
  t.same(readState('nonsense\n\n=\n').peers, [])
})

test('a preshared key is set, changed and taken away; which one, both sides agree by what they publish', async (t) => {
  const engine = new FakeEngine()
  const backend = new WireguardBackend(engine, { privateKey: keyOf(9), port: 51820 })
  const secret = (n: number) => ({ presharedKey: keyOf(n) })
  await backend.apply([peer(2, secret(5)), peer(3)])
  t.match(engine.sent[0]?.join(), `preshared_key=${hexKey(5)}`)
  const has = (n: number): string =>
    `public_key=${hexKey(2)}\npreshared_key=${hexKey(n)}\nendpoint=192.0.2.2:51820\nallowed_ip=10.42.2.0/26\n`
  engine.answer = `private_key=${hexKey(9)}\nlisten_port=51820\n${has(5)}errno=0\n\n`
  await backend.apply([peer(2, secret(5))])
  t.equal(engine.sent.length, 1, 'nothing to say')
  t.match(await backend.status(), { peers: [{ preshared: true }] })
  await backend.apply([peer(2, secret(6))])
  t.same(engine.sent[1], [`public_key=${hexKey(2)}`, `preshared_key=${hexKey(6)}`], 'and nothing else')
  await backend.apply([peer(2)])
  t.same(engine.sent[2], [`public_key=${hexKey(2)}`, `preshared_key=${hexKey(0)}`])
  engine.answer = `private_key=${hexKey(9)}\nlisten_port=51820\n${has(0)}errno=0\n\n`
  await backend.apply([peer(2)])
  t.equal(engine.sent.length, 3)
  t.match(await backend.status(), { peers: [{ preshared: false }] })

  const agreed = (...since: readonly (number | undefined)[]): readonly (string | undefined)[] => {
    const both = new Map(
      [...hosts].slice(1).map(([id, host], at) => {
        const own = since[at]
        const record = { ...host.record, ...(own === undefined ? {} : { presharedSince: instant(own) }) }
        return [id, { ...host, record }]
      }),
    )
    const ids = [...both.keys()]
    return ids.flatMap((self) =>
      peersFor({ ...environment, hosts: both }, self, (_, context) => `${context.since}`).map(
        ({ presharedKey }) => presharedKey,
      ),
    )
  }
  t.same(agreed(100, 200), ['100', '100'], 'the older one, on both')
  t.same(agreed(200, 100), ['100', '100'])
  t.same(agreed(200, undefined), [undefined, undefined])
  t.same(agreed(undefined, undefined), [undefined, undefined])
})
