/**
 * The whole way of a question without sockets: zone, search, Docker's names, upstreams with faults, cache; on a
 * clock that moves only when told.
 */
import { test } from 'tap'
import { Cache, storedReply } from '../../dns/cache.ts'
import { EngineNames } from '../../dns/engine-names.ts'
import { type Asking, type Exchange, Forwarder } from '../../dns/forwarder.ts'
import { hedge } from '../../dns/hedge.ts'
import { questionKey, type Reply, readReply } from '../../dns/message.ts'
import { Resolver } from '../../dns/resolver.ts'
import type { SearchMode } from '../../dns/search.ts'
import { nameserversIn, parseUpstream, type Upstream, Upstreams, upstreamsOf } from '../../dns/upstreams.ts'
import { questionBytes, questionFor } from '../../dns/writer.ts'
import { zoneOf } from '../../dns/zone.ts'
import { millis } from '../../model/time.ts'
import { made, type QuestionOptions, question, type ReadAnswer, readAnswer } from '../support/dns-messages.ts'
import { FakeClock, SeededRandom } from '../support/ports.ts'
import { containerIdOf, containerRecordOf, declaredOf, environmentOf, ip } from '../support/snapshots.ts'

type Behaviour = (message: Buffer, transport: 'udp' | 'tcp') => Buffer | 'silent' | 'broken'

/** Upstreams by address; each remembers how often it was asked. */
class FakeExchange implements Exchange {
  readonly asked: string[] = []
  readonly behaviours = new Map<string, Behaviour>()

  ask(upstream: Upstream, message: Uint8Array, { transport, read, signal }: Asking): Promise<Reply> {
    this.asked.push(`${upstream.address} ${transport}`)
    const answer = this.behaviours.get(upstream.address)?.(Buffer.from(message), transport) ?? 'silent'
    if (answer === 'broken') return Promise.reject(new DOMException('refused', 'NetworkError'))
    if (answer !== 'silent') {
      const reply = read(answer)
      if (reply !== undefined) return Promise.resolve(reply)
    }
    return new Promise((_, reject) => {
      signal.addEventListener('abort', () => reject(signal.reason), { once: true })
    })
  }
}

const good =
  (address = '192.0.2.7', ttl = 30): Behaviour =>
  (message) =>
    made(message, { addresses: [address], ttl })

const service = ip('169.254.169.250')
const host = '127.0.0.9'

interface World {
  readonly clock: FakeClock
  readonly exchange: FakeExchange
  readonly upstreams: Upstreams
  readonly resolver: Resolver
  ask(
    name: string,
    type?: string | number,
    options?: QuestionOptions & { from?: string },
  ): Promise<ReadAnswer>
}

const settle = async (): Promise<void> => {
  for (let turn = 0; turn < 20; turn++) await Promise.resolve()
}

/** A resolver whose clock runs on until the answer is there. */
function world(
  search: SearchMode = 'safe',
  behaviours: Record<string, Behaviour> = { '192.0.2.53': good() },
): World {
  const clock = new FakeClock()
  const exchange = new FakeExchange()
  for (const [address, behaviour] of Object.entries(behaviours)) exchange.behaviours.set(address, behaviour)
  const upstreams = new Upstreams()
  const deps = { clock, random: new SeededRandom(3), exchange, upstreams }
  const forwarder = new Forwarder(deps, { cache: { entries: 100, bytes: 1 << 20 }, concurrency: 50 })
  forwarder.use(Object.keys(behaviours).map((address) => ({ address, port: 53 })))
  const resolver = new Resolver({ forwarder }, { search, domain: 'rancher.internal' })
  const ask: World['ask'] = async (name, type = 'A', { from = host, ...options } = {}) => {
    const pending = Promise.resolve(resolver.respond(question(name, type, options), ip(from), 'udp'))
    let bytes: Uint8Array | undefined
    void pending.then((found) => {
      bytes = found ?? new Uint8Array(0)
    })
    for (let step = 0; step < 1000 && bytes === undefined; step++) {
      await settle()
      if (bytes === undefined) clock.advance(millis(10))
    }
    return readAnswer(bytes ?? new Uint8Array(0))
  }
  return { clock, exchange, upstreams, resolver, ask }
}

