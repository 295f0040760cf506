/**
 * A resolver of its own on loopback and what is thrown at it: batches over UDP, connections full over TCP, and after
 * each a good question whose answer says how long the resolver was busy.
 */
import { createSocket, type Socket } from 'node:dgram'
import { once } from 'node:events'
import { connect } from 'node:net'
import { type Dns, startDns } from '../../dns/dns.ts'
import { question } from '../../test/support/dns-messages.ts'
import { MemoryLog, MemoryMeter, SeededRandom } from '../../test/support/ports.ts'
import { realClock } from '../../test/support/real-clock.ts'
import { containerRecordOf, environmentOf, ip } from '../../test/support/snapshots.ts'
import { hostile, largestAnswer } from './hostile.ts'

export interface Phase {
  readonly over: 'udp' | 'tcp'
  readonly what: 'good' | 'hostile'
  readonly sent: number
  /** Not every message deserves an answer. */
  readonly answered: number
  /** Of the good questions, in milliseconds. */
  readonly waits: readonly number[]
}

export interface Fuzzed {
  readonly good: readonly Phase[]
  readonly hostile: readonly Phase[]
  /** How often the resolver's thread ended. */
  readonly crashes: number
  /** Answers over UDP, with what they answer, in hexadecimal digits. */
  readonly tooLarge: readonly string[]
  readonly seconds: number
}

interface Options {
  readonly messages: number
  readonly seed: number
}

const batch = 50
/** Messages in a phase of good questions, for each of a phase of hostile ones. */
const shareOfGood = 0.1
const patience = 10_000 // ms
const probe = question('web.shop.rancher.internal', 'A', { id: 0xffff })

type Next = (id: number) => Buffer

/** Half of the messages over UDP, half over TCP. */
export async function fuzz({ messages, seed }: Options): Promise<Fuzzed> {
  const began = performance.now()
  const containers = Array.from({ length: 40 }, (_, at) =>
    containerRecordOf(at + 1, {
      stack: 'shop',
      service: 'web',
      name: `web${at}`,
      address: ip(`10.42.0.${at + 9}`),
    }),
  )
  const options = {
    address: '127.0.0.1',
    port: 0,
    upstreams: [],
    resolvConf: '/nonexistent',
    search: 'safe',
  } as const
  const deps = { clock: realClock, log: new MemoryLog(), meter: new MemoryMeter() }
  const environment = environmentOf({ revision: 1, containers })
  const dns = await startDns(deps, { ...options, domain: 'rancher.internal' }, environment)
  const fuzzer = await Fuzzer.open(dns)
  const random = new SeededRandom(seed)
  const bad: Next = (id) => hostile(random, id)
  const fine: Next = (id) => question('web.shop.rancher.internal', 'A', { id, edns: 1232 })
  const half = Math.ceil(messages / 2)
  const few = Math.ceil(half * shareOfGood)
  try {
    const good = [await fuzzer.udp('good', few, fine), await fuzzer.tcp('good', few, fine)]
    const wicked = [await fuzzer.udp('hostile', half, bad), await fuzzer.tcp('hostile', half, bad)]
    const seconds = (performance.now() - began) / 1000
    return { good, hostile: wicked, crashes: dns.stats().restarts, tooLarge: fuzzer.tooLarge, seconds }
  } finally {
    fuzzer.close()
    await dns.close()
  }
}

class Fuzzer {
  readonly tooLarge: string[] = []
  readonly #port: number
  readonly #socket: Socket
  /** Of the present batch, by id. */
  #asked: Buffer[] = []
  #answered = 0
  #heard = Promise.withResolvers<void>()

  private constructor(port: number, socket: Socket) {
    this.#port = port
    this.#socket = socket
    socket.on('message', (bytes) => this.#hear(bytes))
    socket.on('error', () => {})
  }

  static async open(dns: Dns): Promise<Fuzzer> {
    const socket = createSocket('udp4')
    await new Promise<void>((resolve) => socket.bind(0, '127.0.0.1', resolve))
    return new Fuzzer(dns.stats().port, socket)
  }

  close(): void {
    this.#socket.close()
  }

  async udp(what: Phase['what'], messages: number, next: Next): Promise<Phase> {
    this.#answered = 0
    const waits: number[] = []
    for (let sent = 0; sent < messages; sent += batch) {
      this.#asked = Array.from({ length: batch }, (_, id) => next(id))
      for (const message of this.#asked) this.#socket.send(message, this.#port, '127.0.0.1')
      waits.push(await this.#probe())
    }
    return { over: 'udp', what, sent: Math.ceil(messages / batch) * batch, answered: this.#answered, waits }
  }

  async tcp(what: Phase['what'], messages: number, next: Next): Promise<Phase> {
    this.#asked = []
    const waits: number[] = []
    let [sent, answered] = [0, 0]
    while (sent < messages) {
      const frames = Array.from({ length: batch }, (_, id) => next(id))
      sent += frames.length
      const closed = this.#connection(frames)
      waits.push(await this.#probe())
      answered += await closed
    }
    return { over: 'tcp', what, sent, answered, waits }
  }

  /** How long a good question waits for its answer. */
  async #probe(): Promise<number> {
    this.#heard = Promise.withResolvers()
    const began = performance.now()
    const late = setTimeout(
      () => this.#heard.reject(new RangeError('a good question was not answered')),
      patience,
    )
    this.#socket.send(probe, this.#port, '127.0.0.1')
    await this.#heard.promise.finally(() => clearTimeout(late))
    return performance.now() - began
  }

  #hear(bytes: Buffer): void {
    const id = bytes.readUInt16BE(0)
    if (id === 0xffff) return void this.#heard.resolve()
    this.#answered += 1
    const asked = this.#asked[id]
    if (asked !== undefined && bytes.length > largestAnswer(asked))
      this.tooLarge.push(`${asked.toString('hex')} ${bytes.length}`)
  }

  /** Every message with its length, the last one with a length that is not its own; how many answers came. */
  async #connection(messages: readonly Buffer[]): Promise<number> {
    const socket = connect(this.#port, '127.0.0.1')
    let answers = 0
    let rest: Buffer = Buffer.alloc(0)
    socket.on('data', (chunk: Buffer) => {
      rest = Buffer.concat([rest, chunk])
      for (; rest.length >= 2 && rest.length >= 2 + rest.readUInt16BE(0); answers++)
        rest = rest.subarray(2 + rest.readUInt16BE(0))
    })
    // It may end the connection at a message that deserves no answer.
    socket.on('error', () => {})
    const closed = once(socket, 'close')
    socket.end(Buffer.concat([...messages.map(framed), Buffer.of(255, 255, 0)]))
    await closed
    return answers
  }
}

/** With what deserves no answer at all, the rest of a connection would go unread: over TCP that is made a question. */
function framed(message: Buffer): Buffer {
  const whole = Buffer.concat([message, Buffer.alloc(Math.max(0, 12 - message.length))])
  whole[2] = (whole[2] ?? 0) & 0x7f
  return Buffer.concat([Buffer.of(whole.length >> 8, whole.length & 0xff), whole])
}
