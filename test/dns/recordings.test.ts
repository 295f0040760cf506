/**
 * The answers recorded from rancher-dns 0.17.4, asked of our resolver again. Every deliberate difference is a row of
 * `differences` with its reason; a row that nothing needs any more fails.
 */

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'tap'
import { QuestionLog } from '../../dns/answers/question-log.ts'
import { Resolver } from '../../dns/answers/resolver.ts'
import { SocketExchange } from '../../dns/forwarding/exchange.ts'
import { Forwarder } from '../../dns/forwarding/forwarder.ts'
import { Forwarders } from '../../dns/forwarding/forwarders.ts'
import { Upstreams } from '../../dns/forwarding/upstreams.ts'
import type { ContainerRecord } from '../../model/records.ts'
import { compiledIn, DatagramWay, testArena, testCookies } from '../support/dns-batches.ts'
import { made, question, type ReadAnswer, readAnswer, stubUpstream } from '../support/dns-messages.ts'
import { SeededRandom } from '../support/ports.ts'
import { standingClock } from '../support/real-clock.ts'
import { containerRecordOf, declaredOf, environmentOf, ip } from '../support/snapshots.ts'
import { zoneOf } from '../support/zone-of.ts'

interface Recorded {
  readonly client: string
  readonly q: string
  readonly type: string
  readonly class?: string
  readonly edns_bufsize?: number | null
  readonly rcode: number
  readonly aa: number
  readonly tc: number
  readonly rd: number
  readonly ra: number
  readonly answer: readonly { name: string; type: string; ttl: number; data: string }[]
  readonly authority: readonly { name: string; type: string; ttl: number; data: string }[]
}

type Expected = Pick<ReadAnswer, 'rcode' | 'aa' | 'tc' | 'rd' | 'ra' | 'answers' | 'authority'>

const fixtures = join(import.meta.dirname, '../fixtures')
const golden = JSON.parse(
  readFileSync(join(fixtures, 'dns-0.17.4.golden.json'), 'utf8'),
) as readonly Recorded[]

/** What its answers file can say and an environment cannot: CNAME and TXT beside the services. */
const unmapped = new Set(['loop.rancher.internal', 't.rancher.internal'])

const manyAddresses = Array.from({ length: 200 }, (_, at) => `10.42.1.${at + 1}`)

let number = 0
const container = (service: string, stack: string, address: string, over: Partial<ContainerRecord> = {}) =>
  containerRecordOf(++number, { stack, service, address: ip(address), ...over })

/** The recorded input as an environment: its names are services, sidekicks, links and containers. */
const environment = environmentOf({
  containers: [
    container('web', 'shop', '10.42.0.11', {
      name: 'shop-web-1',
      engineAddresses: ['127.0.0.1'],
      links: { mydb: 'linked' },
    }),
    container('web', 'shop', '10.42.0.12', { name: 'shop-web-2', index: 2 }),
    container('ttl', 'shop', '10.42.0.1'),
    container('www', 'shop', '10.42.7.7'),
    container('example', 'com', '10.42.9.9', { sidekick: 'shadow' }),
    ...manyAddresses.map((address, at) => container('manyrr', 'shop', address, { index: at + 1 })),
    containerRecordOf(999, { name: 'linked', address: ip('10.42.5.5') }),
  ],
  services: [
    declaredOf({ stack: 'shop', name: 'db', kind: 'externalService', hostname: 'www.example.com' }),
    declaredOf({ stack: 'shop', name: 'dbnx', kind: 'externalService', hostname: 'nxdb.example.com' }),
  ],
})

const soa = 'rancher.internal. SOA 1 rancher.internal. rancher.internal. <serial> 60 10 86400 1'
const lower = (recorded: Recorded): string => recorded.q.toLowerCase()
const isOwn = (name: string): boolean => name.endsWith('.rancher.internal')
const aliases = new Set(['db.shop', 'dbnx.shop.rancher.internal'])
const nowhere = new Set(['nosuch.rancher.internal', 'a.b.c.rancher.internal'])