const environment = environmentOf({
  containers: [
    containerRecordOf(1, { stack: 'shop', service: 'web', name: 'shop-web-1', address: ip('10.42.0.11') }),
    containerRecordOf(2, {
      stack: 'shop',
      service: 'web',
      name: 'shop-web-2',
      address: ip('10.42.0.12'),
      index: 2,
    }),
    containerRecordOf(3, { stack: 'inner', service: 'web', name: 'inner-web', address: ip('10.42.0.13') }),
    containerRecordOf(4, { stack: 'com', service: 'github', name: 'thief', address: ip('10.42.0.66') }),
    containerRecordOf(5, { stack: 'shop', service: 'stopped', name: 'off', address: null, state: 'exited' }),
  ],
  services: [
    declaredOf({ stack: 'shop', name: 'db', kind: 'externalService', hostname: 'www.example.com' }),
    declaredOf({
      stack: 'shop',
      name: 'near',
      kind: 'externalService',
      hostname: 'web.shop.rancher.internal',
    }),
    declaredOf({ stack: 'shop', name: 'l1', kind: 'externalService', hostname: 'l2.shop.rancher.internal' }),
    declaredOf({ stack: 'shop', name: 'l2', kind: 'externalService', hostname: 'l1.shop.rancher.internal' }),
    declaredOf({ stack: 'shop', name: 'six', kind: 'externalService', externalIps: ['2001:db8::7'] }),
  ],
})

function ready(search: SearchMode = 'safe', behaviours?: Record<string, Behaviour>): World {
  const made = world(search, behaviours)
  made.resolver.apply(zoneOf(environment, { service }))
  return made
}

const soa = /^rancher\.internal\. SOA 1 /

test('names of the zone', async (t) => {
  const { ask, exchange } = ready()
  const first = await ask('web.shop.rancher.internal')
  const second = await ask('web.shop.rancher.internal')
  t.match(first, { rcode: 0, aa: 1, ra: 1, rd: 1 })
  t.not(first.answers[0], second.answers[0], 'the order rotates')
  t.strictSame([...first.answers].sort(), [...second.answers].sort())
  t.match(
    await ask('web.shop.rancher.internal', 'TXT'),
    { rcode: 0, answers: [], authority: [soa] },
    'NODATA with SOA',
  )
  t.match(
    await ask('shop.rancher.internal'),
    { rcode: 0, answers: [], authority: [soa] },
    'an empty non-terminal',
  )
  t.match(
    await ask('stopped.shop.rancher.internal'),
    { rcode: 0, answers: [], authority: [soa] },
    'a service that is down exists',
  )
  t.match(await ask('nosuch.shop.rancher.internal'), { rcode: 3, answers: [], authority: [soa] })
  t.match(await ask('rancher.internal', 'SOA'), { answers: [soa] })
  t.match(await ask('rancher.internal', 'NS'), {
    answers: ['rancher.internal. NS 1 rancher-metadata.rancher.internal.'],
  })
  t.match(await ask('six.shop.rancher.internal', 'AAAA'), { answers: [/AAAA 1 2001:db8/i] })
  t.match(
    await ask('near.shop.rancher.internal'),
    { answers: [/CNAME 1 web/, / A 1 /, / A 1 /] },
    'an alias inside the zone',
  )
  t.match(await ask('l1.shop.rancher.internal'), { rcode: 2 }, 'aliases in a circle')
  t.match(await ask('13.0.42.10.in-addr.arpa', 'PTR'), {
    aa: 1,
    answers: [/inner-web\.rancher\.internal\.$/],
  })
  t.match(await ask('99.0.42.10.in-addr.arpa', 'PTR'), {
    aa: 1,
    rcode: 3,
    authority: [/^42\.10\.in-addr\.arpa\. SOA/],
  })
  t.match(await ask('web.shop.rancher.internal', 252), { rcode: 5 }, 'no zone transfers')
  t.match(await ask('web.shop.rancher.internal', 'A', { class: 3 }), { rcode: 4 })
  t.match(
    await ask('web.shop.rancher.internal', 'A', { edns: 1232, version: 1 }),
    { answers: [], opt: { extendedRcode: 1 } },
    'BADVERS',
  )
  t.match(await ask('github.com', 'ANY'), { rcode: 0, answers: [/HINFO/] }, 'RFC 8482')
  t.strictSame(exchange.asked, [], 'nothing of this was asked of anybody')
})

