/**
 * DNS as the daemon holds it: starts the worker, gives it the newest snapshot, and starts another one with the same
 * state when it ends or hangs. Answers are the worker's affair alone.
 */
import { Worker } from 'node:worker_threads'
import type { EngineNetwork } from '../model/engine.ts'
import type { Environment } from '../model/environment.ts'
import { DroverError, reasonOf } from '../model/errors.ts'
import type { Explained } from '../model/explained.ts'
import { formatIpv4, type Ipv4, parseIpv4 } from '../model/ip.ts'
import type { Clock, Log, Meter, Timer } from '../model/ports.ts'
import { millis, seconds } from '../model/time.ts'
import { EngineNames } from './answers/engine-names.ts'
import { explained } from './answers/explain.ts'
import { type Asked, addressesOf, type Follower, whyNotFollowed } from './answers/question-log.ts'
import type { Result } from './answers/resolver.ts'
import type { SearchMode } from './answers/search.ts'
import { parseName } from './codec/name.ts'
import { Inquiries } from './inquiries.ts'
import type { DnsSockets, FromWorker, ListenOptions, Report, ToWorker, WorkerOptions } from './link.ts'
import { packed } from './packed.ts'
import type { ZoneChanges } from './zone/changes.ts'
import { ZoneProjection } from './zone/projection.ts'
import type { LastResort } from './zone/service-target.ts'

export interface DnsOptions {
  /** Must be on an interface of this machine before DNS starts. */
  readonly address: string
  /** 0 for any. */
  readonly port: number
  /** `address` or `address:port`; empty for those of `resolvConf`. */
  readonly upstreams: readonly string[]
  readonly resolvConf: string
  readonly domain: string
  readonly search: SearchMode
  /** As in `ZoneOptions`. */
  readonly lastResort?: LastResort
  /** Further addresses of this host at which we answer: never forwarded to. */
  readonly own?: readonly string[]
  /** Sockets that a predecessor has bound to this address and port. */
  readonly inherited?: DnsSockets | undefined
}

export interface DnsStats extends Report {
  readonly port: number
  readonly up: boolean
  readonly restarts: number
}

export interface Dns {
  /** The newest snapshot; answers follow within milliseconds. */
  apply(environment: Environment): void
  /** All user-defined networks of the engine. */
  applyNetworks(networks: readonly EngineNetwork[]): void
  /** Why a name gets the answer it gets, for a container by name, id or address, or for anybody else. */
  explain(name: string, from: string | undefined): Promise<Explained>
  /** Tells every question of a container (as for `explain`) from now on; returns what ends it. */
  follow(which: string, push: (asked: Asked) => void): () => void
  /** As the worker last reported; no older than two seconds while it is up. */
  stats(): DnsStats
  /** For a successor to inherit; undefined while the worker is being started again. */
  sockets(): DnsSockets | undefined
  /** Answers what was asked, and ends. */
  close(): Promise<void>
}

export interface DnsDeps {
  readonly clock: Clock
  readonly log: Log
  readonly meter: Meter
}

/** A DNS thread that is loaded, and does not listen yet. */
export interface PreparedDns {
  /**
   * Listens and answers, of `environment` and `networks` from the first question on; rejects with DNS_ADDRESS when the
   * address or the port cannot be had.
   */
  start(environment?: Environment, networks?: readonly EngineNetwork[]): Promise<Dns>
  /** Also once it was started. */
  close(): Promise<void>
}

/** Loading takes the thread longer than all that comes after it: begin early. */
export function prepareDns(deps: DnsDeps, options: DnsOptions): PreparedDns {
  const dns = new DnsHandle(deps, workerOptions(options), options)
  return {
    start: async (environment, networks = []) => {
      if (environment !== undefined) dns.apply(environment)
      dns.applyNetworks(networks)
      await dns.start()
      return dns
    },
    close: () => dns.close(),
  }
}

/** Prepares and starts. */
export const startDns = (
  deps: DnsDeps,
  options: DnsOptions,
  environment?: Environment,
  networks?: readonly EngineNetwork[],
): Promise<Dns> => prepareDns(deps, options).start(environment, networks)

function workerOptions({ address, domain, own = [], ...given }: DnsOptions): ListenOptions {
  const { inherited: _, lastResort: __, ...rest } = given
  const parsed = parseIpv4(address)
  if (parsed === undefined) throw new DroverError('DNS_ADDRESS', `${address} is no IPv4 address`)
  return { ...rest, address: parsed, domain: parseName(domain) ?? 'rancher.internal', own }
}

const reportEvery = seconds(1)
/** Counted in ticks of our own thread, so that its being busy is not held against the worker. */
const missedReportsToHang = 10
/** Upstreams have 4.5 s for an answer. */
const longestAnswer = seconds(5)
const restartFirst = millis(50)
const restartMost = seconds(5)

const noResults: Record<Result, number> = {
  local: 0,
  engine: 0,
  cached: 0,
  forwarded: 0,
  failed: 0,
  refused: 0,
  dropped: 0,
}

