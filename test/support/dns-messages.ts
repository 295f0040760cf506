/**
 * DNS messages for tests: questions made by hand, answers read by dns2, which shares no code with ours; and an
 * upstream that answers on loopback over UDP and TCP.
 */
import { createSocket, type Socket } from 'node:dgram'
import { createServer, type Server } from 'node:net'
import { Packet } from 'dns2'

export const typeNumbers: Readonly<Record<string, number>> = {
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
  HTTPS: 65,
  ANY: 255,
}

const typeNames = new Map(Object.entries(typeNumbers).map(([name, number]) => [number, name]))

export interface QuestionOptions {
  readonly id?: number
  readonly class?: number
  /** EDNS size; without it the question has no OPT. */
  readonly edns?: number | undefined
  readonly version?: number
  readonly flags?: number
}

/** The wire form of a question with recursion desired. */
export function question(name: string, type: string | number, options: QuestionOptions = {}): Buffer {
  const labels = name === '' ? [] : name.split('.')
  const header = Buffer.alloc(12)
  header.writeUInt16BE(options.id ?? 4660, 0)
  header.writeUInt16BE(options.flags ?? 0x0100, 2)
  header.writeUInt16BE(1, 4)
  header.writeUInt16BE(options.edns === undefined ? 0 : 1, 10)
  const fixed = Buffer.alloc(4)
  fixed.writeUInt16BE(typeof type === 'number' ? type : (typeNumbers[type] ?? 0), 0)
  fixed.writeUInt16BE(options.class ?? 1, 2)
  const wire = labels.map((label) => Buffer.concat([Buffer.of(label.length), Buffer.from(label, 'latin1')]))
  return Buffer.concat([header, ...wire, Buffer.of(0), fixed, opt(options)])
}

function opt({ edns, version = 0 }: QuestionOptions): Buffer {
  if (edns === undefined) return Buffer.alloc(0)
  const bytes = Buffer.alloc(11)
  bytes.writeUInt16BE(41, 1)
  bytes.writeUInt16BE(edns, 3)
  bytes.writeUInt8(version, 6)
  return bytes
}

export interface ReadAnswer {
  readonly id: number
  readonly rcode: number
  readonly aa: number
  readonly tc: number
  readonly rd: number
  readonly ra: number
  readonly question: string
  /** `name type ttl data`, lower case, in the order of the message. */
  readonly answers: readonly string[]
  readonly authority: readonly string[]
  readonly opt: Readonly<Record<string, unknown>> | undefined
}

/** What dns2 makes of an answer; throws where it finds something that it cannot decode. */
export function readAnswer(bytes: Uint8Array): ReadAnswer {
  const packet = Packet.parse(Buffer.from(bytes))
  if (packet.errors.length > 0) throw new TypeError(JSON.stringify(packet.errors))
  const { id, rcode, aa, tc, rd, ra } = packet.header
  const records = (list: readonly object[]): string[] => list.map((one) => textOf({ ...one }))
  return {
    id,
    rcode,
    aa,
    tc,
    rd,
    ra,
    question: packet.questions[0]?.name ?? '',
    answers: records(packet.answers),
    authority: records(packet.authorities),
    opt: packet.additionals
      .map((one) => ({ ...one }) as Record<string, unknown>)
      .find((one) => one.type === 41),
  }
}

function textOf(record: Readonly<Record<string, unknown>>): string {
  const { name, type, ttl } = record
  const named = typeNames.get(Number(type)) ?? String(type)
  return `${String(name).toLowerCase()}. ${named} ${ttl} ${dataOf(named, record)}`
}

function dataOf(type: string, record: Readonly<Record<string, unknown>>): string {
  if (type === 'A' || type === 'AAAA') return String(record.address)
  if (type === 'CNAME' || type === 'PTR') return `${record.domain}.`
  if (type === 'NS') return `${record.ns}.`
  if (type === 'SRV') return `${record.priority} ${record.weight} ${record.port} ${record.target}.`
  if (type !== 'SOA') return ''
  const { primary, admin, refresh, retry, expiration, minimum } = record
  return `${String(primary).toLowerCase()}. ${String(admin).toLowerCase()}. <serial> ${refresh} ${retry} ${expiration} ${minimum}`
}

export interface StubUpstream {
  readonly port: number
  /** Every question it was asked, as `transport name type`. */
  readonly asked: string[]
  close(): Promise<void>
}

