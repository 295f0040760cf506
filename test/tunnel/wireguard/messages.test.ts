/**
 * The codec of handshake messages: round trips, and random bytes that are either rejected or understood whole;
 * endpoints; timestamps.
 */
import { isDeepStrictEqual } from 'node:util'
import { test } from 'tap'
import { hex } from '../../../model/bytes.ts'
import { instant } from '../../../model/time.ts'
import {
  type Endpoint,
  EndpointTable,
  endpointV4,
  endpointV6,
  formatEndpoint,
  parseEndpoint,
} from '../../../tunnel/wireguard/endpoint.ts'
import { claimedLength, versionOf } from '../../../tunnel/wireguard/inner.ts'
import {
  decodeHandshake,
  encodeCookieReply,
  encodeInitiation,
  encodeResponse,
  readCounter,
  readU32,
  writeTransportHeader,
} from '../../../tunnel/wireguard/messages.ts'
import { isLater, Tai64n } from '../../../tunnel/wireguard/tai64n.ts'
import { SeededRandom } from '../../support/ports.ts'
import { fixture, fuzzRounds } from '../../support/wireguard.ts'

/** Encodes what was decoded, macs left out. */
function again(bytes: Uint8Array): Uint8Array | undefined {
  const message = decodeHandshake(bytes)
  if (message === undefined) return undefined
  if (message.is === 'initiation') return encodeInitiation(message)
  return message.is === 'response' ? encodeResponse(message) : encodeCookieReply(message)
}

test('golden messages', async (t) => {
  const initiation = decodeHandshake(Buffer.from(String(fixture.handshake.initiation), 'hex'))
  t.match(initiation, { is: 'initiation', sender: fixture.handshake.initiatorIndex })
  const response = decodeHandshake(Buffer.from(String(fixture.handshake.response), 'hex'))
  const { initiatorIndex, responderIndex } = fixture.handshake
  t.match(response, { is: 'response', sender: responderIndex, receiver: initiatorIndex })
  const cookie = decodeHandshake(Buffer.from(fixture.cookie.reply, 'hex'))
  t.match(cookie, { is: 'cookie-reply', receiver: initiatorIndex })
})

test('random messages: encode(decode(x)) is x up to its macs, or x is rejected', async (t) => {
  const random = new SeededRandom(11)
  const sizes = [148, 92, 64]
  let bad = 0
  let understood = 0
  for (let round = fuzzRounds(20_000); round > 0; round--) {
    const kind = random.below(3)
    const whole = random.below(4) > 0
    const message = random.bytes(whole ? (sizes[kind] ?? 0) : random.below(200))
    if (message.length >= 4 && random.below(8) > 0)
      message.set([kind + 1, 0, 0, random.below(16) === 0 ? 1 : 0])
    const coded = again(message)
    if (coded === undefined) {
      const valid =
        message[0] === kind + 1 && readU32(message, 0) === kind + 1 && message.length === sizes[kind]
      if (valid) bad++
    } else {
      understood++
      const checked = coded.length - (coded[0] === 3 ? 0 : 32)
      if (coded.length !== message.length) bad++
      if (hex(coded.subarray(0, checked)) !== hex(message.subarray(0, checked))) bad++
    }
  }
  t.equal(bad, 0)
  t.ok(understood > 100)
})

test('transport headers', async (t) => {
  const memory = new Uint8Array(32)
  for (const counter of [0, 1, 2 ** 32 - 1, 2 ** 32, 2 ** 53 - 1]) {
    writeTransportHeader(memory, 8, 0xf0000001, counter, 5)
    t.equal(readCounter(memory, 8), counter)
    t.equal(readU32(memory, 12), 0xf0000001)
    t.strictSame([...memory.subarray(8, 12)], [4, 5, 0, 0])
  }
  memory.fill(0xff)
  t.ok(readCounter(memory, 8) > Number.MAX_SAFE_INTEGER, 'beyond exact numbers is still large')
})

test('inner headers that lie', async (t) => {
  const random = new SeededRandom(12)
  let bad = 0
  for (let round = fuzzRounds(20_000); round > 0; round--) {
    const memory = random.bytes(random.below(80))
    const offset = random.below(memory.length + 1)
    const length = memory.length - offset
    if (random.below(2) === 0 && length > 0) memory[offset] = random.below(2) === 0 ? 0x45 : 0x60
    const version = versionOf(memory, offset, length)
    if (version === 0) continue
    const claimed = claimedLength(memory, offset, length, version)
    if (claimed > length || (claimed !== 0 && claimed < (version === 4 ? 20 : 40))) bad++
  }
  t.equal(bad, 0)
})

