/**
 * What keeps forwarded answers right and there: letters that a forger cannot guess, old answers for bad times,
 * asking again before the end, not asking again at once.
 */
import { test } from 'tap'
import { questionBytes } from '../../dns/codec/writer.ts'
import { mixedCase } from '../../dns/forwarding/mixed-case.ts'
import { millis } from '../../model/time.ts'
import { made } from '../support/dns-messages.ts'
import { type Behaviour, good, ready } from '../support/dns-world.ts'
import { SeededRandom } from '../support/ports.ts'
import { ip } from '../support/snapshots.ts'

const letters = (message: Buffer): string =>
  message
    .subarray(12)
    .toString('latin1')
    .replace(/[^a-zA-Z]/g, '')

/** Gives the question back in lower case, as some do. */
const lowering: Behaviour = (message, transport) => {
  const lower = Buffer.from(message)
  for (let at = 12; at < lower.length - 4; at++) {
    const byte = lower[at] ?? 0
    if (byte >= 0x41 && byte <= 0x5a) lower[at] = byte + 32
  }
  return good()(lower, transport)
}

test('letters of random case', async (t) => {
  const seen: string[] = []
  const { ask, exchange } = ready('safe', {
    '192.0.2.53': (message, transport) => {
      seen.push(letters(message))
      return good()(message, transport)
    },
  })
  for (const name of ['alphabet-one', 'alphabet-two', 'alphabet-three'])
    t.match((await ask(`${name}.example.org`)).answers, [`${name}.example.org. A 30 192.0.2.7`])
  t.ok(new Set(seen.map((text) => text.replace(/[^A-Z]/g, ''))).size > 1, 'not the same twice')
  t.ok(seen.every((text) => /[A-Z]/.test(text)))
  t.equal(exchange.asked.length, 3, 'and UDP is enough')
  const question = questionBytes('a1-_.example', 1)
  const mixed = mixedCase(question, new SeededRandom(4))
  t.equal(Buffer.from(mixed).toString('latin1').toLowerCase(), Buffer.from(question).toString('latin1'))
  t.end()
})

test('an upstream that does not keep them', async (t) => {
  const { ask, exchange } = ready('safe', { '192.0.2.53': lowering })
  t.match((await ask('first.example.org')).answers, [/192\.0\.2\.7/])
  t.strictSame(exchange.asked, ['192.0.2.53 udp', '192.0.2.53 tcp'], 'TCP decides')
  t.match((await ask('second.example.org')).answers, [/192\.0\.2\.7/])
  t.strictSame(exchange.asked.slice(2), ['192.0.2.53 udp'], 'then it is known')
})

test('a forged answer in the wrong letters', async (t) => {
  const { ask } = ready('safe', {
    '192.0.2.53': (message, transport) =>
      transport === 'tcp' ? good('192.0.2.99')(message, transport) : lowering(message, transport),
  })
  t.match((await ask('bank.example.org')).answers, ['bank.example.org. A 30 192.0.2.99'])
})

/** Where the OPT of a question of ours begins: behind the question, at the root's name. */
const optAt = (message: Buffer): number => {
  let at = 12
  while ((message[at] ?? 0) !== 0) at += 1 + (message[at] ?? 0)
  return at + 5
}

/** Answers with a cookie, or with its own rcode, as servers of RFC 7873 do. */
function baked(message: Buffer, cookie: Uint8Array, { rcode = 0, address = '192.0.2.7' } = {}): Buffer {
  const answer = made(message, rcode === 0 ? { addresses: [address] } : {})
  answer.writeUInt16BE(1, 10)
  answer.writeUInt16BE((answer.readUInt16BE(2) & 0xfff0) | (rcode & 15), 2)
  const head = [0, 0, 41, 4, 208, rcode >>> 4, 0, 0, 0, 0, 4 + cookie.length, 0, 10, 0, cookie.length]
  return Buffer.concat([answer, Uint8Array.from([...head, ...cookie])])
}

