/**
 * What is asked of others: the cache, upstreams with faults, whom to ask and when to ask the next.
 */
import { test } from 'tap'
import { readReply } from '../../../dns/codec/message.ts'
import { questionBytes, questionFor } from '../../../dns/codec/writer.ts'
import { Cache, storedReply } from '../../../dns/forwarding/cache.ts'
import { hedge } from '../../../dns/forwarding/hedge.ts'
import { nameserversIn, parseUpstream, upstreamsOf } from '../../../dns/forwarding/upstreams.ts'
import { millis } from '../../../model/time.ts'
import { made } from '../../support/dns-messages.ts'
import { type Behaviour, good, ready } from '../../support/dns-world.ts'
import { FakeClock } from '../../support/ports.ts'

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
  clock.advance(millis(2000))
  for (const way of ['kept', 'compiled'])
    t.match((await ask('no.example.com')).authority, [/ SOA 3 /], `and ${way}, with what is left`)
  clock.advance(millis(3100))
  await ask('no.example.com')
  t.equal(exchange.asked.length, 5, 'as long as its SOA says (RFC 2308 5)')
  await ask('no.example.com', 'A', { flags: 0x0110 })
  t.equal(exchange.asked.length, 6, 'who checks for himself (CD) is not told what others were')
  const section = questionBytes('x', 1)
  const message = Buffer.from(questionFor(section, { id: 1, checkingDisabled: false, secure: false }))
  const reply = readReply(made(message, { addresses: ['192.0.2.1'] }), { id: 1, question: section })
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

test('times to live of all sorts', async (t) => {
  const { ask, exchange } = ready('safe', {
    '192.0.2.53': (message) => made(message, { rcode: 3, soa: 5, soaTtl: 86_400 }),
  })
  for (const way of ['relayed', 'kept', 'compiled'])
    t.match(
      (await ask('no.example.com')).authority,
      [/ SOA 5 /],
      `${way}: a SOA lives no longer than what it stands for (RFC 2308 5)`,
    )
  exchange.behaviours.set('192.0.2.53', good('192.0.2.7', 2 ** 31))
  for (const round of [2, 3]) {
    t.match(await ask('odd.example.com'), { answers: ['odd.example.com. A 0 192.0.2.7'] })
    t.equal(exchange.asked.length, round, 'more than 31 bits are none, and not kept (RFC 2181 8)')
  }
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
