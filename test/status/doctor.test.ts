/**
 * What the daemon knows, check by check: facts of a healthy host give nothing, and each fault gives its line.
 */
import { type Test, test } from 'tap'
import { doctorText } from '../../cli/doctor.ts'
import { type DaemonFacts, daemonChecks, sorted } from '../../status/doctor.ts'
import { errorIn, findingsOf, warningIn } from '../../status/finding.ts'
import type { Vitals } from '../../status/vitals.ts'
import { container, containerId, environment, host, hostId, ip } from '../support/records.ts'

const now = Date.UTC(2026, 5, 1)
const [minute, day] = [60_000, 86_400_000]

const vitals: Vitals = {
  version: '0.1.0',
  hostName: 'h1',
  since: now - day,
  store: { kind: 'etcd', url: 'etcd://192.0.2.9:2379', connected: true },
  docker: { connected: true, endpoint: 'unix:///var/run/docker.sock', version: '20.10.24' },
  tunnel: {
    interface: 'drover0',
    engine: 'userspace',
    wanted: 'auto',
    reason: 'the kernel has no WireGuard',
    running: true,
    mtu: 1420,
    problem: '',
    facts: null,
  },
  ipsec: { esp: null, running: false, reason: 'as configured', perCpu: false },
  chosen: new Map(),
  servers: { dns: '169.254.169.250:53', metadata: '169.254.169.250:80' },
  peers: [],
  problems: [],
  lastSeen: new Map([[hostId('h2'), now]]),
  pathMtus: new Map(),
  now,
}

const fingerprint = 'a1b2c3d4e5f60718293a'
/** The host that looks, and holds the key of the CA. */
const keyholder = host('h1', {}, { authority: fingerprint })

const well: DaemonFacts = {
  environment: environment({ hosts: [keyholder, host('h2')] }),
  vitals,
  now,
  writes: [],
  joins: [],
  ahead: new Map([[hostId('h2'), 900]]),
  authorities: [{ fingerprint, until: now + 3000 * day }],
  certificates: [{ host: 'h2', due: now + day, until: now + 11 * day }],
  store: { since: now - day, ownHead: now - minute },
  restarts: { dns: 0, tunnel: 0 },
  mended: { times: 0, last: 0 },
  upstreams: [{ address: '192.0.2.53', port: 53, up: true, loops: false }],
  skipped: [],
}

/** What is found when these facts differ from those of a healthy host. */
function finds(t: Test, given: Partial<DaemonFacts>, ...wanted: readonly RegExp[]): void {
  const found = findingsOf(daemonChecks, { ...well, ...given })
  t.match(
    found.map(({ severity, where, what, remedy }) => `${severity} ${where}: ${what}; ${remedy}`),
    wanted,
  )
  t.equal(found.length, wanted.length, found.map(({ what }) => what).join('\n'))
}

const withVitals = (given: Partial<Vitals>): Partial<DaemonFacts> => ({ vitals: { ...vitals, ...given } })

test('a healthy daemon', (t) => {
  finds(t, {})
  t.end()
})

test('what status says is found as well', (t) => {
  const { docker, store, tunnel } = vitals
  finds(
    t,
    withVitals({ docker: { ...docker, connected: false } }),
    /^error docker: the Docker engine at unix/,
  )
  finds(
    t,
    withVitals({ store: { ...store, connected: false } }),
    /^error store: .* is out of reach: going on/,
    /^warning store: .* out of reach since 2026-05-31T00:00:00/,
  )
  finds(
    t,
    withVitals({ tunnel: { ...tunnel, running: false } }),
    /^error tunnel: the tunnel process of drover0/,
  )
  finds(
    t,
    withVitals({ problems: [errorIn('trust', 'the CA is locked', 'unlock it')] }),
    /^error trust: the CA is/,
  )
  finds(
    t,
    withVitals({ pathMtus: new Map([[hostId('h2'), 1232]]) }),
    /^warning hosts: the path to h2 carries/,
  )
  const away = host('h2', { present: false, reachability: 'silent', alive: undefined })
  finds(
    t,
    { environment: environment({ hosts: [keyholder, away] }) },
    /^error hosts: host h2 .* is away.*the last answer came 2026-06-01/,
  )
  const peers = [
    {
      host: hostId('h2'),
      backend: 'ipsec',
      engine: 'kernel',
      endpoint: '',
      lastHandshake: 0,
      received: 0,
      sent: 0,
    },
  ]
  finds(
    t,
    {
      environment: environment({ hosts: [keyholder, away] }),
      vitals: { ...vitals, peers, lastSeen: new Map() },
    },
    /no answer by ipsec since this daemon started/,
  )
  t.end()
})

test('the store', (t) => {
  finds(
    t,
    { store: { since: now - day, ownHead: now - 4 * minute } },
    /^error store: .* takes nothing from this host/,
  )
  finds(t, { store: { since: now - minute, ownHead: null } })
  t.end()
})

