/**
 * Messages that mean harm, out of a seed: what breaks a reader of DNS messages, and what makes an answer larger than
 * was asked for. Pure.
 */
import { question } from '../../test/support/dns-messages.ts'
import type { SeededRandom } from '../../test/support/ports.ts'

type Make = (random: SeededRandom) => Buffer

const names = ['web.shop.rancher.internal', 'web', 'nosuch.rancher.internal', '9.0.42.10.in-addr.arpa', '']
const types = ['A', 'AAAA', 'ANY', 'PTR', 'SRV', 'TXT', 41, 0, 65535] as const
const headerLength = 12

const one = <T>(random: SeededRandom, of: readonly T[]): T => of[random.below(of.length)] as T

const good: Make = (random) =>
  question(one(random, names), one(random, types), {
    edns: one(random, [undefined, 0, 512, 1232, 4096, 65535]),
    version: one(random, [0, 0, 0, 1, 255]),
    class: one(random, [1, 1, 1, 3, 255]),
  })

/** A name made of these bytes as they are, asked for by an address. */
const withName = (wire: Buffer): Buffer =>
  Buffer.concat([question('', 'A').subarray(0, headerLength), wire, Buffer.of(0, 1, 0, 1)])

const pointer = (to: number): Buffer => Buffer.of(0xc0 | (to >> 8), to & 0xff)
const label = (length: number): Buffer => Buffer.concat([Buffer.of(length), Buffer.alloc(length, 'a')])

const loops: Make = (random) =>
  withName(
    one(random, [
      pointer(headerLength),
      Buffer.concat([label(1), pointer(headerLength)]),
      Buffer.concat([pointer(headerLength + 2), pointer(headerLength)]),
      Buffer.concat([label(63), pointer(random.below(0x4000))]),
    ]),
  )

const longNames: Make = (random) =>
  withName(
    Buffer.concat([
      ...Array.from({ length: random.below(130) }, () => label(one(random, [1, 63, 63, 64, 127]))),
      Buffer.alloc(random.below(2)),
    ]),
  )

/** The numbers of questions and records in the header say something else than what follows. */
const lies: Make = (random) => {
  const message = good(random)
  for (const at of [4, 6, 8, 10])
    if (random.below(2) === 0) message.writeUInt16BE(one(random, [0, 1, 2, 255, 65535]), at)
  return message
}

/** OPT records with data that is longer, shorter or other than they say, and several of them. */
const brokenEdns: Make = (random) => {
  const message = question(one(random, names), 'A')
  const records = Array.from({ length: random.below(4) + 1 }, () => {
    const data = Buffer.from(random.bytes(random.below(60)))
    const opt = Buffer.alloc(11)
    opt.writeUInt8(one(random, [0, 0, 0, 1, 0xc0]), 0)
    opt.writeUInt16BE(one(random, [41, 41, 41, 250]), 1)
    opt.writeUInt16BE(random.below(65536), 3)
    opt.writeUInt16BE(one(random, [data.length, 0, 65535, random.below(100)]), 9)
    // A cookie of any length at all.
    if (data.length >= 4) data.set([0, one(random, [3, 8, 10, 15]), 0, random.below(50)])
    return Buffer.concat([opt, data])
  })
  message.writeUInt16BE(one(random, [records.length, 1]), 10)
  return Buffer.concat([message, ...records])
}

const edited: Make = (random) => {
  const message = one(random, [good, brokenEdns, lies])(random)
  for (let edits = random.below(6); edits > 0; edits--)
    message[random.below(message.length)] = random.below(256)
  return message
}

const cut: Make = (random) => {
  const message = good(random)
  return message.subarray(0, random.below(message.length))
}

const noise: Make = (random) => Buffer.from(random.bytes(random.below(600)))

const kinds: Readonly<Record<string, Make>> = {
  good,
  loops,
  longNames,
  lies,
  brokenEdns,
  edited,
  cut,
  noise,
}

const makers = Object.values(kinds)

/** The next one, with this number as its id, where it has one. */
export function hostile(random: SeededRandom, id: number): Buffer {
  const message = one(random, makers)(random)
  if (message.length >= 2) message.writeUInt16BE(id, 0)
  return message
}

/**
 * The largest answer that the sender of a message may be given over UDP: what the OPT record at its end says, if it
 * is well-formed, else 512 bytes (RFC 6891 6.2.3, RFC 1035 4.2.1). Any OPT that could be read counts.
 */
export function largestAnswer(message: Buffer): number {
  let most = 512
  for (let at = headerLength; at + 4 < message.length; at++)
    if (message.readUInt16BE(at) === 41) most = Math.max(most, message.readUInt16BE(at + 2))
  return most
}