/** Whether the recorded name is a local one for its client. */
function isLocal(recorded: Recorded): boolean {
  const name = lower(recorded)
  if (isOwn(name)) return !nowhere.has(name)
  const mine = ['web', 'www', 'mydb'].includes(name) && recorded.client === '127.0.0.1'
  return mine || ['web.shop', 'ttl.shop', 'db.shop', 'shadow.example.com', 'rancher-metadata'].includes(name)
}

interface Difference {
  readonly why: string
  readonly when: (recorded: Recorded) => boolean
  readonly instead: (expected: Expected, recorded: Recorded) => Expected
}

const differences: readonly Difference[] = [
  {
    why: 'RA says what the server can do, in every answer, and RD is copied (RFC 1035 4.1.1)',
    when: ({ ra, rd }) => ra === 0 || rd === 0,
    instead: (expected) => ({ ...expected, ra: 1, rd: 1 }),
  },
  {
    why: 'local names live 1 s, the default of the last catalogue; the recordings were made with --ttl 5',
    when: (recorded) => recorded.aa === 1,
    instead: (expected) => ({
      ...expected,
      answers: expected.answers.map((text) => text.replace(/ (4|5|42) /, ' 1 ')),
      authority: expected.authority.map((text) => text.replace(' 5 ', ' 1 ')),
    }),
  },
  {
    why: 'names of elsewhere keep the TTL of their upstream (RFC 2181 8): the original cut it to its own',
    when: ({ aa, answer }) => aa === 0 && answer.length > 0,
    instead: (expected) => ({
      ...expected,
      answers: expected.answers.map((text) => text.replace(' 4 ', ' 30 ')),
    }),
  },
  {
    why: 'an existing name of another type is NODATA with SOA (RFC 2308 2.2), not NXDOMAIN or a bare NOERROR',
    when: (recorded) =>
      isLocal(recorded) && !['A', 'ANY', 'PTR'].includes(recorded.type) && !aliases.has(lower(recorded)),
    instead: (expected) => ({ ...expected, rcode: 0, aa: 1, answers: [], authority: [soa] }),
  },
  {
    why: 'an alias shows its CNAME for every type and follows it (RFC 1034 3.6.2)',
    when: (recorded) => lower(recorded) === 'db.shop' && !['A', 'CNAME', 'ANY'].includes(recorded.type),
    instead: (expected) => ({ ...expected, aa: 1, answers: ['db.shop. CNAME 1 www.example.com.'] }),
  },
  {
    why: 'an alias that leads nowhere shows its CNAME and the rcode of the last name (RFC 6604 2.1)',
    when: (recorded) => lower(recorded).startsWith('dbnx.') && !['CNAME', 'ANY'].includes(recorded.type),
    instead: (expected) => ({
      ...expected,
      answers: ['dbnx.shop.rancher.internal. CNAME 1 nxdb.example.com.'],
      authority: [],
    }),
  },
  {
    why: 'the apex of the zone is ours (RFC 1034 4.2.1), not an upstream’s',
    when: (recorded) => lower(recorded) === 'rancher.internal' && recorded.type !== 'ANY',
    instead: (expected) => ({ ...expected, aa: 1, answers: [], authority: [soa] }),
  },
  {
    why: 'NXDOMAIN holds for every type (RFC 8020 2): AAAA is not made NOERROR',
    when: (recorded) => lower(recorded) === 'nxfoo.example.com' && recorded.type === 'AAAA',
    instead: (expected) => ({ ...expected, rcode: 3 }),
  },
  {
    why: 'ANY gets one small record (RFC 8482 4.2), not NOTIMP',
    when: ({ type }) => type === 'ANY',
    instead: (expected, recorded) => {
      const own = isLocal(recorded) || lower(recorded) === 'rancher.internal' ? 1 : 0
      if (nowhere.has(lower(recorded))) return { ...expected, rcode: 3, aa: 1, authority: [soa] }
      return { ...expected, rcode: 0, aa: own, answers: [`${lower(recorded)}. HINFO 1 `] }
    },
  },
  {
    why: 'every address of the subnet has its name and is never forwarded (RFC 6303 for private space)',
    when: ({ q }) => q === '12.0.42.10.in-addr.arpa',
    instead: (expected) => ({
      ...expected,
      aa: 1,
      answers: ['12.0.42.10.in-addr.arpa. PTR 1 shop-web-2.rancher.internal.'],
    }),
  },
]

