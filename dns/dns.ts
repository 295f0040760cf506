/**
 * DNS as the daemon holds it: starts the worker, gives it the newest snapshot, and starts another one with the same
 * state when it ends or hangs. Answers are the worker's affair alone.
 */
import type { EngineNetwork } from '../model/engine.ts'
import type { Environment } from '../model/environment.ts'
import { DroverError, reasonOf } from '../model/errors.ts'
import type { Explained } from '../model/explained.ts'
import { formatIpv4, type Ipv4 } from '../model/ip.ts'
import type { Clock, Log, Meter, Timer } from '../model/ports.ts'
import { millis, seconds } from '../model/time.ts'
import { EngineNames } from './answers/engine-names.ts'
import { explained } from './answers/explain.ts'
import { type Asked, addressesOf, type Follower, whyNotFollowed } from './answers/question-log.ts'
import { Inquiries } from './inquiries.ts'
import type { DnsSockets, ListenOptions, Report, ToWorker, WorkerOptions } from './link.ts'
import { type DnsOptions, listenOptionsOf } from './options.ts'
import { type PackedZone, pack } from './packed.ts'
import { silence, tellReport, tellUpstreams } from './reports.ts'
import { DnsThread, type ThreadEvent } from './thread.ts'
import type { ZoneChanges } from './zone/changes.ts'
import { ZoneProjection } from './zone/projection.ts'
import { type Telling, ZoneFile } from './zone-file.ts'

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

/**
 * Loading takes the thread longer than all that comes after it: begin early. `thread`: one that was started before, and
 * goes on answering if it does so with the same options.
 */