export type StubAnswer = (
  asked: { readonly name: string; readonly type: number; readonly transport: 'udp' | 'tcp' },
  question: Buffer,
) => Buffer | undefined

/** An upstream on loopback; an answer of undefined is silence. */
export async function stubUpstream(answer: StubAnswer): Promise<StubUpstream> {
  const asked: string[] = []
  const respond = (bytes: Buffer, transport: 'udp' | 'tcp'): Buffer | undefined => {
    const [first] = Packet.parse(bytes).questions
    const name = (first?.name ?? '').toLowerCase()
    const type = first?.type ?? 0
    asked.push(`${transport} ${name} ${typeNames.get(type) ?? type}`)
    return answer({ name, type, transport }, bytes)
  }
  const tcp = createServer((socket) => {
    socket.on('error', () => socket.destroy())
    socket.once('data', (chunk: Buffer) => {
      const reply = respond(chunk.subarray(2), 'tcp')
      if (reply === undefined) return
      const length = Buffer.alloc(2)
      length.writeUInt16BE(reply.length, 0)
      socket.end(Buffer.concat([length, reply]))
    })
  })
  const udp = await samePort(tcp)
  const { port } = udp.address()
  udp.on('message', (bytes, from) => {
    const reply = respond(bytes, 'udp')
    if (reply !== undefined) udp.send(reply, from.port, from.address)
  })
  return {
    port,
    asked,
    close: async () => {
      await new Promise<void>((resolve) => udp.close(() => resolve()))
      await new Promise<void>((resolve) => void tcp.close(() => resolve()))
    },
  }
}

/** A UDP socket on a port that the TCP server could have as well. */
async function samePort(tcp: Server): Promise<Socket> {
  for (let left = 10; ; left--) {
    const udp = createSocket('udp4')
    await new Promise<void>((resolve) => udp.bind(0, '127.0.0.1', resolve))
    const free = await new Promise<boolean>((resolve) => {
      tcp.once('error', () => resolve(false))
      tcp.listen(udp.address().port, '127.0.0.1', () => resolve(true))
    })
    tcp.removeAllListeners('error')
    if (free) return udp
    udp.close()
    if (left === 0) throw new TypeError('no port is free')
  }
}

export interface Made {
  readonly rcode?: number
  readonly truncated?: boolean
  readonly addresses?: readonly string[]
  readonly ttl?: number
  /** Minimum of an SOA of `example.com` in the authority, and its TTL where that is not another. */
  readonly soa?: number
  readonly soaTtl?: number
}

/** An answer to `asked`, with addresses of the name itself. */
export function made(
  asked: Buffer,
  { rcode = 0, truncated = false, addresses = [], ttl = 30, soa, soaTtl = soa }: Made,
): Buffer {
  let end = 12
  while ((asked[end] ?? 0) !== 0) end += 1 + (asked[end] ?? 0)
  const head = Buffer.from(asked.subarray(0, end + 5))
  head.writeUInt16BE(0x8180 | rcode | (truncated ? 0x0200 : 0), 2)
  head.writeUInt16BE(addresses.length, 6)
  head.writeUInt16BE(soa === undefined ? 0 : 1, 8)
  head.writeUInt16BE(0, 10)
  const records = addresses.map((address) => {
    const record = Buffer.alloc(16)
    record.writeUInt16BE(0xc00c, 0)
    record.writeUInt16BE(1, 2)
    record.writeUInt16BE(1, 4)
    record.writeUInt32BE(ttl, 6)
    record.writeUInt16BE(4, 10)
    for (const [at, octet] of address.split('.').entries()) record.writeUInt8(Number(octet), 12 + at)
    return record
  })
  return Buffer.concat([
    head,
    ...records,
    soa === undefined ? Buffer.alloc(0) : soaRecord(soa, soaTtl ?? soa),
  ])
}

function soaRecord(minimum: number, ttl: number): Buffer {
  const fixed = Buffer.alloc(10)
  fixed.writeUInt16BE(6, 0)
  fixed.writeUInt16BE(1, 2)
  fixed.writeUInt32BE(ttl, 4)
  fixed.writeUInt16BE(22, 8)
  const numbers = Buffer.alloc(20)
  numbers.writeUInt32BE(minimum, 16)
  return Buffer.concat([Buffer.from('\x07example\x03com\x00', 'latin1'), fixed, Buffer.of(0, 0), numbers])
}
