/**
 * DNS messages that go out. A `Body` is everything of an answer behind the question, made once; `finish` turns it
 * into a message for one query: echoed question (letters as they were sent), rotated addresses, OPT, truncation.
 */
import { utf8 } from '../../model/bytes.ts'
import {
  cookieOption,
  type Data,
  type Edns,
  flags,
  headerLength,
  keepaliveOption,
  type Query,
  type ResourceRecord,
  rcodes,
  types,
} from './message.ts'
import { labelsOf, type Name, wireLabels } from './name.ts'

/** What we say about our own UDP size: no fragments on any path (DNS flag day 2020). */
const ownUdpSize = 1232
/** The most that goes into one datagram, whatever the client says. */
const maxUdpSize = 4096
const plainUdpSize = 512 // RFC 1035 2.3.4
/** Of an OPT record without options. */
const optLength = 11
export const maxTcpSize = 65535

/** The part of an answer that does not depend on who asks it how. */
export interface Body {
  readonly flags: number
  readonly rcode: number
  readonly answers: number
  readonly authority: number
  readonly tail: Uint8Array
  /** How many records at the start of the tail are of `stride` bytes and may change places; 0 for none. */
  readonly rotating: number
}

/** A record of an address whose owner is the question's name, as a pointer. */
const stride = 16

export interface Sections {
  readonly flags?: number
  readonly rcode?: number
  readonly answers?: readonly ResourceRecord[]
  readonly authority?: readonly ResourceRecord[]
}

/** Encodes the records behind the question for `name`. */
export function bodyOf(name: Name, sections: Sections): Body {
  const { answers = [], authority = [] } = sections
  const encoder = new Encoder(name)
  for (const record of answers) encoder.record(record)
  for (const record of authority) encoder.record(record)
  const tail = encoder.tail()
  const rotating = answers.length > 1 && answers.every((a) => a.type === types.A && a.name === name)
  return {
    flags: sections.flags ?? flags.RA,
    rcode: sections.rcode ?? rcodes.NOERROR,
    answers: answers.length,
    authority: authority.length,
    tail,
    rotating: rotating ? answers.length : 0,
  }
}

/** Writes records after a question; knows where each name stands, for compression (RFC 1035 4.1.4). */
class Encoder {
  readonly #bytes: number[] = []
  readonly #places = new Map<Name, number>()
  readonly #start: number

  constructor(question: Name) {
    let at = headerLength
    for (const [index, label] of wireLabels(question).entries()) {
      this.#places.set(suffix(question, index), at)
      at += label.length
    }
    this.#start = at + 1 + 4
  }

  record({ name, type, ttl, data }: ResourceRecord): void {
    this.#name(name)
    this.#u16(type)
    this.#u16(1)
    this.#u16(Math.floor(ttl / 65536))
    this.#u16(ttl % 65536)
    const lengthAt = this.#bytes.length
    this.#u16(0)
    this.#data(data)
    const length = this.#bytes.length - lengthAt - 2
    this.#bytes[lengthAt] = length >>> 8
    this.#bytes[lengthAt + 1] = length & 255
  }

  tail(): Uint8Array {
    return Uint8Array.from(this.#bytes)
  }

  #data(data: Data): void {
    for (const part of data) {
      if (typeof part === 'string') this.#name(part)
      else for (const byte of part) this.#bytes.push(byte)
    }
  }

  #name(name: Name): void {
    const labels = wireLabels(name)
    for (const [index, label] of labels.entries()) {
      const rest = suffix(name, index)
      const place = this.#places.get(rest)
      if (place !== undefined) {
        this.#u16(0xc000 | place)
        return
      }
      const here = this.#start + this.#bytes.length
      if (here < 0x4000) this.#places.set(rest, here)
      for (const byte of label) this.#bytes.push(byte)
    }
    this.#bytes.push(0)
  }

  #u16(value: number): void {
    this.#bytes.push((value >>> 8) & 255, value & 255)
  }
}

const suffix = (name: Name, from: number): Name => labelsOf(name).slice(from).join('.')

/** The most bytes an answer may have. */
export function sizeLimit(query: { readonly edns: Edns | undefined }, transport: 'udp' | 'tcp'): number {
  if (transport === 'tcp') return maxTcpSize
  return query.edns === undefined
    ? plainUdpSize
    : Math.min(Math.max(query.edns.size, plainUdpSize), maxUdpSize)
}

/** Why we could not answer, RFC 8914. */
export interface Explanation {
  readonly code: number
  readonly text: string
}

export interface Finishing {
  readonly limit: number
  /** Which of the rotating records comes first. */
  readonly turn: number
  readonly explanation?: Explanation
  /** The client's cookie with ours behind it. */
  readonly cookie?: Uint8Array
  /** Milliseconds that a quiet connection stays open, for a client that asks. */
  readonly keepalive?: number
}

