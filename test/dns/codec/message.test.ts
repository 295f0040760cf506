/**
 * The codec: names, questions, answers and their limits; what dns2 reads of ours; garbage.
 */
import { test } from 'tap'
import { Frames, framed } from '../../../dns/codec/frames.ts'
import { flags, nameOf, questionKey, readQuery, readReply, types } from '../../../dns/codec/message.ts'
import { parseName, readName } from '../../../dns/codec/name.ts'
import { bodyOf, finish, questionBytes, questionFor, refusal, sizeLimit } from '../../../dns/codec/writer.ts'
import { answersAt, bodyAt, storedReply } from '../../../dns/forwarding/cache.ts'
import { millis } from '../../../model/time.ts'
import { made, question, readAnswer } from '../../support/dns-messages.ts'
import { SeededRandom } from '../../support/ports.ts'

const edns = { size: 1232, cookie: Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8) }

const queryOf = (bytes: Uint8Array) => {
  const reading = readQuery(bytes)
  if (reading.is !== 'query') throw new TypeError(reading.is)
  return reading.query
}

test('names', (t) => {
  const wire = Buffer.from('\x03WeB\x05a.b\\c\x01\xff\x00', 'latin1')
  t.strictSame(
    readName(wire, 0),
    { name: 'web.a\\046b\\092c.\\255', next: wire.length },
    'odd bytes are escaped',
  )
  t.same(
    Buffer.from(questionBytes('web.a\\046b\\092c.\\255', 1)).subarray(0, wire.length),
    Buffer.from(wire.toString('latin1').toLowerCase(), 'latin1'),
    'and come back',
  )
  t.equal(readName(Buffer.from([0xc0, 0]), 0), undefined, 'a pointer to itself')
  t.equal(readName(Buffer.from([1, 97, 0xc0, 0]), 2)?.name, undefined, 'a pointer that leads to itself')
  t.equal(readName(Buffer.from([1, 97, 0, 0xc0, 0]), 3)?.name, 'a', 'a pointer back')
  t.equal(readName(Buffer.from([0xc0, 2, 1, 97, 0]), 0), undefined, 'a pointer forward')
  t.equal(readName(Buffer.alloc(400, 1), 0), undefined, 'longer than 255')
  t.equal(readName(Buffer.from([5, 97]), 0), undefined, 'cut off')
  t.equal(parseName('DB.Example.COM.'), 'db.example.com')
  for (const bad of ['', '.', 'a..b', 'a b', 'ä.de', 'x'.repeat(64), `${'abc.'.repeat(70)}de`])
    t.equal(parseName(bad), undefined, JSON.stringify(bad.slice(0, 20)))
  t.end()
})

test('questions', (t) => {
  const query = queryOf(question('WEB.Shop', 'A', { edns: 1232 }))
  t.equal(nameOf(query), 'web.shop')
  t.equal(query.key, queryOf(question('web.shop', 'A')).key, 'letters in lower case make the key')
  t.not(query.key, queryOf(question('web.shop', 'AAAA')).key)
  t.equal(query.key, questionKey(questionBytes('web.shop', types.A)))
  t.strictSame(query.edns, { size: 1232, version: 0, secure: false })
  const edited = (at: number, ...bytes: number[]): Buffer => {
    const copy = question('web', 'A', { edns: 512 })
    copy.set(bytes, at)
    return copy
  }
  t.strictSame(readQuery(Buffer.alloc(11)), { is: 'drop' }, 'too short')
  t.strictSame(readQuery(edited(2, 0x81)), { is: 'drop' }, 'an answer')
  t.strictSame(readQuery(edited(2, 0x21)), { is: 'refuse', rcode: 4 }, 'another opcode')
  for (const [what, bytes] of [
    ['no question', edited(4, 0, 0)],
    ['two questions', edited(4, 0, 2)],
    ['an answer section', edited(6, 0, 1)],
    ['a label that ends nowhere', edited(12, 60)],
    ['a pointer as question', edited(12, 0xc0, 12)],
    ['more records than there are', edited(10, 0, 2)],
    ['very many records', edited(10, 255, 255)],
    ['a question without class', question('web', 'A').subarray(0, 18)],
    ['an OPT that is not at the root', edited(21, 1)],
  ] as const)
    t.strictSame(readQuery(bytes), { is: 'refuse', rcode: 1 }, what)
  const twice = Buffer.concat([
    question('web', 'A', { edns: 512 }),
    question('web', 'A', { edns: 512 }).subarray(-11),
  ])
  twice.writeUInt16BE(2, 10)
  t.strictSame(readQuery(twice), { is: 'refuse', rcode: 1 }, 'two OPTs (RFC 6891 6.1.1)')
  t.equal(readAnswer(refusal(question('web', 'A', { id: 7 }), 1)).id, 7, 'a refusal carries the id')
  t.end()
})

