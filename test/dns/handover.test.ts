/**
 * A resolver that takes the sockets of another, as a daemon's successor does, under steady questions: none is lost,
 * and what the first one has read is answered by it. Both are real threads on loopback.
 */
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { connect } from 'node:net'
import { type Test, test } from 'tap'
import { type Dns, startDns } from '../../dns/dns.ts'
import type { DnsSockets } from '../../dns/link.ts'
import type { DnsOptions } from '../../dns/options.ts'
import { Libc, makeArena } from '../../linux/ffi.ts'
import { made, question, readAnswer } from '../support/dns-messages.ts'
import { until } from '../support/netns.ts'
import { MemoryLog, MemoryMeter } from '../support/ports.ts'
import { realClock } from '../support/real-clock.ts'
import { containerRecordOf, environmentOf, ip } from '../support/snapshots.ts'

const name = 'web.shop.rancher.internal'
const address = '10.42.0.9'

async function started(t: Test, over: Partial<DnsOptions>): Promise<Dns> {
  const web = containerRecordOf(1, { stack: 'shop', service: 'web', name: 'web', address: ip(address) })
  const deps = { clock: realClock, log: new MemoryLog(), meter: new MemoryMeter() }
  const base = { address: '127.0.0.1', resolvConf: '/nonexistent', domain: 'rancher.internal' }
  const options: DnsOptions = { ...base, port: 0, upstreams: [], search: 'safe', ...over }
  const dns = await startDns(deps, options, environmentOf({ revision: 1, containers: [web] }))
  t.teardown(() => dns.close())
  return dns
}

/** As a child inherits them: other descriptors of the same sockets. */
function inherited(dns: Dns): DnsSockets {
  const libc = new Libc(makeArena(4096))
  const { udp = -1, tcp = -1 } = dns.sockets() ?? {}
  return { udp: libc.dup(udp), tcp: libc.dup(tcp) }
}

/** Questions under way over UDP at one time: one that is lost is not asked again. */
const window = 20

/** Asks over UDP, the next question with each answer, and over TCP, by one connection after the other. */
class Asker {
  readonly answers: string[] = []
  sent = 0
  readonly #port: number
  readonly #udp = createSocket('udp4')
  #asking = true

  constructor(port: number) {
    this.#port = port
    this.#udp.on('message', (bytes) => {
      this.#heard(bytes)
      this.#datagram()
    })
    for (let n = 0; n < window; n++) this.#datagram()
    this.#connection()
  }

  async settled(): Promise<void> {
    this.#asking = false
    await until(`answers to all ${this.sent} questions`, () => this.answers.length === this.sent)
  }

  close(): void {
    this.#asking = false
    this.#udp.close()
  }

  #heard(bytes: Buffer): void {
    this.answers.push(readAnswer(bytes).answers.join())
  }

  #datagram(): void {
    if (!this.#asking) return
    this.sent += 1
    this.#udp.send(question(name, 'A', { id: this.sent & 0xffff }), this.#port, '127.0.0.1')
  }

  #connection(): void {
    if (!this.#asking) return
    this.sent += 1
    const asked = question(name, 'A')
    const length = Buffer.of(asked.length >> 8, asked.length & 0xff)
    const connection = connect(this.#port, '127.0.0.1', () =>
      connection.write(Buffer.concat([length, asked])),
    )
    connection.on('error', () => {})
    connection.once('data', (bytes: Buffer) => {
      this.#heard(bytes.subarray(2))
      connection.end()
      this.#connection()
    })
  }
}

test('sockets are handed over under steady questions', async (t) => {
  let last = await started(t, {})
  const { port } = last.stats()
  const asker = new Asker(port)
  t.teardown(() => asker.close())
  for (let round = 0; round < 3; round++) {
    const next = await started(t, { port, inherited: inherited(last) })
    await last.close()
    last = next
    const { length } = asker.answers
    await until('answers by the successor', () => asker.answers.length > length + 100)
  }
  await asker.settled()
  t.comment(`${asker.sent} questions`)
  t.strictSame([...new Set(asker.answers)], [`${name}. A 1 ${address}`])
})

test('what was read is answered, however late', async (t) => {
  const upstream = createSocket('udp4')
  await new Promise<void>((resolve) => upstream.bind(0, '127.0.0.1', resolve))
  t.teardown(() => void upstream.close())
  const release: (() => void)[] = []
  upstream.on('message', (bytes, from) => {
    // Not what finds loops.
    if (!/slow/i.test(bytes.toString('latin1'))) return
    const reply = made(bytes, { addresses: ['192.0.2.1'] })
    release.push(() => upstream.send(reply, from.port, from.address))
  })
  const first = await started(t, { upstreams: [`127.0.0.1:${upstream.address().port}`] })
  const { port } = first.stats()
  const client = createSocket('udp4')
  t.teardown(() => void client.close())
  const heard = once(client, 'message')
  client.send(question('slow.example.com', 'A'), port, '127.0.0.1')
  await until('the question at the upstream', () => release.length > 0)
  await started(t, { port, inherited: inherited(first) })
  const closed = first.close()
  for (const each of release) each()
  const [bytes] = (await heard) as [Buffer]
  t.strictSame(readAnswer(bytes).answers, ['slow.example.com. A 30 192.0.2.1'])
  await closed
})

test('a port that another program has is refused', async (t) => {
  const first = await started(t, {})
  await t.rejects(started(t, { port: first.stats().port }), { code: 'DNS_ADDRESS', message: /EADDRINUSE/ })
})