test('cookies towards upstreams', async (t) => {
  const secret = Buffer.from('serverid')
  let mood: 'strict' | 'forged' | 'bare' = 'strict'
  const shown: string[] = []
  const { ask, exchange } = ready('safe', {
    '192.0.2.53': (message, transport) => {
      const cookie = message.subarray(optAt(message) + 15)
      shown.push(cookie.toString('hex'))
      const right = Buffer.concat([cookie.subarray(0, 8), secret])
      if (mood === 'bare') return good('192.0.2.66')(message, transport)
      if (mood === 'forged' && transport === 'udp')
        return baked(message, Buffer.alloc(16), { address: '192.0.2.66' })
      return cookie.equals(right) ? baked(message, right) : baked(message, right, { rcode: 23 })
    },
  })
  t.match((await ask('one.example.org')).answers, [/192\.0\.2\.7/])
  t.strictSame(
    shown.map((text) => text.length / 2),
    [8, 16],
    'BADCOOKIE brings the cookie, which is shown at once',
  )
  t.equal(shown[1]?.slice(0, 16), shown[0])
  await ask('two.example.org')
  t.strictSame(exchange.asked, Array(3).fill('192.0.2.53 udp'), 'from then on one question is enough')
  mood = 'bare'
  t.match((await ask('three.example.org')).answers, [/192\.0\.2\.66/])
  t.strictSame(exchange.asked.slice(3), ['192.0.2.53 udp', '192.0.2.53 tcp'], 'without one TCP decides')
  await ask('four.example.org')
  t.strictSame(exchange.asked.slice(5), ['192.0.2.53 udp'], 'and then it is one that gives none')
  mood = 'forged'
  const forged = await ask('five.example.org')
  t.strictSame(forged.answers, [], 'another cookie than ours is not heard')
})

test('old answers', async (t) => {
  const { ask, clock, exchange } = ready()
  await ask('a.example.org')
  clock.advance(millis(60_000))
  exchange.behaviours.set('192.0.2.53', () => 'silent')
  const before = clock.boot()
  const first = await ask('a.example.org', 'A', { edns: 1232 })
  t.match(first, { rcode: 0, answers: ['a.example.org. A 30 192.0.2.7'] }, 'RFC 8767')
  t.ok(clock.boot() - before <= 2000, 'soon')
  clock.advance(millis(10_000))
  const later = clock.boot()
  t.match((await ask('a.example.org')).answers, [/192\.0\.2\.7/])
  t.equal(clock.boot(), later, 'at once where nobody is known to answer')
  exchange.behaviours.set('192.0.2.53', (message) => made(message, { rcode: 2 }))
  clock.advance(millis(10_000))
  t.match((await ask('a.example.org')).rcode, 0, 'also where the upstream fails')
  exchange.behaviours.set('192.0.2.53', (message) => made(message, { rcode: 3, soa: 5 }))
  clock.advance(millis(10_000))
  await ask('b.example.org')
  t.match((await ask('a.example.org')).rcode, 3, 'but not where it says that there is no such name')
  exchange.behaviours.set('192.0.2.53', () => 'silent')
  clock.advance(millis(2 * 86_400_000))
  t.match((await ask('a.example.org')).rcode, 2, 'and not for ever')
})

test('hot names never run out', async (t) => {
  const { ask, clock, exchange } = ready()
  await ask('a.example.org')
  clock.advance(millis(26_000))
  await ask('a.example.org')
  t.equal(exchange.asked.length, 1)
  clock.advance(millis(1500))
  t.match((await ask('a.example.org')).answers, ['a.example.org. A 3 192.0.2.7'], 'still the old one')
  t.equal(exchange.asked.length, 2, 'asked again beside it')
  clock.advance(millis(5000))
  t.match((await ask('a.example.org')).answers, ['a.example.org. A 25 192.0.2.7'], 'which came in time')
  t.equal(exchange.asked.length, 2)
})

test('nobody is asked again at once after a failure', async (t) => {
  const { ask, clock, exchange } = ready('safe', { '192.0.2.53': (message) => made(message, { rcode: 2 }) })
  t.equal((await ask('a.example.org')).rcode, 2)
  const { length } = exchange.asked
  t.equal((await ask('a.example.org')).rcode, 2)
  t.equal(exchange.asked.length, length, 'RFC 9520')
  clock.advance(millis(1100))
  exchange.behaviours.set('192.0.2.53', good())
  t.equal((await ask('a.example.org')).rcode, 0)
})

test('an upstream that forwards to us', async (t) => {
  const other: Behaviour = good('192.0.2.8')
  const { ask, exchange, upstreams, forwarder, way } = ready('safe', {
    '192.0.2.53': good(),
    '192.0.2.54': other,
  })
  exchange.behaviours.set('192.0.2.53', (message) => {
    void way.respond(message, ip('192.0.2.53'))
    return 'silent'
  })
  forwarder.probeLoops()
  t.match(
    upstreams.status().map(({ address, loops, up }) => ({ address, loops, up })),
    [
      { address: '192.0.2.53', loops: true, up: false },
      { address: '192.0.2.54', loops: false, up: true },
    ],
  )
  t.match((await ask('a.example.org')).answers, [/192\.0\.2\.8$/])
  t.match(
    await ask(`${'0'.repeat(16)}.drover-loop.test`, 'TXT'),
    { rcode: 0 },
    'a name that nobody made up is any name',
  )
  t.notOk(
    exchange.asked.slice(2).some((text) => text.startsWith('192.0.2.53')),
    'it is asked nothing more',
  )
})