const addresses = (name: string, count: number) =>
  Array.from({ length: count }, (_, at) => ({
    name,
    type: types.A,
    ttl: 1,
    data: [Uint8Array.of(10, 42, at >>> 8, at & 255)],
  }))

test('answers', (t) => {
  const query = queryOf(question('Web.SHOP', 'A', { id: 77, edns: 4096 }))
  const body = bodyOf('web.shop', { flags: flags.AA | flags.RA, answers: addresses('web.shop', 3) })
  const bytes = finish(query, body, { limit: 4096, turn: 1 })
  const answer = readAnswer(bytes)
  t.match(answer, { id: 77, rcode: 0, aa: 1, ra: 1, rd: 1, tc: 0, opt: { class: 1232 } })
  t.equal(Buffer.from(bytes).includes('\x03Web\x04SHOP'), true, 'letters come back as they were sent')
  t.strictSame(
    answer.answers,
    [1, 2, 0].map((last) => `web.shop. A 1 10.42.0.${last}`),
    'the turn rotates',
  )
  const wide = bodyOf('web.shop', { answers: addresses('web.shop', 200) })
  const cut = readAnswer(finish(query, wide, { limit: 1232, turn: 0 }))
  t.match(cut, { tc: 1, answers: [], opt: { class: 1232 } }, 'too big: no records and TC')
  t.equal(readAnswer(finish(query, wide, { limit: 4096, turn: 7 })).answers.length, 200)
  const explained = finish(query, bodyOf('', { rcode: 2 }), {
    limit: 512,
    turn: 0,
    explanation: { code: 22, text: 'nobody' },
  })
  t.equal(readAnswer(explained).rcode, 2, 'an explanation (RFC 8914) is read without error')
  t.equal(
    readAnswer(finish(query, bodyOf('', { rcode: 16 }), { limit: 512, turn: 0 })).rcode & 15,
    0,
    'BADVERS is in the OPT',
  )
  t.equal(sizeLimit(queryOf(question('a', 'A')), 'udp'), 512)
  t.equal(sizeLimit(queryOf(question('a', 'A', { edns: 100 })), 'udp'), 512)
  t.equal(sizeLimit(queryOf(question('a', 'A', { edns: 65535 })), 'udp'), 4096)
  t.equal(sizeLimit(queryOf(question('a', 'A')), 'tcp'), 65535)
  t.end()
})

