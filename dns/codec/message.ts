/**
 * DNS messages that come in (RFC 1035 4, RFC 6891): questions of clients and replies of upstreams. Reading never
 * throws and never reads beyond the bytes; what cannot be read has a verdict instead.
 */
import { type Name, readName, skipName } from './name.ts'

export const types = {
  A: 1,
  NS: 2,
  CNAME: 5,
  SOA: 6,
  PTR: 12,
  HINFO: 13,
  MX: 15,
  TXT: 16,
  AAAA: 28,
  SRV: 33,
  OPT: 41,
  IXFR: 251,
  AXFR: 252,
  ANY: 255,
} as const

export const rcodes = {
  NOERROR: 0,
  FORMERR: 1,
  SERVFAIL: 2,
  NXDOMAIN: 3,
  NOTIMP: 4,
  REFUSED: 5,
  BADVERS: 16,
  BADCOOKIE: 23,
} as const

/** Header flags, RFC 1035 4.1.1 and RFC 4035 3.2. */
export const flags = {
  QR: 0x8000,
  AA: 0x0400,
  TC: 0x0200,
  RD: 0x0100,
  RA: 0x0080,
  AD: 0x0020,
  CD: 0x0010,
} as const

export const headerLength = 12
const classIn = 1
/** More than anybody needs: OPT, TSIG, a few surprises. */
const maxAdditional = 16

export interface Edns {
  readonly size: number
  readonly version: number
  /** DNSSEC OK. */
  readonly secure: boolean
  /** RFC 7873: the client's eight bytes, and ours behind them when it has some. */
  readonly cookie?: Uint8Array
  /** RFC 7828: the client asks how long a quiet connection stays open. */
  readonly keepalive?: true
}

export interface Query {
  readonly bytes: Uint8Array
  readonly id: number
  readonly flags: number
  readonly type: number
  readonly class: number
  /** Where the question ends. */
  readonly end: number
  /** The question's bytes with letters in lower case: the same for the same question. */
  readonly key: string
  readonly edns: Edns | undefined
}

export type QueryReading =
  | { readonly is: 'query'; readonly query: Query }
  /** A question that can be answered with an error only. */
  | { readonly is: 'refuse'; readonly rcode: number }
  /** Nothing that deserves an answer: too short, or an answer itself. */
  | { readonly is: 'drop' }

export const u16 = (bytes: Uint8Array, at: number): number => ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0)

export const u32 = (bytes: Uint8Array, at: number): number => u16(bytes, at) * 65536 + u16(bytes, at + 2)

const drop: QueryReading = { is: 'drop' }
const malformed: QueryReading = { is: 'refuse', rcode: rcodes.FORMERR }

/** What a client asks. */
export function readQuery(bytes: Uint8Array): QueryReading {
  if (bytes.length < headerLength || (bytes[2] ?? 0) >= 0x80) return drop
  const head = u16(bytes, 2)
  if ((head & 0x7800) !== 0) return { is: 'refuse', rcode: rcodes.NOTIMP }
  if (u16(bytes, 4) !== 1 || u16(bytes, 6) !== 0 || u16(bytes, 8) !== 0) return malformed
  const nameEnd = questionNameEnd(bytes)
  if (nameEnd === undefined || nameEnd + 4 > bytes.length) return malformed
  const end = nameEnd + 4
  const edns = readEdns(bytes, end, u16(bytes, 10))
  if (edns === 'malformed') return malformed
  const question = { type: u16(bytes, nameEnd), class: u16(bytes, nameEnd + 2), end }
  return {
    is: 'query',
    query: { bytes, id: u16(bytes, 0), flags: head, ...question, key: keyOf(bytes, headerLength, end), edns },
  }
}

/** The name of a question has no pointers: there is nothing before it to point to. */
function questionNameEnd(bytes: Uint8Array): number | undefined {
  let at = headerLength
  for (;;) {
    const size = bytes[at]
    if (size === undefined || size > 63 || at - headerLength > 254) return undefined
    at += 1 + size
    if (size === 0) return at
  }
}

