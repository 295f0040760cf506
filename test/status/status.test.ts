/**
 * The status value as a pure function of a snapshot, and its text.
 */
import { test } from 'tap'
import { containersText, hostsText, statusText, table } from '../../cli/render.ts'
import { containersView, hostsView, problemsOf, statusOf, type Vitals } from '../../status/status.ts'
import { container, environment, host, hostId, ip } from '../support/records.ts'

const vitals: Vitals = {
  version: '0.1.0',
  hostName: 'h1',
  since: Date.UTC(2026, 0, 1),
  store: { kind: 'etcd', url: 'etcd://192.0.2.9:2379', connected: false },
  docker: { connected: true, endpoint: 'unix:///var/run/docker.sock', version: '20.10.24' },
  tunnel: { interface: 'drover0', engine: 'userspace', running: true, mtu: 1420, problem: '' },
  servers: { dns: '169.254.169.250:53', metadata: '169.254.169.250:80' },
  peers: [
    {
      host: hostId('h2'),
      backend: 'wireguard',
      engine: 'userspace',
      endpoint: '192.0.2.2:51820',
      lastHandshake: 0,
      received: 1,
      sent: 2,
    },
  ],
  problems: [],
  lastSeen: new Map([[hostId('h2'), Date.UTC(2026, 0, 2)]]),
  now: Date.UTC(2026, 0, 3),
}
const snapshot = environment({
  hosts: [
    host('h1', {}, { managed: ip('10.42.0.1') }),
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
  t.match(status.peers, [{ host: 'h2', reachability: 'silent', lastHandshake: null }])
  const problems = status.problems.map(({ what }) => what)
  t.match(problems, [
    /store etcd.*192\.0\.2\.9:2379 is out of reach/,
    /host h2 .* is away/,
    /container name web is used on h1 and h2/,
    /requested address 10\.9\.9\.9/,
  ])
  t.match(statusText(status), /NOT CONNECTED: going on with the last snapshot[\s\S]*! host h2/)
  t.strictSame(problemsOf(environment({})), [], 'nothing to say about a healthy host')
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
    { name: 'h1', blocks: ['10.42.0.0/26'], reachability: 'answers' },
    { name: 'h2', alive: false, lastSeen: '2026-01-02T00:00:00.000Z' },
  ])
  t.match(hostsText(hosts), /h2 .* no +silent/)
  t.equal(table(['A', 'B'], [['long', 'x']]), 'A     B\nlong  x')
  t.end()
})
