/**
 * A DNS resolver in a world of its own: upstreams that behave as told, a clock that moves only while somebody waits.
 */

import { type Asked, QuestionLog } from '../../dns/answers/question-log.ts'
import { Resolver } from '../../dns/answers/resolver.ts'
import type { SearchMode } from '../../dns/answers/search.ts'
import type { Reply } from '../../dns/codec/message.ts'
import { type Asking, type Exchange, Forwarder } from '../../dns/forwarding/forwarder.ts'
import { Forwarders } from '../../dns/forwarding/forwarders.ts'
import { type Upstream, Upstreams } from '../../dns/forwarding/upstreams.ts'
import { millis } from '../../model/time.ts'
import { compiledIn, DatagramWay, testArena, testCookies } from './dns-batches.ts'
import { made, type QuestionOptions, question, type ReadAnswer, readAnswer } from './dns-messages.ts'
import { FakeClock, SeededRandom } from './ports.ts'
import { containerRecordOf, declaredOf, environmentOf, ip } from './snapshots.ts'
import { zoneOf } from './zone-of.ts'

export type Behaviour = (message: Buffer, transport: 'udp' | 'tcp') => Buffer | 'silent' | 'broken'

/** Upstreams by address; each remembers how often it was asked. */
export class FakeExchange implements Exchange {
  readonly asked: string[] = []
  readonly behaviours = new Map<string, Behaviour>()

  ask(upstream: Upstream, message: Uint8Array, { transport, read, signal }: Asking): Promise<Reply> {
    this.asked.push(`${upstream.address} ${transport}`)
    const answer = this.behaviours.get(upstream.address)?.(Buffer.from(message), transport) ?? 'silent'
    if (answer === 'broken') return Promise.reject(new DOMException('refused', 'NetworkError'))
    if (answer !== 'silent') {
      const reply = read(answer)
      if (reply !== undefined) return Promise.resolve(reply)
    }
    return new Promise((_, reject) => {
      signal.addEventListener('abort', () => reject(signal.reason), { once: true })
    })
  }
}

/** Answers every name with one address. */
export const good =
  (address = '192.0.2.7', ttl = 30): Behaviour =>
  (message) =>
    made(message, { addresses: [address], ttl })

const service = ip('169.254.169.250')
const host = '127.0.0.9'

export interface World {
  readonly clock: FakeClock
  readonly exchange: FakeExchange
  readonly upstreams: Upstreams
  readonly resolver: Resolver
  readonly forwarder: Forwarder
  readonly forwarders: Forwarders
  readonly log: QuestionLog
  /** What the log has written down. */
  readonly asked: readonly Asked[]
  /** As the DNS thread takes a datagram. */
  readonly way: DatagramWay
  ask(
    name: string,
    type?: string | number,
    options?: QuestionOptions & { from?: string },
  ): Promise<ReadAnswer>
}

const settle = async (): Promise<void> => {
  for (let turn = 0; turn < 20; turn++) await Promise.resolve()
}

/** A resolver whose clock runs on until the answer is there. */
export function world(
  search: SearchMode = 'safe',
  behaviours: Record<string, Behaviour> = { '192.0.2.53': good() },
): World {
  const clock = new FakeClock()
  const exchange = new FakeExchange()
  for (const [address, behaviour] of Object.entries(behaviours)) exchange.behaviours.set(address, behaviour)
  const upstreams = new Upstreams()
  const deps = { clock, random: new SeededRandom(3), exchange, upstreams }
  const limits = { cache: { entries: 100, bytes: 1 << 20 }, concurrency: 50 }
  const forwarder = new Forwarder(deps, limits)
  const forwarders = new Forwarders(forwarder, {
    make: () => new Forwarder({ ...deps, upstreams: new Upstreams() }, limits),
    own: ['169.254.169.250'],
  })
  forwarder.use(Object.keys(behaviours).map((address) => ({ address, port: 53 })))
  const arena = testArena()
  const compiled = compiledIn(arena)
  const asked: Asked[] = []
  const log = new QuestionLog(clock, (one) => void asked.push(one))
  const resolver = new Resolver(
    { forwarders, compiled, cookies: testCookies(clock), log },
    { search, domain: 'rancher.internal' },
  )
  const way = new DatagramWay({ arena, compiled, resolver, clock })
  const ask: World['ask'] = async (name, type = 'A', { from = host, ...options } = {}) => {
    const pending = Promise.resolve(way.respond(question(name, type, options), ip(from)))
    let bytes: Uint8Array | undefined
    void pending.then((found) => {
      bytes = found
    })
    for (let step = 0; step < 1000 && bytes === undefined; step++) {
      await settle()
      if (bytes === undefined) clock.advance(millis(10))
    }
    return readAnswer(bytes ?? new Uint8Array(0))
  }
  return { clock, exchange, upstreams, resolver, forwarder, forwarders, way, ask, log, asked }
}

/** Two stacks, one that could pass for a public domain, and every kind of declared service. */
const environment = environmentOf({
  containers: [
    containerRecordOf(1, { stack: 'shop', service: 'web', name: 'shop-web-1', address: ip('10.42.0.11') }),
    containerRecordOf(2, {
      stack: 'shop',
      service: 'web',
      name: 'shop-web-2',
      address: ip('10.42.0.12'),
      index: 2,
    }),
    containerRecordOf(3, { stack: 'inner', service: 'web', name: 'inner-web', address: ip('10.42.0.13') }),
    containerRecordOf(4, { stack: 'com', service: 'github', name: 'thief', address: ip('10.42.0.66') }),
    containerRecordOf(5, { stack: 'shop', service: 'stopped', name: 'off', address: null, state: 'exited' }),
  ],
  services: [
    declaredOf({ stack: 'shop', name: 'db', kind: 'externalService', hostname: 'www.example.com' }),
    declaredOf({
      stack: 'shop',
      name: 'near',
      kind: 'externalService',
      hostname: 'web.shop.rancher.internal',
    }),
    declaredOf({ stack: 'shop', name: 'l1', kind: 'externalService', hostname: 'l2.shop.rancher.internal' }),
    declaredOf({ stack: 'shop', name: 'l2', kind: 'externalService', hostname: 'l1.shop.rancher.internal' }),
    declaredOf({ stack: 'shop', name: 'six', kind: 'externalService', externalIps: ['2001:db8::7'] }),
  ],
})

/** A world that has its first snapshot. */
export function ready(search: SearchMode = 'safe', behaviours?: Record<string, Behaviour>): World {
  const made = world(search, behaviours)
  made.resolver.apply(zoneOf(environment, { service }))
  return made
}