test('endpoints', async (t) => {
  for (const text of [
    '192.0.2.1:51820',
    '[2001:db8::1]:1',
    '[fe80::1%3]:65535',
    '[::]:0',
    '[::ffff:1.2.3.4]:9',
  ]) {
    const endpoint = parseEndpoint(text)
    t.equal(endpoint && formatEndpoint(endpoint), text.replace('1.2.3.4', '102:304'), text)
  }
  for (const text of [
    '',
    '1.2.3.4',
    '1.2.3.4:',
    '1.2.3.4:65536',
    '1.2.3:1',
    '::1:1',
    '[::1]',
    '[::g]:1',
    '[1.2.3.4]:1',
  ])
    t.equal(parseEndpoint(text), undefined, text)
})

test('the table of endpoints gives the same object for the same address, forgets, and stays right', async (t) => {
  const table = new EndpointTable(8)
  const one = table.v4(0xc0000201, 51820)
  t.equal(table.v4(0xc0000201, 51820), one)
  t.equal(isDeepStrictEqual(one, parseEndpoint('192.0.2.1:51820')), true)
  t.equal(isDeepStrictEqual(one, parseEndpoint('192.0.2.1:51821')), false)
  for (let port = 0; port < 100; port++) table.v4(1, port)
  t.equal(isDeepStrictEqual(table.v4(0xc0000201, 51820), one), true)
  const raw = new Uint8Array(20).fill(1)
  t.equal(table.v6(raw, 2, 5, 3), table.v6(raw, 3, 5, 3))
  t.equal(isDeepStrictEqual(table.v6(raw, 2, 5, 3), table.v6(raw, 2, 5, 4)), false)
  t.not(table.v4(1, 2, 3), table.v4(1, 2, 4), 'our own address counts')
  t.strictSame(table.v6(raw, 2, 5, 3, 1).source, raw.slice(1, 17))
})

test('whatever was asked before, the table answers what was asked now', async (t) => {
  const random = new SeededRandom(17)
  const table = new EndpointTable(64)
  const pick = (values: readonly number[]): number => values[random.below(values.length)] ?? 0
  let bad = 0
  let kept = 0
  let last = table.v4(0, 0)
  for (let round = fuzzRounds(20_000); round > 0; round--) {
    const port = pick([0, 1, 51820, 65535])
    const scope = pick([0, 0, 2, 0xffffffff])
    const memory = Uint8Array.from({ length: 20 }, () => pick([0, 0, 0, 0, 0, 1, 255]))
    const address = new DataView(memory.buffer).getUint32(2)
    const v6 = random.below(2) === 0
    const own = pick([0, 0, 1])
    const ask = (): Endpoint =>
      v6 ? table.v6(memory, 2, port, scope, own * 3) : table.v4(address, port, own)
    const found = ask()
    const source = own === 0 ? undefined : memory.slice(3, 19)
    const fresh = v6 ? endpointV6(memory.subarray(2), port, scope, source) : endpointV4(address, port, own)
    if (!isDeepStrictEqual(found, fresh) || found.port !== port || ask() !== found) bad++
    if (found === last) kept++
    last = found
  }
  t.equal(bad, 0)
  t.ok(kept > 0)
  const peers = Array.from({ length: 500 }, (_, at) => table500.v6(ip6(at), 0, 51820))
  const again = peers.filter((peer, at) => table500.v6(ip6(at), 0, 51820) === peer)
  t.ok(again.length >= 490, `${again.length} of 500 peers are known`)
})

const table500 = new EndpointTable()
const ip6 = (last: number): Uint8Array =>
  Uint8Array.from(
    { length: 16 },
    (_, at) => [0x20, 1, 0xd, 0xb8][at] ?? (at === 15 ? last : at === 14 ? last >> 8 : 0),
  )

test('a timestamp tells the second, and of its fraction what 24 bits less can say', async (t) => {
  const stampOf = (wall: number): string => hex(new Tai64n(() => instant(wall)).next())
  t.equal(stampOf(1500), '400000000000000b1d000000', '1.5 s after the epoch: 29 steps of 2^24 ns')
  t.equal(stampOf(1503), stampOf(1500))
  t.equal(stampOf(1521), '400000000000000b1f000000')
})

test('timestamps grow whatever the wall clock does', async (t) => {
  const random = new SeededRandom(13)
  let wall = 1_700_000_000_000
  const stamps = new Tai64n(() => instant(wall))
  t.equal(hex(stamps.next()).slice(0, 16), (0x400000000000000an + 1_700_000_000n).toString(16))
  let last = stamps.next()
  let bad = 0
  for (let round = 0; round < 5000; round++) {
    wall += random.below(3000) - 1500
    const next = stamps.next()
    if (!isLater(next, last) || isLater(last, next) || isLater(next, next)) bad++
    last = next
  }
  t.equal(bad, 0)
  wall += 3_600_000
  t.equal(isLater(stamps.next(), last), true)
})
