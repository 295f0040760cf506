/**
 * The status value as a pure function of a snapshot, and its text.
 */
import { test } from 'tap'
import { containersText, hostsText, statusText, table } from '../../cli/render.ts'
import { containersView, hostsView, statusOf } from '../../status/status.ts'
import type { PeerState, Vitals } from '../../status/vitals.ts'
import { container, environment, host, hostId, ip } from '../support/records.ts'

const byWireguard: PeerState = {
  host: hostId('h2'),
  backend: 'wireguard',
  engine: 'userspace',
  endpoint: '192.0.2.2:51820',
  lastHandshake: 0,
  received: 1,
  sent: 2,
  preshared: true,
}
const vitals: Vitals = {
  version: '0.1.0',
  hostName: 'h1',
  since: Date.UTC(2026, 0, 1),
  store: { kind: 'etcd', url: 'etcd://192.0.2.9:2379', connected: false },
  docker: { connected: true, endpoint: 'unix:///var/run/docker.sock', version: '20.10.24' },
  tunnel: {
    interface: 'drover0',
    engine: 'userspace',
    wanted: 'auto',
    reason: 'the kernel has no WireGuard',
    running: true,
    mtu: 1420,
    problem: '',
    facts: {
      aead: 'openssl',
      handshakes: 'openssl',
      ipv6: true,
      offloads: { tso: 'on', uso: 'refused', gso: 'refused', gro: 'on', coalesce: 'off' },
      capabilities: ['checksum-marks'],
    },
  },
  ipsec: { esp: null, running: false, reason: 'the kernel has no ESP', perCpu: false },
  chosen: new Map([[hostId('h2'), { backend: 'wireguard', reason: 'h2 has no IPsec' }]]),
  servers: { dns: '169.254.169.250:53', metadata: '169.254.169.250:80' },
  peers: [byWireguard],
  problems: [],
  lastSeen: new Map([[hostId('h2'), Date.UTC(2026, 0, 2)]]),
  pathMtus: new Map([[hostId('h2'), 1232]]),
  now: Date.UTC(2026, 0, 3),
}
const snapshot = environment({
  hosts: [
    host('h1', {}, { managed: ip('10.42.0.1'), wireguardEngine: 'kernel' }),
    host('h2', { present: false, reachability: 'silent', alive: undefined }),
  ],
  containers: [
    container('web', {
      stack: 'shop',
      service: 'web',
      address: ip('10.42.0.2'),
      problems: ['requested address 10.9.9.9 is outside the subnet'],
    }),
    container('web', { id: container('other').id, host: hostId('h2') }),
  ],
  blocks: { '10.42.0.0/26': 'h1' },
})

test('status', (t) => {
  const status = statusOf(snapshot, vitals)
  t.equal(status.managed, '10.42.0.1')
  t.equal(status.containers, 1)
  t.match(status.peers, [{ host: 'h2', reachability: 'silent', lastHandshake: null, pathMtu: 1232 }])
  const problems = status.problems.map(({ what }) => what)
  t.match(problems, [
    /store etcd.*192\.0\.2\.9:2379 is out of reach/,
    /path to h2 carries packets of 1232 bytes, containers send up to 1420/,
    /host h2 .* is away/,
    /container name web is used on h1 and h2/,
    /requested address 10\.9\.9\.9/,
  ])
  t.match(statusText(status), /NOT CONNECTED: going on with the last snapshot[\s\S]*! host h2/)
  t.match(
    statusText(status),
    /PEER +ENDPOINT +BACKEND +ENGINE +TUNNEL +MTU[\s\S]*h2 .* silent +1232 .* h2 has no IPsec/,
  )
  t.match(statusText(status), /ipsec +none: the kernel has no ESP/)
  const unknown = statusOf(snapshot, { ...vitals, pathMtus: new Map() })
  t.match(unknown.peers, [{ pathMtu: null }])
  t.notMatch(statusText(unknown), /the path to/)
  const wide = statusOf(snapshot, { ...vitals, pathMtus: new Map([[hostId('h2'), 1420]]) })
  t.notMatch(statusText(wide), /the path to/)
  const healthy = statusOf(environment({}), {
    ...vitals,
    store: { ...vitals.store, connected: true },
    pathMtus: new Map(),
  })
  t.strictSame(healthy.problems, [], 'nothing to say about a healthy host')
  t.end()
})