test('search on the server', async (t) => {
  const safe = ready()
  t.match(
    (await safe.ask('web', 'A', { from: '10.42.0.11' })).answers.length,
    2,
    'short names in the own stack',
  )
  t.match(
    (await safe.ask('web', 'A', { from: '10.42.0.13' })).answers,
    ['web. A 1 10.42.0.13'],
    'which is another for another asker',
  )
  t.match(
    (await safe.ask('web.inner')).answers,
    ['web.inner. A 1 10.42.0.13'],
    'nobody in the world owns .inner',
  )
  t.match((await safe.ask('rancher-metadata')).answers, ['rancher-metadata. A 1 169.254.169.250'])
  t.match(await safe.ask('web', 'MX', { from: '10.42.0.11' }), { rcode: 0, answers: [], authority: [soa] })
  t.strictSame(safe.exchange.asked, [])
  t.match(
    (await safe.ask('github.com')).answers,
    ['github.com. A 30 192.0.2.7'],
    'public names are not captured',
  )
  t.match((await safe.ask('inner')).answers, ['inner. A 30 192.0.2.7'], 'a stack alone is no host')
  const unknown = ready('safe', { '192.0.2.53': (message) => made(message, { rcode: 3, soa: 5 }) })
  t.equal((await unknown.ask('web.shop')).answers.length, 2, 'local where the world knows no such name')
  const dead = ready('safe', { '192.0.2.53': () => 'silent' })
  const before = dead.clock.boot()
  t.equal((await dead.ask('web.shop')).answers.length, 2, 'and where the world does not answer')
  t.ok(dead.clock.boot() - before <= 600, 'soon')
  t.match(await dead.ask('github.org'), { rcode: 2, answers: [] })
  const once = dead.clock.boot()
  t.equal((await dead.ask('web.shop')).answers.length, 2)
  t.equal(dead.clock.boot(), once, 'at once when it is known to be dead')
  const always = ready('always')
  t.match((await always.ask('github.com')).answers, ['github.com. A 1 10.42.0.66'], 'as Rancher did')
  const never = ready('never')
  t.match((await never.ask('web', 'A', { from: '10.42.0.11' })).answers, ['web. A 30 192.0.2.7'])
})

test('aliases to elsewhere', async (t) => {
  const { ask, exchange } = ready()
  const chased = ['db.shop.rancher.internal. CNAME 1 www.example.com.', 'www.example.com. A 30 192.0.2.7']
  t.match(await ask('db.shop.rancher.internal'), { rcode: 0, aa: 1, answers: chased })
  t.match((await ask('db', 'A', { from: '10.42.0.11' })).answers[0], 'db. CNAME 1 www.example.com.')
  t.match(await ask('db.shop.rancher.internal', 'CNAME'), { answers: chased.slice(0, 1) })
  t.equal(exchange.asked.length, 1, 'the target was asked for once')
  exchange.behaviours.set('192.0.2.53', (message) => made(message, { rcode: 3 }))
  t.match(
    await ask('db.shop.rancher.internal', 'AAAA'),
    { rcode: 3, answers: chased.slice(0, 1) },
    'RFC 6604',
  )
})

