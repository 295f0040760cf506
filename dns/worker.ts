/**
 * The DNS thread: builds resolver and sockets, takes zones and networks from the daemon, reports to it. It answers
 * whatever the daemon's own thread is busy with.
 */
import { flushCompileCache } from 'node:module'
import { parentPort } from 'node:worker_threads'
import { Libc, makeArena } from '../linux/ffi.ts'
import { bindListener } from '../linux/listener.ts'
import { ReplySocket } from '../linux/replies.ts'
import { reasonOf } from '../model/errors.ts'
import type { Ipv4 } from '../model/ip.ts'
import { Batches } from './answers/batches.ts'
import { CompiledAnswers } from './answers/compiled.ts'
import { EngineNames } from './answers/engine-names.ts'
import { QuestionLog } from './answers/question-log.ts'
import { Resolver } from './answers/resolver.ts'
import { SocketExchange } from './forwarding/exchange.ts'
import { Forwarder, type ForwarderOptions } from './forwarding/forwarder.ts'
import { Forwarders } from './forwarding/forwarders.ts'
import { followHostUpstreams, type HostUpstreams } from './forwarding/host-upstreams.ts'
import { Upstreams } from './forwarding/upstreams.ts'
import type { FromWorker, ToWorker, WorkerOptions } from './link.ts'
import { type PackedZone, unpacked } from './packed.ts'
import { type DnsServer, serveDns } from './server.ts'
import { workerClock as clock, workerRandom as random, workerHash } from './system.ts'
import { ZoneCopy } from './zone/changes.ts'
import type { Zone } from './zone/targets.ts'

const hostLimits = { cache: { entries: 20_000, bytes: 32 << 20 }, concurrency: 1000 }
/** Of each list of resolvers that containers have for themselves. */
const ownLimits = { cache: { entries: 2000, bytes: 4 << 20 }, concurrency: 200 }
const megabyte = 1 << 20
/** Only what is used of it takes memory. */
const compiledMemory = 64 * megabyte
const compiledEntries = 250_000
const batch = { slots: 64, room: 4096, buffer: 4 * megabyte }

class DnsWorker {
  readonly #options: WorkerOptions
  readonly #say: (message: FromWorker) => void
  readonly #forwarders: Forwarders
  readonly #log: QuestionLog
  readonly #resolver: Resolver
  readonly #batches: Batches
  readonly #libc: Libc
  #copy = new ZoneCopy()
  /** Of zones, not yet taken in. */
  readonly #pieces: PackedZone[] = []
  #zone: Zone | undefined
  /** How many the zone has. */
  #names = 0
  #server: DnsServer | undefined
  #host: HostUpstreams | undefined
  #toListen = false
  readonly #mayListen = Promise.withResolvers<void>()

  constructor(deps: { say: (message: FromWorker) => void }, options: WorkerOptions) {
    this.#options = options
    this.#say = deps.say
    const exchange = new SocketExchange()
    const forwarder = (limits: ForwarderOptions): Forwarder =>
      new Forwarder({ clock, random, exchange, upstreams: new Upstreams() }, limits)
    this.#forwarders = new Forwarders(forwarder(hostLimits), {
      make: () => forwarder(ownLimits),
      own: options.own,
    })
    const arena = makeArena(compiledMemory + 2 * megabyte)
    const memory = { bytes: arena.bytes, at: arena.take(compiledMemory), length: compiledMemory }
    const compiled = new CompiledAnswers(memory, { entries: compiledEntries })
    this.#log = new QuestionLog(clock, (asked) => this.#say({ is: 'asked', asked }))
    const resolver = new Resolver(
      {
        forwarders: this.#forwarders,
        compiled,
        cookies: { clock, hash: workerHash },
        log: this.#log,
      },
      options,
    )
    this.#libc = new Libc(arena)
    const socket = new ReplySocket(this.#libc, { ...batch, address: options.address })
    this.#batches = new Batches({ arena, socket, compiled, resolver, clock })
    this.#resolver = resolver
  }

  async start(): Promise<void> {
    try {
      this.#host = await followHostUpstreams({ clock, use: (list) => this.#use(list) }, this.#options)
      await this.#mayListen.promise
      const bindTcp = (address: Ipv4, port: number): number => bindListener(this.#libc, address, port)
      const parts = { resolver: this.#resolver, batches: this.#batches, bindTcp }
      this.#server = await serveDns(parts, this.#options)
      const { port, sockets } = this.#server
      this.#say({ is: 'ready', port, sockets })
      this.#forwarders.host.probeLoops()
      flushCompileCache()
    } catch (error) {
      this.#say({ is: 'failed', why: reasonOf(error) })
    }
  }

  async hear(message: Exclude<ToWorker, { is: 'begin' }>): Promise<void> {
    if (message.is === 'zone') this.#take(message.piece)
    else if (message.is === 'networks') this.#resolver.applyNetworks(new EngineNames(message.networks))
    else if (message.is === 'listen') this.#listen()
    else if (message.is === 'watch') this.#log.watch(message.addresses)
    else if (message.is === 'report') this.#report()
    else if (message.is === 'ask') await this.#ask(message)
    else await this.#close()
  }

  /** One piece in a turn of the event loop: questions come in between. Until the last one nothing new is given. */
  #take(piece: PackedZone): void {
    this.#pieces.push(piece)
    if (this.#pieces.length === 1) setImmediate(() => this.#takeNext())
  }

  #takeNext(): void {
    const [piece] = this.#pieces
    if (piece === undefined) return
    // The one before answers until the new one is whole.
    if (piece.anew) this.#copy = new ZoneCopy()
    const { zone, size, touched } = this.#copy.apply(unpacked(piece), piece.big)
    if (piece.last) {
      this.#zone = zone
      this.#names = size
      this.#resolver.apply(zone, touched)
      this.#report()
    }
    this.#pieces.shift()
    if (this.#pieces.length > 0) setImmediate(() => this.#takeNext())
    else if (this.#toListen) this.#mayListen.resolve()
  }

  /** Once the zone that was told before is taken in. */
  #listen(): void {
    this.#toListen = true
    if (this.#pieces.length === 0) this.#mayListen.resolve()
  }

  #use(list: Parameters<Forwarder['use']>[0]): void {
    this.#resolver.use(list)
    if (this.#server !== undefined) this.#forwarders.host.probeLoops()
    this.#say({ is: 'upstreams', addresses: list.map(({ address, port }) => `${address}:${port}`) })
  }

  async #ask({ id, questions, from }: ToWorker & { is: 'ask' }): Promise<void> {
    const answers = await Promise.all(questions.map((one) => this.#resolver.respond(one, from, 'tcp')))
    this.#say({ is: 'told', id, answers: answers.map((one) => one ?? new Uint8Array(0)) })
  }

  #report(): void {
    const report = {
      revision: this.#zone?.revision,
      names: this.#names,
      results: { ...this.#resolver.results },
      cached: this.#forwarders.cached,
      upstreams: this.#forwarders.status(),
    }
    this.#say({ is: 'report', report })
  }

  async #close(): Promise<void> {
    this.#host?.close()
    await this.#server?.close()
    this.#say({ is: 'closed' })
    parentPort?.close()
  }
}

let thread: DnsWorker | undefined

function begin(options: WorkerOptions): void {
  thread = new DnsWorker({ say: (message) => parentPort?.postMessage(message) }, options)
  void thread.start()
}

parentPort?.on('message', (message: ToWorker) => {
  if (message.is === 'begin') begin(message.options)
  else void thread?.hear(message)
})