test('replies of upstreams', (t) => {
  const section = questionBytes('www.example.com', types.A)
  const asked = { id: 9, question: section }
  const message = Buffer.from(questionFor(section, { id: 9, checkingDisabled: false, secure: true, edns }))
  const reply = made(message, { addresses: ['192.0.2.1', '192.0.2.2'], ttl: 60 })
  t.equal(readReply(reply, { ...asked, id: 8 }), undefined, 'another id')
  t.equal(
    readReply(reply, { ...asked, question: questionBytes('else', types.A) }),
    undefined,
    'another question',
  )
  t.equal(readReply(message, asked), undefined, 'the question itself')
  t.equal(readReply(reply.subarray(0, -1), asked), undefined, 'cut off')
  const read = readReply(reply, asked)
  t.ok(read)
  if (read === undefined) {
    t.end()
    return
  }
  const stored = storedReply(read, 12 + section.length, millis(1000))
  t.equal(stored.lifetime, 60)
  t.strictSame(
    answersAt(stored, millis(11_900)).map(({ ttl }) => ttl),
    [50, 50],
    'what is left of the TTL',
  )
  const given = readAnswer(
    finish(queryOf(question('WWW.example.com', 'A')), bodyAt(stored, millis(31_000), false), {
      limit: 512,
      turn: 0,
    }),
  )
  t.strictSame(given.answers, ['www.example.com. A 30 192.0.2.1', 'www.example.com. A 30 192.0.2.2'])
  const lifetime = (bytes: Buffer): number | undefined => {
    const found = readReply(bytes, asked)
    return found && storedReply(found, 12 + section.length, millis(0)).lifetime
  }
  t.equal(lifetime(made(message, { rcode: 3, soa: 45 })), 45, 'RFC 2308: as long as the SOA says')
  t.equal(lifetime(made(message, { soa: 1e6 })), 3 * 3600, 'and not longer than three hours')
  t.equal(lifetime(made(message, { rcode: 3 })), 0, 'a negative answer without SOA is not kept')
  t.equal(lifetime(made(message, { rcode: 2 })), 0, 'nor is a failure')
  t.end()
})

test('frames', (t) => {
  const frames = new Frames()
  const stream = Buffer.concat([
    framed(Buffer.from('one')),
    framed(Buffer.from('')),
    framed(Buffer.from('three')),
  ])
  const messages = [...stream].flatMap((byte) =>
    frames.push(Buffer.of(byte)).map((one) => Buffer.from(one).toString()),
  )
  t.strictSame(messages, ['one', '', 'three'], 'byte by byte')
  t.strictSame(
    new Frames().push(stream).map((one) => one.length),
    [3, 0, 5],
    'all at once',
  )
  t.end()
})

test('garbage', (t) => {
  const seed = Number(process.env.DROVER_FUZZ_SEED ?? 20261121)
  const rounds = Number(process.env.DROVER_FUZZ ?? 20_000)
  const random = new SeededRandom(seed)
  const section = questionBytes('www.example.com', types.A)
  const message = Buffer.from(questionFor(section, { id: 9, checkingDisabled: false, secure: true, edns }))
  const samples = [
    question('web.shop.rancher.internal', 'A', { edns: 4096 }),
    made(message, { addresses: ['192.0.2.1', '192.0.2.2'], soa: 4 }),
    message,
  ]
  const asked = { id: 9, question: section }
  for (let round = 0; round < rounds; round++) {
    const sample = samples[random.below(samples.length)] ?? message
    const bytes = random.below(4) === 0 ? Buffer.from(random.bytes(random.below(80))) : Buffer.from(sample)
    for (let edits = random.below(6); edits > 0 && bytes.length > 0; edits--)
      bytes[random.below(bytes.length)] = random.below(3) === 0 ? 0xc0 : random.below(256)
    const part = bytes.subarray(0, random.below(5) === 0 ? random.below(bytes.length + 1) : bytes.length)
    try {
      const reading = readQuery(part)
      if (reading.is === 'query') {
        readAnswer(
          finish(
            reading.query,
            bodyOf(nameOf(reading.query), { answers: addresses(nameOf(reading.query), 2) }),
            { limit: 4096, turn: round },
          ),
        )
      }
      const reply = readReply(part, asked)
      if (reply === undefined) continue
      const stored = storedReply(reply, 12 + section.length, millis(0))
      answersAt(stored, millis(5000))
      finish(queryOf(samples[2] ?? message), bodyAt(stored, millis(5000), true), { limit: 4096, turn: 0 })
    } catch (error) {
      t.fail(`round ${round} of seed ${seed}: ${part.toString('hex')}: ${String(error)}`)
      t.end()
      return
    }
  }
  t.pass(`${rounds} messages`)
  t.end()
})