test('a peer that two backends lead to', (t) => {
  const ipsec = {
    ...byWireguard,
    backend: 'ipsec',
    engine: 'kernel',
    endpoint: '192.0.2.2:4500',
    received: 10,
    sent: 20,
  }
  const chosen = new Map([[hostId('h2'), { backend: 'ipsec', reason: 'as configured' }]])
  const both = {
    ...vitals,
    chosen,
    peers: [byWireguard, ipsec],
    ipsec: { esp: 'kernel', running: true, reason: '', perCpu: false },
  }
  const status = statusOf(snapshot, both)
  t.same(status.peers.length, 1)
  t.match(status.peers, [
    {
      backend: 'ipsec',
      reason: 'as configured',
      engine: 'kernel',
      endpoint: '192.0.2.2:4500',
      received: 11,
      sent: 22,
    },
  ])
  t.match(statusText(status), /ipsec +by the kernel, charon running, one SA per peer \(none per processor\)/)
  t.match(hostsView(snapshot, both), [{ backend: '' }, { backend: 'ipsec' }])
  const broken = statusOf(snapshot, { ...both, peers: [byWireguard] })
  t.match(broken.peers, [{ backend: 'ipsec', endpoint: '', engine: '', lastHandshake: null, sent: 2 }])
  t.end()
})

test('the tunnel in the status', (t) => {
  const { tunnel } = vitals
  const text = (given: Partial<typeof tunnel>): string =>
    statusText(statusOf(snapshot, { ...vitals, tunnel: { ...tunnel, ...given } }))
  t.match(text({}), /tunnel +drover0, userspace \(the kernel has no WireGuard\), MTU 1420, running/)
  t.match(text({}), /engine +openssl; uses tso gro; refused uso gso; switched off coalesce; IPv4 and IPv6/)
  const kernel = text({ engine: 'kernel', reason: 'the kernel has WireGuard', facts: null })
  t.match(kernel, /tunnel +drover0, kernel \(the kernel has WireGuard\)/)
  t.notMatch(kernel, /^engine/m)
  t.match(text({ problem: 'the port is taken' }), /! the tunnel refuses its settings: the port is taken/)
  const broken = { running: false, problem: 'drover0 is of kind bridge' }
  t.match(text(broken), /! the tunnel drover0 cannot be set up: drover0 is of kind bridge/)
  t.match(text({ running: false }), /! the tunnel process of drover0 does not answer/)
  t.match(text({ running: false, engine: 'kernel' }), /! the WireGuard device drover0 is not there/)
  t.end()
})

test('ps and hosts', (t) => {
  const containers = containersView(snapshot)
  t.match(containers, [
    { name: 'web', host: 'h1', address: '10.42.0.2', stack: 'shop' },
    { name: 'web', host: 'h2', address: null },
  ])
  t.match(containersText(containers), /CONTAINER +NAME[\s\S]*shop\/web +10\.42\.0\.2 +h1/)
  const hosts = hostsView(snapshot, vitals)
  t.match(hosts, [
    { name: 'h1', blocks: ['10.42.0.0/26'], reachability: 'answers', engine: 'kernel', docker: '20.10.24' },
    { name: 'h2', alive: false, engine: '', lastSeen: '2026-01-02T00:00:00.000Z' },
  ])
  t.match(hostsText(hosts), /h2 .* no +silent/)
  t.equal(table(['A', 'B'], [['long', 'x']]), 'A     B\nlong  x')
  t.end()
})