export function prepareDns(deps: DnsDeps, options: DnsOptions, thread?: DnsThread): PreparedDns {
  const dns = new DnsHandle(deps, options, thread)
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

const reportEvery = seconds(1)
/** Counted in ticks of our own thread, so that its being busy is not held against the worker. */
const missedReportsToHang = 10
/** Upstreams have 4.5 s for an answer. */
const longestAnswer = seconds(5)
const restartFirst = millis(50)
const restartMost = seconds(5)

class DnsHandle implements Dns {
  readonly #deps: DnsDeps
  readonly #options: ListenOptions
  /** What a daemon that comes after this one, once it was killed, answers first. */
  readonly #file: ZoneFile | undefined
  #thread: DnsThread | undefined
  /** Answers with other options, until we listen. */
  #misfit: DnsThread | undefined
  /** Whether the thread has a zone of ours, not of a daemon before. */
  #told = false
  /** Whether the thread answered before we looked after it. */
  #adopted = false
  /** The networks that it was told last. */
  #networksText: string | undefined
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

  constructor(deps: DnsDeps, options: DnsOptions, thread: DnsThread | undefined) {
    this.#deps = deps
    this.#options = listenOptionsOf(options)
    this.#inherited = options.inherited
    this.#file = options.kept === undefined ? undefined : new ZoneFile(options.kept, deps.log)
    this.#zone = new ZoneProjection({ service: this.#options.address, lastResort: options.lastResort })
    this.#launched = this.#launch(thread)
  }

  async start(): Promise<void> {
    await this.#misfit?.end()
    this.#tell({ is: 'listen' })
    const failed = await this.#launched
    const why = failed !== undefined && this.#adopted ? await this.#again() : failed
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
    const text = JSON.stringify(networks)
    if (text === this.#networksText) return
    this.#networksText = text
    const telling = this.#networksTelling
    this.#tell(telling)
    this.#file?.add([telling], () => this.#all())
  }

  async explain(name: string, from: string | undefined): Promise<Explained> {
    const environment = this.#environment
    const { zone } = this.#zone
    if (environment === undefined || zone === undefined)
      throw new DroverError('USAGE', 'the environment is not known yet; try again')
    const engine = new EngineNames(this.#networks)
    const { search: mode, own } = this.#options
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
    this.#file?.close()
    const thread = this.#thread
    if (thread === undefined) return
    if (this.#up) thread.tell({ is: 'close' })
    else await thread.end()
    const forced = this.#deps.clock.after(longestAnswer, () => void thread.end())
    await thread.exited
    forced.cancel()
  }

  #tellZone(changes: ZoneChanges): void {
    const anew = !this.#told
    this.#told = true
    const tellings: Telling[] = []
    const tell = (piece: PackedZone): void => {
      const telling: Telling = { is: 'zone', piece }
      this.#tell(telling)
      tellings.push(telling)
    }
    pack(changes, tell, anew)
    if (anew) this.#file?.begin([...tellings, this.#networksTelling])
    else this.#file?.add(tellings, () => this.#all())
  }

  /** What a thread that knows nothing needs. */
  #all(): readonly Telling[] {
    const changes = this.#zone.whole()
    const tellings: Telling[] = []
    if (changes !== undefined) pack(changes, (piece) => tellings.push({ is: 'zone', piece }), true)
    return [...tellings, this.#networksTelling]
  }

  get #networksTelling(): Telling {
    return { is: 'networks', networks: this.#networks }
  }

  #tell(message: ToWorker): void {
    this.#thread?.tell(message)
  }

  /** Resolves when the worker listens, which it does once it is told to, or with the reason why it does not. */
  #launch(early?: DnsThread): Promise<string | undefined> {
    const port = this.#port === 0 ? this.#options.port : this.#port
    // Once: a thread that ends has closed them.
    const inherited = this.#inherited
    this.#inherited = undefined
    const options: WorkerOptions = { ...this.#options, port, inherited }
    const isFit = early?.begun === undefined || JSON.stringify(early.begun) === JSON.stringify(options)
    this.#adopted = early?.begun !== undefined && isFit
    if (!isFit) this.#misfit = early
    const thread = early !== undefined && isFit ? early : new DnsThread()
    if (!this.#adopted) thread.begin(options)
    this.#thread = thread
    this.#unanswered = 0
    this.#report = { ...silence, upstreams: this.#report.upstreams }
    return new Promise((resolve) => {
      let reason = 'the DNS thread ended'
      thread.listen((event) => {
        if (event.is === 'failed') reason = event.why
        if (event.is === 'failed') void thread.end()
        if (event.is === 'error') reason = reasonOf(event.error)
        if (event.is === 'ready') resolve(undefined)
        if (event.is === 'ended') resolve(reason)
        this.#hear(event, thread)
      })
    })
  }

  #hear(message: ThreadEvent, thread: DnsThread): void {
    if (message.is === 'error') this.#deps.log.error('the DNS thread failed', { err: message.error })
    else if (message.is === 'ended') this.#ended(thread)
    else if (message.is === 'ready') {
      this.#port = message.port
      this.#sockets = message.sockets
      this.#up = true
      this.#failures = 0
    } else if (message.is === 'report') {
      this.#unanswered = 0
      tellReport(this.#deps, message.report, this.#report)
      this.#report = message.report
    } else if (message.is === 'asked') {
      for (const [{ push }, addresses] of this.#followers)
        if (addresses.includes(message.asked.from)) push(message.asked)
    } else if (message.is === 'told') this.#inquiries.hear(message.id, message.answers)
    else if (message.is === 'upstreams') {
      this.#hostUpstreams = message.addresses
      tellUpstreams(this.#deps.log, message.addresses)
    }
  }

  /** Notices a worker that hangs; one that ended says so by itself. */
  #watch(): void {
    this.#timer = this.#deps.clock.after(reportEvery, () => {
      if (this.#up) {
        this.#unanswered += 1
        if (this.#unanswered > missedReportsToHang) void this.#thread?.end()
        else this.#tell({ is: 'report' })
      }
      this.#watch()
    })
  }

  #ended(thread: DnsThread): void {
    if (thread !== this.#thread) return
    const wasUp = this.#up
    this.#up = false
    this.#thread = undefined
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

  /** Why another thread does not answer, with all that is known; undefined when it does. */
  #again(): Promise<string | undefined> {
    const launched = this.#launch()
    for (const telling of this.#all()) this.#tell(telling)
    if (this.#followers.size > 0) this.#watchFollowed()
    this.#tell({ is: 'listen' })
    return launched
  }

  async #relaunch(): Promise<void> {
    const why = await this.#again()
    if (why !== undefined && !this.#closing)
      this.#deps.log.error('the DNS thread could not be started', { reason: why })
  }
}