test('trust', (t) => {
  const ca = { fingerprint, until: now + 300 * day }
  finds(t, { authorities: [ca] }, /^warning trust: the CA a1b2c3d4e5f60718 ends 2027-03-28/)
  finds(
    t,
    { authorities: [{ ...ca, until: now - day }] },
    /^error trust: the CA .* ended 2026-05-31.*nothing/,
  )
  const late = { host: 'h2', due: now - 2 * 60 * minute, until: now + 10 * day }
  finds(t, { certificates: [late] }, /^error trust: nobody renews certificates: those of h2 .*2026-06-11/)
  const other = { host: 'h3', due: now + day, until: now + 11 * day }
  finds(t, { certificates: [late, other] }, /^error trust: the certificates of h2 should have been renewed/)
  const attempt = {
    who: 'by nobody who signs',
    what: 'block: not an envelope',
    times: 1,
    first: now,
    last: now,
  }
  finds(
    t,
    { writes: [attempt] },
    /^warning trust: .* by nobody who signs: block: not an envelope, 2026-06-01/,
  )
  finds(
    t,
    { joins: [{ ...attempt, who: '192.0.2.66', what: 'too many tries', times: 7, first: now - day }] },
    /^warning trust: 192\.0\.2\.66 was not let in: too many tries, 7 times from 2026-05-31.* to 2026-06-01/,
  )
  t.end()
})

test('the key of the CA', (t) => {
  const away = { present: false, reachability: 'silent', alive: undefined } as const
  const elsewhere = (given: Partial<Parameters<typeof host>[1]>) =>
    environment({ hosts: [host('h1'), host('h2', given, { authority: fingerprint })] })
  finds(t, { environment: elsewhere({}) })
  const [, gone] = findingsOf(daemonChecks, { ...well, environment: elsewhere(away) })
  t.match(gone, { where: 'trust', what: /^h2, which holds the key of the CA, is away/ })
  finds(t, { environment: environment({ hosts: [host('h1')] }) }, /no host holds a usable key of the CA/)
  const former = host('h1', {}, { authority: 'another' })
  finds(t, { environment: environment({ hosts: [former] }) }, /no host holds a usable key of the CA/)
  t.end()
})

test('hosts and containers', (t) => {
  const ahead = new Map([
    [hostId('h2'), 95_000],
    [hostId('h3'), -3_600_000],
  ])
  const hosts = [keyholder, host('h2'), host('h3')]
  finds(
    t,
    { environment: environment({ hosts }), ahead },
    /the clock of h2 is 95 s ahead of this host's/,
    /the clock of h3 is 3600 s behind this host's/,
  )
  const web = container('web', { address: ip('10.42.0.2') })
  const sharer = container('log', { address: ip('10.42.0.2'), networkFrom: web.id })
  finds(t, { environment: environment({ hosts, containers: [web, sharer] }) })
  const split = { ...sharer, address: ip('10.42.0.3') }
  finds(
    t,
    { environment: environment({ hosts, containers: [web, split] }) },
    /container log shares the network of web, but of an earlier run.*docker restart log/,
  )
  finds(t, { environment: environment({ hosts, containers: [web, { ...split, state: 'exited' }] }) })
  finds(
    t,
    {
      environment: environment({
        hosts,
        containers: [web, container('web', { id: containerId('w2'), host: hostId('h2') })],
      }),
    },
    /container name web is used on h1 and h2/,
  )
  finds(
    t,
    {
      environment: environment({
        hosts,
        containers: [{ ...web, problems: ['requested address 10.9.9.9 is outside'] }],
      }),
    },
    /container web: requested address 10\.9\.9\.9/,
  )
  const skipped = [
    { container: web.id, what: 'container', name: 'a.b', why: 'a dot divides labels' },
    { container: web.id, what: 'stack', name: '-x', why: 'no hyphen' },
    { container: undefined, what: 'service', name: 'y y', why: 'no spaces' },
  ]
  finds(
    t,
    { environment: environment({ hosts, containers: [web] }), skipped },
    /the container name a\.b on h1 is in no answer of DNS: a dot/,
    /the stack name -x of container web on h1/,
    /the service name y y is in no answer/,
  )
  t.end()
})

test('what ran', (t) => {
  const upstream = { address: '192.0.2.53', port: 53, up: false, loops: false }
  finds(t, { upstreams: [] }, /^warning dns: no upstream resolver is known/)
  finds(t, { upstreams: undefined })
  finds(
    t,
    { upstreams: [upstream] },
    /^error dns: the upstream resolver 192\.0\.2\.53:53 does not answer, and there is/,
  )
  finds(
    t,
    { upstreams: [upstream, { ...upstream, address: '2001:db8::1', up: true }] },
    /^warning dns: .* does not answer; /,
  )
  finds(
    t,
    {
      upstreams: [
        { ...upstream, loops: true, up: true },
        { ...upstream, up: true, address: '192.0.2.54' },
      ],
    },
    /^warning dns: .*:53 forwards to this host/,
  )
  finds(t, { restarts: { tunnel: 1, dns: 3 } }, /^warning tunnel: .* once/, /^warning dns: .* 3 times/)
  finds(
    t,
    { mended: { times: 2, last: now - minute } },
    /^warning network: something changes .* 2 times, last 2026/,
  )
  finds(t, { mended: { times: 2, last: now - day } })
  t.end()
})

test('the text for people', (t) => {
  t.equal(doctorText({ findings: [] }), 'nothing found')
  const findings = sorted([
    warningIn('dns', 'slow', 'wait'),
    warningIn('docker', 'old', 'upgrade'),
    errorIn('docker', 'gone', 'start it'),
    errorIn('docker', 'gone', 'start it'),
  ])
  t.equal(
    doctorText({ findings }),
    'docker\n  error    gone; start it\n  warning  old; upgrade\ndns\n  warning  slow; wait',
  )
  t.end()
})