test('before the first snapshot', async (t) => {
  const { ask, exchange } = world()
  t.match(await ask('web.shop.rancher.internal'), { rcode: 2 }, 'ours, but unknown: try again')
  t.match(await ask('web'), { rcode: 2 })
  t.strictSame(exchange.asked, [], 'nothing leaks')
  t.match(await ask('github.com'), { rcode: 0 })
})

test('names of Docker’s networks', async (t) => {
  const { ask, resolver, exchange } = ready()
  const endpoint = (n: number, address: string, ...names: string[]) => ({
    container: containerIdOf(n),
    address,
    names,
  })
  resolver.applyNetworks(
    new EngineNames([
      {
        id: 'n1',
        name: 'shop_default',
        subnets: ['172.18.0.0/16'],
        endpoints: [
          endpoint(1, '172.18.0.2', 'web', 'shop-web-1'),
          endpoint(90, '172.18.0.3', 'db', 'DB-1', 'api.example.com'),
        ],
      },
      {
        id: 'n2',
        name: 'other',
        subnets: [],
        endpoints: [endpoint(91, '172.19.0.3', 'secret'), endpoint(92, '172.19.0.2', 'me')],
      },
    ]),
  )
  const mine = { from: '10.42.0.11' }
  t.match(
    (await ask('db-1', 'A', mine)).answers,
    ['db-1. A 1 172.18.0.3'],
    'an unmanaged container beside a managed one',
  )
  t.match((await ask('db-1.shop_default', 'A', mine)).answers, ['db-1.shop_default. A 1 172.18.0.3'])
  t.match(
    (await ask('api.example.com', 'A', mine)).answers,
    ['api.example.com. A 1 172.18.0.3'],
    'an alias with dots',
  )
  t.match(await ask('db-1', 'AAAA', mine), { rcode: 0, answers: [] })
  t.match((await ask('web', 'A', mine)).answers.length, 2, 'ours come first')
  t.match(
    (await ask('db-1', 'A', { from: '172.18.0.3' })).answers,
    ['db-1. A 1 172.18.0.3'],
    'by address of the engine',
  )
  t.strictSame(exchange.asked, [])
  t.match(
    (await ask('secret', 'A', mine)).answers,
    ['secret. A 30 192.0.2.7'],
    'another network’s names are not given',
  )
  t.match((await ask('db-1')).answers, ['db-1. A 30 192.0.2.7'], 'nor to strangers')
})

test('the cache', async (t) => {
  const { ask, clock, exchange } = ready()
  await ask('a.example.com')
  clock.advance(millis(10_500))
  t.match(
    (await ask('A.example.com')).answers,
    ['a.example.com. A 20 192.0.2.7'],
    'kept, whatever its letters, with what is left',
  )
  t.equal(exchange.asked.length, 1)
  await ask('a.example.com', 'AAAA')
  t.equal(exchange.asked.length, 2, 'another type is another question')
  clock.advance(millis(20_000))
  t.match(
    (await ask('a.example.com')).answers,
    ['a.example.com. A 30 192.0.2.7'],
    'asked again when it is over',
  )
  exchange.behaviours.set('192.0.2.53', (message) => made(message, { rcode: 3, soa: 5 }))
  const many = await Promise.all([ask('no.example.com'), ask('no.example.com')])
  t.match(many, [{ rcode: 3 }, { rcode: 3 }])
  t.equal(exchange.asked.length, 4, 'equal questions are asked once')
  await ask('no.example.com')
  t.equal(exchange.asked.length, 4, 'also what does not exist is kept')
  const section = questionBytes('x', 1)
  const message = Buffer.from(questionFor(section, { id: 1, checkingDisabled: false, secure: false }))
  const reply = readReply(made(message, { addresses: ['192.0.2.1'] }), { id: 1, key: questionKey(section) })
  if (reply === undefined) throw new TypeError('unreadable')
  const cache = new Cache({ entries: 3, bytes: 1 << 20 })
  const stored = storedReply(reply, 12 + section.length, millis(0))
  for (const key of ['a', 'b', 'c']) cache.keep(key, stored)
  cache.find('a', millis(1))
  cache.keep('d', stored)
  t.strictSame(
    ['a', 'b', 'c', 'd'].filter((key) => cache.find(key, millis(1))),
    ['a', 'c', 'd'],
    'the least recently used goes',
  )
  for (let n = 0; n < 1000; n++) cache.keep(`k${n % 7}`, stored)
  t.equal(cache.size, 3)
  t.equal(cache.find('k6', millis(30_000)), undefined, 'and what is over')
  cache.clear()
  t.equal(cache.bytes, 0)
})