const silence: Report = { revision: undefined, names: 0, results: noResults, cached: 0, upstreams: [] }

const results = Object.keys(noResults) as readonly Result[]

const entry = new URL(import.meta.url.endsWith('.ts') ? './worker.ts' : './worker.js', import.meta.url)

class DnsHandle implements Dns {
  readonly #deps: DnsDeps
  readonly #options: ListenOptions
  #worker: Worker | undefined
  readonly #zone: ZoneProjection
  #environment: Environment | undefined
  #networks: readonly EngineNetwork[] = []
  readonly #inquiries = new Inquiries((message) => this.#tell(message))
  readonly #followers = new Map<Follower, readonly Ipv4[]>()
  #report = silence
  /** Among those of the report, which has containers' own as well. */
  #hostUpstreams: readonly string[] = []
  #inherited: DnsSockets | undefined
  #sockets: DnsSockets | undefined
  #port = 0
  #up = false
  #restarts = 0
  /** Failures in a row, for the back-off. */
  #failures = 0
  #unanswered = 0
  #closing = false
  #timer: Timer | undefined
  /** Why the first thread does not listen; undefined when it does. */
  readonly #launched: Promise<string | undefined>

  constructor(
    deps: DnsDeps,
    options: ListenOptions,
    { inherited, lastResort = 'running' }: Pick<DnsOptions, 'inherited' | 'lastResort'>,
  ) {
    this.#deps = deps
    this.#options = options
    this.#inherited = inherited
    this.#zone = new ZoneProjection({ service: options.address, lastResort })
    this.#launched = this.#launch()
  }

  async start(): Promise<void> {
    this.#tell({ is: 'listen' })
    const why = await this.#launched
    if (why !== undefined) {
      await this.close()
      const { address, port } = this.#options
      throw new DroverError('DNS_ADDRESS', `${formatIpv4(address)} port ${port}: ${why}`)
    }
    this.#watch()
  }