const scratch = Buffer.alloc(260)

/** Length bytes are below 64 and so never mistaken for letters. */
function keyOf(bytes: Uint8Array, start: number, end: number): string {
  const length = end - start
  for (let at = 0; at < length; at++) {
    const byte = bytes[start + at] ?? 0
    scratch[at] = at < length - 4 && byte >= 0x41 && byte <= 0x5a ? byte + 0x20 : byte
  }
  return scratch.toString('latin1', 0, length)
}

function readEdns(bytes: Uint8Array, start: number, count: number): Edns | undefined | 'malformed' {
  if (count > maxAdditional) return 'malformed'
  let edns: Edns | undefined
  let at = start
  for (let left = count; left > 0; left--) {
    const record = readRecordHead(bytes, at)
    if (record === undefined) return 'malformed'
    if (record.type === types.OPT) {
      if (edns !== undefined || bytes[at] !== 0) return 'malformed'
      const options = bytes.subarray(record.dataAt, record.dataAt + record.dataLength)
      const found = optionsIn(options)
      if (found === 'malformed') return 'malformed'
      edns = { ...ednsOf(record.class, record.ttl), ...found }
    }
    at = record.dataAt + record.dataLength
  }
  return edns
}

export const cookieOption = 10 // RFC 7873 4
export const keepaliveOption = 11 // RFC 7828 3.1

/** RFC 6891 6.1.2, RFC 7873 5.2. */
function optionsIn(options: Uint8Array): Pick<Edns, 'cookie' | 'keepalive'> | 'malformed' {
  let cookie: Uint8Array | undefined
  let keepalive = false
  for (let at = 0; at < options.length; ) {
    const length = u16(options, at + 2)
    const end = at + 4 + length
    if (end > options.length) return 'malformed'
    if (u16(options, at) === cookieOption) {
      if (length !== 8 && (length < 16 || length > 40)) return 'malformed'
      cookie ??= options.subarray(at + 4, end)
    }
    keepalive ||= u16(options, at) === keepaliveOption
    at = end
  }
  return { ...(cookie === undefined ? {} : { cookie }), ...(keepalive ? { keepalive } : {}) }
}

const ednsOf = (size: number, ttl: number): Edns => ({
  size,
  version: (ttl >>> 16) & 255,
  secure: (ttl & 0x8000) !== 0,
})

interface RecordHead {
  readonly at: number
  readonly type: number
  readonly class: number
  readonly ttl: number
  readonly ttlAt: number
  readonly dataAt: number
  readonly dataLength: number
}

function readRecordHead(bytes: Uint8Array, at: number): RecordHead | undefined {
  const after = skipName(bytes, at)
  if (after === undefined || after + 10 > bytes.length) return undefined
  const dataAt = after + 10
  const dataLength = u16(bytes, after + 8)
  if (dataAt + dataLength > bytes.length) return undefined
  const ttl = u32(bytes, after + 4)
  return {
    at,
    type: u16(bytes, after),
    class: u16(bytes, after + 2),
    ttl,
    ttlAt: after + 4,
    dataAt,
    dataLength,
  }
}

export const nameOf = (query: Query): Name => readName(query.bytes, headerLength)?.name ?? ''

export const isInternet = (query: Query): boolean => query.class === classIn

/** The key of a question section, as `readQuery` makes it. */
export function questionKey(question: Uint8Array): string {
  return keyOf(question, 0, question.length)
}

export interface Reply {
  /** Header, question, answers and authority; what is additional is optional by nature and left out. */
  readonly bytes: Uint8Array
  readonly end: number
  readonly rcode: number
  readonly flags: number
  /** Whether the letters of the question came back as they were sent. */
  readonly exact: boolean
  readonly cookie: Uint8Array | undefined
  readonly answers: readonly RecordHead[]
  readonly authority: readonly RecordHead[]
}