test('upstreams that fail', async (t) => {
  const second = good('192.0.2.8')
  const one = async (first: Behaviour, name = 'a.example.com') => {
    const made = ready('safe', { '192.0.2.1': first, '192.0.2.2': second })
    const began = made.clock.boot()
    const answer = await made.ask(name)
    return { ...made, answer, took: made.clock.boot() - began }
  }
  const dead = await one(() => 'silent')
  t.match(dead.answer.answers, [/192\.0\.2\.8/], 'the next is asked')
  t.ok(dead.took <= 200, 'soon')
  for (let n = 0; n < 3; n++) await dead.ask(`b${n}.example.com`)
  const before = dead.clock.boot()
  await dead.ask('c.example.com')
  t.equal(dead.clock.boot(), before, 'the dead one costs nobody anything')
  dead.exchange.behaviours.set('192.0.2.1', good('192.0.2.9'))
  for (let n = 0; n < 4; n++) {
    dead.clock.advance(millis(6000))
    await dead.ask(`d${n}.example.com`)
  }
  t.strictSame(
    dead.upstreams.status().map(({ up }) => up),
    [true, true],
    'and is noticed when it is back',
  )
  t.equal((await one(() => 'broken')).took, 0, 'refused: at once')
  t.match(
    (await one((message) => made(message, { rcode: 2 }))).answer.answers,
    [/192\.0\.2\.8/],
    'SERVFAIL is not final',
  )
  t.match((await one((message) => made(message, { rcode: 3, soa: 9 }))).answer, { rcode: 3 }, 'NXDOMAIN is')
  const lies = await one((message) => {
    const forged = made(message, { addresses: ['203.0.113.66'] })
    forged.writeUInt16BE((forged.readUInt16BE(0) + 1) & 0xffff, 0)
    return forged
  })
  t.match(lies.answer.answers, [/192\.0\.2\.8/], 'an answer with another id is not heard')
  const big = await one((message, transport) =>
    transport === 'udp' ? made(message, { truncated: true }) : made(message, { addresses: ['192.0.2.99'] }),
  )
  t.match(big.answer.answers, [/192\.0\.2\.99/], 'TCP where UDP was cut')
  t.strictSame(big.exchange.asked, ['192.0.2.1 udp', '192.0.2.1 tcp'])
  const old = await one((message) =>
    message.readUInt16BE(10) > 0 ? made(message, { rcode: 1 }) : made(message, { addresses: ['192.0.2.98'] }),
  )
  t.match(old.answer.answers, [/192\.0\.2\.98/], 'without EDNS for one that does not know it')
  const none = ready('safe', {})
  t.match(await none.ask('a.example.com', 'A', { edns: 1232 }), { rcode: 2, answers: [] }, 'nobody to ask')
  const all = ready('safe', { '192.0.2.1': () => 'silent' })
  const start = all.clock.boot()
  t.match(await all.ask('a.example.com'), { rcode: 2 })
  t.ok(all.clock.boot() - start < 5000, 'before the client gives up')
})