  apply(environment: Environment): void {
    this.#environment = environment
    this.#tellZone(this.#zone.update(environment))
    if (this.#followers.size > 0) this.#watchFollowed()
  }

  applyNetworks(networks: readonly EngineNetwork[]): void {
    this.#networks = networks
    this.#tell({ is: 'networks', networks })
  }

  async explain(name: string, from: string | undefined): Promise<Explained> {
    const environment = this.#environment
    const { zone } = this.#zone
    if (environment === undefined || zone === undefined)
      throw new DroverError('USAGE', 'the environment is not known yet; try again')
    const engine = new EngineNames(this.#networks)
    const { search: mode, address } = this.#options
    const own = [...this.#options.own, formatIpv4(address)]
    const deps = { environment, zone, engine, mode, own, upstreams: this.#hostUpstreamTexts() }
    const found = explained(deps, name, from)
    if (found.openFor === undefined) return found.explained
    const answer = await this.#inquiries.answers(found.explained.name, found.openFor)
    return { ...found.explained, answer }
  }

  #hostUpstreamTexts(): readonly string[] {
    return this.#report.upstreams
      .filter(({ address, port }) => this.#hostUpstreams.includes(`${address}:${port}`))
      .map(({ address, port, up, rtt }) => `${address}:${port} (${up ? `${rtt.toFixed(0)} ms` : 'silent'})`)
  }

  follow(which: string, push: (asked: Asked) => void): () => void {
    const environment = this.#environment
    if (environment === undefined)
      throw new DroverError('USAGE', 'the environment is not known yet; try again')
    if (addressesOf(environment, which).length === 0)
      throw new DroverError('USAGE', whyNotFollowed(environment, which))
    const follower = { which, push }
    this.#followers.set(follower, [])
    this.#watchFollowed()
    return () => {
      if (this.#followers.delete(follower)) this.#watchFollowed()
    }
  }

  /** A container has another address after a restart. */
  #watchFollowed(): void {
    const environment = this.#environment
    if (environment === undefined) return
    for (const follower of this.#followers.keys())
      this.#followers.set(follower, addressesOf(environment, follower.which))
    this.#tell({ is: 'watch', addresses: [...this.#followers.values()].flat() })
  }

  stats(): DnsStats {
    return { ...this.#report, port: this.#port, up: this.#up, restarts: this.#restarts }
  }

  sockets(): DnsSockets | undefined {
    return this.#up ? this.#sockets : undefined
  }

  async close(): Promise<void> {
    this.#closing = true
    this.#timer?.cancel()
    const worker = this.#worker
    if (worker === undefined) return
    const ended = new Promise((resolve) => worker.once('exit', resolve))
    if (this.#up) worker.postMessage({ is: 'close' } satisfies ToWorker)
    else await worker.terminate()
    const forced = this.#deps.clock.after(longestAnswer, () => void worker.terminate())
    await ended
    forced.cancel()
  }

  #tellZone(changes: ZoneChanges): void {
    for (const piece of packed(changes)) this.#tell({ is: 'zone', piece })
  }

  #tell(message: ToWorker): void {
    this.#worker?.postMessage(message)
  }

  /** Resolves when the worker listens, which it does once it is told to, or with the reason why it does not. */
  #launch(): Promise<string | undefined> {
    const port = this.#port === 0 ? this.#options.port : this.#port
    // Once: a thread that ends has closed them.
    const inherited = this.#inherited
    this.#inherited = undefined
    const options: WorkerOptions = { ...this.#options, port, inherited }
    const worker = new Worker(entry, { workerData: options, name: 'drover-dns' })
    this.#worker = worker
    this.#unanswered = 0
    this.#report = { ...silence, upstreams: this.#report.upstreams }
    return new Promise((resolve) => {
      let reason = 'the DNS thread ended'
      worker.on('message', (message: FromWorker) => {
        if (message.is === 'failed') reason = message.why
        if (message.is === 'failed') void worker.terminate()
        if (message.is === 'ready') resolve(undefined)
        this.#hear(message)
      })
      worker.on('error', (error) => {
        reason = reasonOf(error)
        this.#deps.log.error('the DNS thread failed', { err: error })
      })
      worker.once('exit', () => {
        resolve(reason)
        this.#ended(worker)
      })
    })
  }

  #hear(message: FromWorker): void {
    if (message.is === 'ready') {
      this.#port = message.port
      this.#sockets = message.sockets
      this.#up = true
      this.#failures = 0
    } else if (message.is === 'report') {
      this.#unanswered = 0
      this.#count(message.report)
      this.#tellLoops(message.report)
      this.#report = message.report
    } else if (message.is === 'asked') {
      for (const [{ push }, addresses] of this.#followers)
        if (addresses.includes(message.asked.from)) push(message.asked)
    } else if (message.is === 'told') this.#inquiries.hear(message.id, message.answers)
    else if (message.is === 'upstreams') this.#tellUpstreams(message.addresses)
  }

  /** Once for each. */
  #tellLoops(report: Report): void {
    for (const { address, port, loops } of report.upstreams) {
      const before = this.#report.upstreams.find((one) => one.address === address && one.port === port)
      if (loops && before?.loops !== true)
        this.#deps.log.warn('an upstream resolver forwards to us and is not asked', {
          upstreams: [`${address}:${port}`],
        })
    }
  }

  #tellUpstreams(addresses: readonly string[]): void {
    this.#hostUpstreams = addresses
    if (addresses.length === 0)
      this.#deps.log.warn('no upstream resolver is known: only local names are answered')
    else this.#deps.log.info('upstream resolvers', { upstreams: addresses })
  }

  #count(report: Report): void {
    const { meter } = this.#deps
    for (const result of results) {
      const more = report.results[result] - this.#report.results[result]
      if (more > 0) meter.count('drover_dns_questions_total', more, { result })
    }
    meter.gauge('drover_dns_names', report.names)
    meter.gauge('drover_dns_cache_entries', report.cached)
    for (const { address, port, up } of report.upstreams)
      meter.gauge('drover_dns_upstream_up', up ? 1 : 0, { upstream: `${address}:${port}` })
    for (const { address, port, rtt } of report.upstreams)
      meter.gauge('drover_dns_upstream_seconds', rtt / 1000, { upstream: `${address}:${port}` })
  }

  /** Notices a worker that hangs; one that ended says so by itself. */
  #watch(): void {
    this.#timer = this.#deps.clock.after(reportEvery, () => {
      if (this.#up) {
        this.#unanswered += 1
        if (this.#unanswered > missedReportsToHang) void this.#worker?.terminate()
        else this.#tell({ is: 'report' })
      }
      this.#watch()
    })
  }

  #ended(worker: Worker): void {
    if (worker !== this.#worker) return
    const wasUp = this.#up
    this.#up = false
    this.#worker = undefined
    this.#inquiries.end()
    if (this.#closing || (this.#restarts === 0 && !wasUp && this.#port === 0)) return
    this.#restarts += 1
    this.#deps.meter.count('drover_worker_restarts_total', 1, { worker: 'dns' })
    const delay = Math.min(restartFirst * 2 ** this.#failures, restartMost)
    this.#failures += 1
    this.#deps.log.error('the DNS thread ended and is started again', { restarts: this.#restarts })
    this.#deps.clock.after(millis(delay), () => {
      if (!this.#closing) void this.#relaunch()
    })
  }

  async #relaunch(): Promise<void> {
    const launched = this.#launch()
    const changes = this.#zone.whole()
    if (changes !== undefined) this.#tellZone(changes)
    this.#tell({ is: 'networks', networks: this.#networks })
    if (this.#followers.size > 0) this.#watchFollowed()
    this.#tell({ is: 'listen' })
    const why = await launched
    if (why !== undefined && !this.#closing)
      this.#deps.log.error('the DNS thread could not be started', { reason: why })
  }
}
