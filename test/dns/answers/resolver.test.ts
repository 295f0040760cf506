/**
 * The whole way of a question without sockets: zone, search, aliases, Docker's names.
 */
import { test } from 'tap'
import { EngineNames } from '../../../dns/answers/engine-names.ts'
import { readQuery } from '../../../dns/codec/message.ts'
import { made, question } from '../../support/dns-messages.ts'
import { ready, world } from '../../support/dns-world.ts'
import { SeededRandom } from '../../support/ports.ts'
import { containerIdOf, ip } from '../../support/snapshots.ts'

const soa = /^rancher\.internal\. SOA 1 /

test('names of the zone', async (t) => {
  const { ask, exchange } = ready()
  const first = await ask('web.shop.rancher.internal')
  const second = await ask('web.shop.rancher.internal')
  t.match(first, { rcode: 0, aa: 1, ra: 1, rd: 1 })
  t.not(first.answers[0], second.answers[0], 'the order rotates')
  t.strictSame([...first.answers].sort(), [...second.answers].sort())
  await ask('web.shop.rancher.internal', 'AAAA')
  const third = await ask('web.shop.rancher.internal')
  t.not(third.answers[0], second.answers[0], 'also for a client that asks for both kinds of address')
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
  const { length } = safe.exchange.asked
  for (const type of ['A', 'AAAA', 'MX'])
    t.match(
      await safe.ask('inner', type),
      { rcode: 3, aa: 1, answers: [], authority: [soa] },
      'one label never leaves: a stack alone is no host',
    )
  t.equal(safe.exchange.asked.length, length)
  t.match((await safe.ask('com')).answers, ['com. A 30 192.0.2.7'], 'but for what is the world’s')
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
  t.match((await always.ask('nosuch')).answers, ['nosuch. A 30 192.0.2.7'], 'as Rancher did, too')
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
  t.match(await ask('web.inner'), { rcode: 2 }, 'nobody in the world owns .inner')
  t.match(await ask('11.0.42.10.in-addr.arpa', 'PTR'), { rcode: 2 }, 'perhaps of our subnet')
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
  t.match(await ask('secret', 'A', mine), { rcode: 3, answers: [] }, 'another network’s names are not given')
  t.match(await ask('db-1'), { rcode: 3, answers: [] }, 'nor to strangers')
})

/** How long an answer may be: what the question says, as far as it can be read, never less than 512 bytes. */
function allowed(bytes: Uint8Array): number {
  const query = readQuery(bytes)
  return query.is === 'query' ? Math.min(Math.max(query.query.edns?.size ?? 512, 512), 4096) : 512
}

test('garbage never throws and is never answered with more than was asked for', (t) => {
  const { way, resolver } = ready('safe', {})
  const random = new SeededRandom(Number(process.env.DROVER_FUZZ_SEED ?? 7))
  const rounds = Number(process.env.DROVER_FUZZ ?? 5000)
  const names = [
    'web.shop',
    'web.shop.rancher.internal',
    '11.0.42.10.in-addr.arpa',
    '1.web.shop',
    'x'.repeat(63),
  ]
  let answered = 0
  let longest = 0
  for (let round = 0; round < rounds; round++) {
    const edns = random.below(2) === 0 ? undefined : random.below(65_536)
    const bytes = question(names[random.below(names.length)] ?? '', random.below(260), { edns })
    for (let edits = random.below(8); edits > 0; edits--)
      bytes[random.below(bytes.length)] = random.below(256)
    const message = bytes.subarray(0, random.below(bytes.length + 1))
    const began = performance.now()
    const answers = [
      way.respond(message, ip('10.42.0.11')),
      resolver.respond(message, ip('10.42.0.11'), 'tcp'),
    ]
    longest = Math.max(longest, performance.now() - began)
    const [datagram] = answers
    if (datagram instanceof Uint8Array) answered += 1
    if (datagram instanceof Uint8Array && datagram.length > allowed(message)) t.fail(`round ${round}`)
  }
  t.ok(answered > rounds / 100, `${answered} of ${rounds} answered at once`)
  t.comment(`the longest took ${longest.toFixed(1)} ms`)
  t.end()
})