const expectationOf = (recorded: Recorded): Expected => {
  const text = (list: Recorded['answer']): string[] =>
    list.map(({ name, type, ttl, data }) => `${name.toLowerCase()} ${type} ${ttl} ${data}`)
  const { rcode, aa, tc, rd, ra, answer, authority } = recorded
  return { rcode, aa, tc, rd, ra, answers: text(answer), authority: text(authority) }
}

const sorted = ({ rcode, aa, tc, rd, ra, answers, authority }: Expected): Expected => ({
  rcode,
  aa,
  tc,
  rd,
  ra,
  answers: [...answers].sort(),
  authority,
})

/** The upstream of the recordings. */
const recordedUpstream = () =>
  stubUpstream(({ name, type }, asked) => {
    if (name.startsWith('nx')) return made(asked, { rcode: 3 })
    if (name.startsWith('servfail')) return made(asked, { rcode: 2 })
    return made(asked, { addresses: type === 1 ? ['93.184.216.34'] : [] })
  })

test('the recordings of rancher-dns 0.17.4', async (t) => {
  const upstream = await recordedUpstream()
  t.teardown(() => upstream.close())
  const upstreams = new Upstreams()
  const deps = {
    clock: standingClock,
    random: new SeededRandom(1),
    exchange: new SocketExchange(),
    upstreams,
  }
  const forwarder = new Forwarder(deps, { cache: { entries: 1000, bytes: 1 << 20 }, concurrency: 100 })
  forwarder.use([{ address: '127.0.0.1', port: upstream.port }])
  const forwarders = new Forwarders(forwarder, { make: () => forwarder, own: [] })
  const arena = testArena()
  const compiled = compiledIn(arena)
  const resolver = new Resolver(
    {
      forwarders,
      compiled,
      cookies: testCookies(standingClock),
      log: new QuestionLog(standingClock, () => undefined),
    },
    { search: 'always', domain: 'rancher.internal' },
  )
  const way = new DatagramWay({ arena, compiled, resolver, clock: standingClock })
  resolver.apply(zoneOf(environment, { service: ip('169.254.169.250') }))

  const used = new Set<Difference>()
  let compared = 0
  for (const recorded of golden) {
    if (unmapped.has(recorded.q)) continue
    const options = { class: recorded.class === 'CH' ? 3 : 1, edns: recorded.edns_bufsize ?? undefined }
    const asked = question(recorded.q, recorded.type, options)
    const answer = readAnswer(await way.respond(asked, ip(recorded.client)))
    const again = readAnswer(await way.respond(asked, ip(recorded.client)))
    t.strictSame(sorted(again), sorted(answer), 'the second time, when it is compiled')
    let expected = expectationOf(recorded)
    for (const difference of differences.filter(({ when }) => when(recorded))) {
      used.add(difference)
      expected = difference.instead(expected, recorded)
    }
    compared += 1
    const same = JSON.stringify(sorted(answer)) === JSON.stringify(sorted(expected))
    if (!same)
      t.strictSame(sorted(answer), sorted(expected), `${recorded.client} ${recorded.q} ${recorded.type}`)
  }
  t.equal(compared, golden.length - 32, 'all but what cannot be said in an environment')
  t.strictSame(
    differences.filter((difference) => !used.has(difference)).map(({ why }) => why),
    [],
    'every difference is needed',
  )
  t.strictSame(
    upstream.asked.filter((text) => /rancher|\.shop|in-addr/.test(text)),
    [],
    'nothing of ours reaches the upstream',
  )
})