/** What an upstream answered; undefined when it is malformed or no answer to this question. */
export function readReply(
  bytes: Uint8Array,
  asked: { readonly id: number; readonly question: Uint8Array },
): Reply | undefined {
  if (bytes.length < headerLength || u16(bytes, 0) !== asked.id || (bytes[2] ?? 0) < 0x80) return undefined
  if (u16(bytes, 4) !== 1) return undefined
  const nameEnd = questionNameEnd(bytes)
  if (
    nameEnd === undefined ||
    nameEnd + 4 > bytes.length ||
    keyOf(bytes, headerLength, nameEnd + 4) !== questionKey(asked.question)
  )
    return undefined
  const answers = readRecords(bytes, nameEnd + 4, u16(bytes, 6))
  if (answers === undefined) return undefined
  const authority = readRecords(bytes, answers.end, u16(bytes, 8))
  if (authority === undefined) return undefined
  const additional = readRecords(bytes, authority.end, u16(bytes, 10))
  const opt = additional?.records.find((record) => record.type === types.OPT)
  const rcode = (u16(bytes, 2) & 15) | (((opt?.ttl ?? 0) >>> 24) << 4)
  const sections = { answers: answers.records, authority: authority.records }
  const exact = asked.question.every((byte, at) => bytes[headerLength + at] === byte)
  const cookie = cookieOf(bytes, opt)
  return { bytes, end: authority.end, rcode, flags: u16(bytes, 2), exact, cookie, ...sections }
}

/** One that cannot be read is none. */
function cookieOf(bytes: Uint8Array, opt: RecordHead | undefined): Uint8Array | undefined {
  if (opt === undefined) return undefined
  const found = optionsIn(bytes.subarray(opt.dataAt, opt.dataAt + opt.dataLength))
  return found === 'malformed' ? undefined : found.cookie
}

function readRecords(bytes: Uint8Array, start: number, count: number) {
  const records: RecordHead[] = []
  let end = start
  for (let left = count; left > 0; left--) {
    const record = readRecordHead(bytes, end)
    if (record === undefined) return undefined
    records.push(record)
    end = record.dataAt + record.dataLength
  }
  return { records, end }
}

/** Record data with every compressed name spelled out, so that it can move to another message; RFC 3597 4. */
export type Data = readonly (Uint8Array | Name)[]

export interface ResourceRecord {
  readonly name: Name
  readonly type: number
  readonly ttl: number
  readonly data: Data
}

/** Bytes before the name in the data of the types whose names may be compressed, and how many names there are. */
const nameShapes: Readonly<Record<number, { readonly before: number; readonly names: number }>> = {
  [types.NS]: { before: 0, names: 1 },
  [types.CNAME]: { before: 0, names: 1 },
  [types.SOA]: { before: 0, names: 2 },
  [types.PTR]: { before: 0, names: 1 },
  [types.MX]: { before: 2, names: 1 },
  [types.SRV]: { before: 6, names: 1 },
}

/** The records of a section, free of their message; undefined when one cannot be read. */
export function readSection(
  bytes: Uint8Array,
  heads: readonly RecordHead[],
): readonly ResourceRecord[] | undefined {
  const records: ResourceRecord[] = []
  for (const head of heads) {
    const owner = readName(bytes, head.at)
    const data = readData(bytes, head)
    if (owner === undefined || data === undefined) return undefined
    records.push({ name: owner.name, type: head.type, ttl: head.ttl, data })
  }
  return records
}

function readData(bytes: Uint8Array, head: RecordHead): Data | undefined {
  const end = head.dataAt + head.dataLength
  const shape = nameShapes[head.type]
  if (shape === undefined) return [bytes.slice(head.dataAt, end)]
  const parts: (Uint8Array | Name)[] = []
  if (shape.before > 0) parts.push(bytes.slice(head.dataAt, head.dataAt + shape.before))
  let at = head.dataAt + shape.before
  for (let left = shape.names; left > 0; left--) {
    const read = readName(bytes, at)
    if (read === undefined || read.next > end) return undefined
    parts.push(read.name)
    at = read.next
  }
  if (at < end) parts.push(bytes.slice(at, end))
  return parts
}
