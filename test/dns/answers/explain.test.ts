/**
 * `drover dns explain`: the same zone as the answers, in words.
 */
import { test } from 'tap'
import { explainedText } from '../../../cli/render.ts'
import { EngineNames } from '../../../dns/answers/engine-names.ts'
import { explained } from '../../../dns/answers/explain.ts'
import { answersInWords, inquiriesFor } from '../../../dns/answers/inquiry.ts'
import { made } from '../../support/dns-messages.ts'
import {
  containerIdOf,
  containerRecordOf,
  declaredOf,
  environmentOf,
  hostIdOf,
  hostOf,
  hostRecordOf,
  ip,
} from '../../support/snapshots.ts'
import { zoneOf } from '../../support/zone-of.ts'

const web = (n: number, over: Parameters<typeof containerRecordOf>[1] = {}) =>
  containerRecordOf(n, {
    stack: 'shop',
    service: 'web',
    name: `web-${n}`,
    index: n,
    address: ip(`10.42.0.${n}`),
    exposed: ['80/tcp'],
    ...over,
  })

const environment = environmentOf({
  hosts: [hostOf(hostRecordOf(1)), hostOf(hostRecordOf(2), { present: false })],
  containers: [
    web(1, { links: { mine: 'other' } }),
    web(2, { health: 'unhealthy' }),
    web(3, { host: hostIdOf(2) }),
    web(4, { state: 'exited' }),
    web(5, { address: null }),
    containerRecordOf(6, {
      name: 'other',
      address: ip('10.42.0.6'),
      dns: ['127.0.0.11', '169.254.169.250', '192.0.2.99'],
    }),
  ],
  services: [
    declaredOf({ stack: 'shop', name: 'db', kind: 'externalService', hostname: 'db.example.com' }),
    declaredOf({ stack: 'com', name: 'github', kind: 'externalService', externalIps: ['192.0.2.3'] }),
  ],
})
const engine = new EngineNames([
  {
    id: 'n',
    name: 'n',
    subnets: [],
    endpoints: [
      { container: containerIdOf(1), address: '172.18.0.2', names: ['me'] },
      { container: containerIdOf(9), address: '172.18.0.3', names: ['cache'] },
    ],
  },
])
const zone = zoneOf(environment, { service: ip('169.254.169.250') })
const upstreams = ['192.0.2.53:53 (3 ms)']
const own = ['169.254.169.250']
const finding = (name: string, from?: string) =>
  explained({ environment, zone, engine, mode: 'safe', upstreams, own }, name, from)
const ask = (name: string, from?: string) => finding(name, from).explained

test('what decides', (t) => {
  t.match(ask('web.shop.rancher.internal'), {
    rule: 'it is a name of the environment',
    found: 'web.shop.rancher.internal',
    answer: ['A 10.42.0.1'],
  })
  t.match(ask('web', 'web-1'), { rule: /search list/, found: 'web.shop.rancher.internal' })
  t.match(ask('WEB.shop.rancher.internal.', '10.42.0.1'), { name: 'web.shop.rancher.internal' })
  t.match(ask('web'), { rule: /no upstream is asked/, found: null, answer: ['NXDOMAIN'] })
  t.match(finding('www.example.org', 'web-1'), {
    explained: { rule: 'it is none of ours: the upstreams are asked: 192.0.2.53:53 (3 ms)', found: null },
    openFor: ip('10.42.0.1'),
  })
  t.match(ask('www.example.org', 'other'), { rule: /own resolvers \(--dns\) are asked: 192\.0\.2\.99$/ })
  t.match(finding('github.com'), { explained: { rule: /\.com exists in the world/ }, openFor: 0 })
  t.match(ask('mine.rancher.internal', 'web-1'), { rule: /by a link/, answer: ['A 10.42.0.6'] })
  t.match(ask('cache', 'web-1'), { rule: /Docker networks/, answer: ['A 172.18.0.3'] })
  t.match(finding('db.shop.rancher.internal').openFor, 0, 'it leads elsewhere')
  t.match(ask('nosuch.rancher.internal'), { found: null, answer: ['NXDOMAIN'] })
  t.match(ask('shop.rancher.internal'), { answer: [/NODATA/] })
  t.match(ask('_80._tcp.web.shop.rancher.internal'), { answer: ['SRV 0 1 80 1.web.shop.rancher.internal'] })
  t.match(ask('1.0.42.10.in-addr.arpa'), { rule: /never forwarded/, answer: ['PTR web-1.rancher.internal'] })
  t.match(ask('99.0.42.10.in-addr.arpa'), { answer: ['NXDOMAIN'] })
  t.match(ask('42.10.in-addr.arpa'), { answer: [/^NODATA/] })
  t.throws(() => ask('not a name'), { code: 'USAGE', message: /no message .* carry .*: not a name/ })
  t.throws(() => ask('web', 'nobody'), { code: 'USAGE', message: /no container of this host .*: nobody/ })
  t.throws(() => ask('web', 'web-3'), { code: 'USAGE', message: /web-3 is a container of host2: ask there/ })
  t.end()
})

test('who is in, and why', (t) => {
  const found = ask('web.shop.rancher.internal')
  t.strictSame(
    found.containers.map(({ name, given, why }) => `${name} ${given} ${why}`),
    [
      'web-1 true it runs',
      'web-2 false it is unhealthy',
      'web-3 false its host does not answer',
      'web-4 false it is exited',
      'web-5 false it has no address',
    ],
  )
  t.match(ask('2.web.shop.rancher.internal').containers, [{}, { name: 'web-2', given: true }])
  t.match(ask('_80._tcp.web.shop.rancher.internal').containers, [
    { name: 'web-1', given: true },
    { name: 'web-2', given: false },
  ])
  t.match(explainedText(found), /web-2 +host1 +10\.42\.0\.2 +left out +it is unhealthy/)
  t.end()
})

test('what others say, in words', (t) => {
  const told = (name: string, ...answers: Parameters<typeof made>[1][]): readonly string[] => {
    const questions = inquiriesFor(name)
    return answersInWords(
      questions,
      questions.map((one, at) => made(Buffer.from(one), answers[at] ?? {})),
    )
  }
  const one = { addresses: ['192.0.2.1'] }
  t.strictSame(told('www.example.org', one), ['A 192.0.2.1'], 'NODATA of the other type says nothing new')
  t.strictSame(told('www.example.org', { rcode: 3 }, { rcode: 3 }), ['NXDOMAIN'])
  t.strictSame(told('www.example.org'), ['NODATA'])
  t.strictSame(told('1.2.0.192.in-addr.arpa', { rcode: 2 }), ['SERVFAIL'])
  t.equal(inquiriesFor('_80._tcp.example.org').length, 1, 'SRV')
  t.end()
})