test('who the upstreams are', (t) => {
  t.strictSame(parseUpstream('192.0.2.1'), { address: '192.0.2.1', port: 53 })
  t.strictSame(parseUpstream('192.0.2.1:5353'), { address: '192.0.2.1', port: 5353 })
  t.strictSame(parseUpstream('2001:db8::1'), { address: '2001:db8::1', port: 53 })
  t.strictSame(parseUpstream('[::1]:54'), { address: '::1', port: 54 })
  for (const bad of ['', 'dns.example', '1.2.3.4:0', '1.2.3.4:99999', '[::1', '1.2.3'])
    t.equal(parseUpstream(bad), undefined, bad)
  t.strictSame(
    nameserversIn('# nameserver 1.1.1.1\nnameserver 192.0.2.1\n nameserver\tfe80::1\nnameserver x\nsearch a'),
    ['192.0.2.1', 'fe80::1'],
  )
  const sources = { configured: [], resolvConf: '', resolved: '', own: ['169.254.169.250'], ownPort: 10053 }
  const addresses = (given: object): readonly string[] =>
    upstreamsOf({ ...sources, ...given }).map(({ address }) => address)
  t.strictSame(
    addresses({ resolvConf: 'nameserver 169.254.169.250\nnameserver 192.0.2.1' }),
    ['192.0.2.1'],
    'never ourselves',
  )
  t.strictSame(
    addresses({ configured: ['169.254.169.250:10053', '169.254.169.250:5353'] }),
    ['169.254.169.250'],
    'at either port',
  )
  t.strictSame(addresses({ resolvConf: 'nameserver 127.0.0.53', resolved: 'nameserver 192.0.2.2' }), [
    '192.0.2.2',
  ])
  t.strictSame(
    addresses({ resolvConf: 'nameserver 127.0.0.53' }),
    ['127.0.0.53'],
    'the stub itself where nothing is behind it',
  )
  t.strictSame(addresses({}), [], 'never somebody whom nobody chose')
  t.strictSame(addresses({ configured: ['192.0.2.9'], resolvConf: 'nameserver 192.0.2.1' }), ['192.0.2.9'])
  t.end()
})

test('hedging', async (t) => {
  const clock = new FakeClock()
  const options = { deadline: millis(1000), isGood: (value: number) => value > 0 }
  const trial = (after: number, value: number | 'fails' | 'hangs') => ({
    after: millis(after),
    run: (): Promise<number> => {
      if (value === 'hangs') return new Promise(() => {})
      return value === 'fails' ? Promise.reject(new TypeError('no')) : Promise.resolve(value)
    },
  })
  t.equal(await hedge(clock, [], options), undefined, 'nothing to try')
  t.equal(
    await hedge(clock, [trial(0, 'fails'), trial(500, -1), trial(500, 7)], options),
    7,
    'failing starts the next',
  )
  t.equal(await hedge(clock, [trial(0, -1), trial(500, 'fails')], options), -1, 'the last that came')
  const slow = hedge(clock, [trial(0, 'hangs'), trial(100, 3)], options)
  clock.advance(millis(100))
  t.equal(await slow, 3, 'beside one that hangs')
  const never = hedge(clock, [trial(0, 'hangs')], options)
  clock.advance(millis(1000))
  t.equal(await never, undefined, 'at the deadline')
})

test('garbage never throws and is never answered with more', (t) => {
  const { resolver } = ready('safe', {})
  const random = new SeededRandom(Number(process.env.DROVER_FUZZ_SEED ?? 7))
  const rounds = Number(process.env.DROVER_FUZZ ?? 5000)
  for (let round = 0; round < rounds; round++) {
    const bytes = question(
      ['web.shop', 'web.shop.rancher.internal', '11.0.42.10.in-addr.arpa'][random.below(3)] ?? '',
      random.below(260),
      { edns: random.below(70_000) % 65_536 },
    )
    for (let edits = random.below(8); edits > 0; edits--)
      bytes[random.below(bytes.length)] = random.below(256)
    const answer = resolver.respond(
      bytes.subarray(0, random.below(bytes.length + 1)),
      ip('10.42.0.11'),
      'udp',
    )
    if (answer instanceof Promise || answer === undefined) continue
    if (answer.length > 4096) t.fail(`round ${round}`)
  }
  t.pass(`${rounds} datagrams`)
  t.end()
})