/** The message for one query. Too big for `limit`: no records, and TC. */
export function finish(query: Query, body: Body, { limit, turn, ...rest }: Finishing): Uint8Array {
  const options = query.edns === undefined ? none : optionsOf(rest)
  const opt = query.edns === undefined ? 0 : optLength + options.length
  const whole = query.end + body.tail.length + opt
  const fits = whole <= limit
  const out = Buffer.allocUnsafe(fits ? whole : query.end + opt)
  out.set(query.bytes.subarray(0, query.end), 0)
  const kept = query.flags & (flags.RD | flags.CD)
  const truncated = fits ? 0 : flags.TC
  out.writeUInt16BE(flags.QR | kept | truncated | body.flags | (body.rcode & 15), 2)
  out.writeUInt16BE(fits ? body.answers : 0, 6)
  out.writeUInt16BE(fits ? body.authority : 0, 8)
  out.writeUInt16BE(opt === 0 ? 0 : 1, 10)
  if (fits) writeTail(out, query.end, body, turn)
  if (query.edns !== undefined) writeOpt(out, out.length - opt, body.rcode, query.edns, options)
  return out
}

function writeTail(out: Buffer, at: number, { tail, rotating }: Body, turn: number): void {
  if (rotating < 2) return void out.set(tail, at)
  const end = rotating * stride
  const cut = (turn % rotating) * stride
  out.set(tail.subarray(cut, end), at)
  out.set(tail.subarray(0, cut), at + end - cut)
  out.set(tail.subarray(end), at + end)
}

/** The OPT record of an answer that has nothing else to say. */
export function emptyOpt(secure: boolean): Uint8Array {
  const out = Buffer.alloc(optLength)
  writeOpt(out, 0, 0, { secure, size: 0, version: 0 }, none)
  return out
}

const none = new Uint8Array(0)

const option = (code: number, data: Uint8Array): Uint8Array =>
  Uint8Array.from([code >>> 8, code & 255, data.length >>> 8, data.length & 255, ...data])

type Told = Pick<Finishing, 'explanation' | 'cookie' | 'keepalive'>

/** RFC 7873 4, RFC 7828 3.1, RFC 8914 2. */
function optionsOf({ explanation, cookie, keepalive }: Told): Uint8Array {
  const options: Uint8Array[] = []
  if (cookie !== undefined) options.push(option(cookieOption, cookie))
  if (keepalive !== undefined) {
    const tenths = Math.floor(keepalive / 100)
    options.push(option(keepaliveOption, Uint8Array.of(tenths >>> 8, tenths & 255)))
  }
  if (explanation !== undefined) {
    const { code, text } = explanation
    options.push(option(15, Uint8Array.from([code >>> 8, code & 255, ...utf8(text)])))
  }
  return options.length === 0 ? none : Buffer.concat(options)
}

function writeOpt(out: Buffer, at: number, rcode: number, edns: Edns, options: Uint8Array): void {
  out[at] = 0
  out.writeUInt16BE(types.OPT, at + 1)
  out.writeUInt16BE(ownUdpSize, at + 3)
  out.writeUInt8(rcode >>> 4, at + 5)
  out.writeUInt8(0, at + 6)
  out.writeUInt16BE(edns.secure ? 0x8000 : 0, at + 7)
  out.writeUInt16BE(options.length, at + 9)
  out.set(options, at + optLength)
}

/** An error for bytes whose question could not be read: the header alone. */
export function refusal(bytes: Uint8Array, rcode: number): Uint8Array {
  const out = new Uint8Array(headerLength)
  out.set(bytes.subarray(0, 2))
  out[2] = 0x80 | ((bytes[2] ?? 0) & 0x79)
  out[3] = 0x80 | rcode
  return out
}

export interface OwnQuestion {
  readonly id: number
  readonly checkingDisabled: boolean
  readonly secure: boolean
  /** With it the question has EDNS. */
  readonly edns?: { readonly size: number; readonly cookie: Uint8Array }
}

/** A question of our own for an upstream, recursion desired. */
export function questionFor(
  question: Uint8Array,
  { id, checkingDisabled, secure, edns }: OwnQuestion,
): Uint8Array {
  const options = edns === undefined ? none : option(cookieOption, edns.cookie)
  const at = headerLength + question.length
  const out = Buffer.alloc(edns === undefined ? at : at + optLength + options.length)
  out.writeUInt16BE(id, 0)
  out.writeUInt16BE(flags.RD | (checkingDisabled ? flags.CD : 0), 2)
  out.writeUInt16BE(1, 4)
  out.writeUInt16BE(edns === undefined ? 0 : 1, 10)
  out.set(question, headerLength)
  if (edns === undefined) return out
  out.writeUInt16BE(types.OPT, at + 1)
  out.writeUInt16BE(edns.size, at + 3)
  out.writeUInt16BE(secure ? 0x8000 : 0, at + 7)
  out.writeUInt16BE(options.length, at + 9)
  out.set(options, at + optLength)
  return out
}

/** The question section for a name. */
export function questionBytes(name: Name, type: number): Uint8Array {
  const labels = wireLabels(name)
  return Uint8Array.from([...labels.flatMap((label) => [...label]), 0, type >>> 8, type & 255, 0, 1])
}
