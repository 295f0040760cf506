/**
 * Follows the path MTU to every peer that answers: asks through the tunnel what each search wants to know, tells
 * it what the kernel heard by ICMP, and has it look where traffic begins or breaks off. What it finds, routes and
 * status show. Idle peers cost a probe in ten minutes, narrow paths one in a minute, busy peers a few.
 */
import type { SizedProbe } from '../linux/icmp.ts'
import type { PathHints } from '../linux/route-mtu.ts'
import type { Environment } from '../model/environment.ts'
import type { Ipv4 } from '../model/ip.ts'
import { type Clock, type Log, type Meter, sleep } from '../model/ports.ts'
import type { HostId } from '../model/records.ts'
import { type Millis, millis, seconds } from '../model/time.ts'
import type { PeerState } from '../status/status.ts'
import { overheadOver, PathMtuSearch } from '../tunnel/path-mtu.ts'
import { TrafficWatch } from '../tunnel/traffic.ts'
import { parseEndpoint } from '../tunnel/wireguard/endpoint.ts'

export interface PathProberDeps {
  readonly echo: {
    /** The probes that were answered within `timeout`, with the time that it took. */
    probeSizes(
      probes: readonly SizedProbe[],
      options: { readonly timeout: Millis },
    ): Promise<ReadonlyMap<SizedProbe, Millis>>
  }
  /** What the kernel knows of the path to an endpoint, outside of the tunnel. */
  readonly hints: PathHints
  readonly clock: Clock
  readonly log: Log
  readonly meter: Meter
  readonly environment: () => Environment | undefined
  /** What the engine reported last; the same array until it reports again. */
  readonly peers: () => readonly PeerState[]
  /** Whenever a path MTU has changed: all that are known. */
  readonly onChange: (mtus: ReadonlyMap<HostId, number>) => void
}

interface Path {
  readonly search: PathMtuSearch
  readonly traffic: TrafficWatch
  name: string
  managed: Ipv4
  answers: boolean
}

interface Question {
  readonly path: Path
  readonly probes: readonly SizedProbe[]
}

/** How often the kernel is asked for hints. */
const lookEvery = seconds(1)
/** A fresh report of the engine is seen soon. */
const longestSleep = millis(250)
/** In one round; the rest waits for the next. A volley of every one of 500 peers at once would be a flood. */
const roundSize = 128

export class PathProber {
  readonly #deps: PathProberDeps
  readonly #most: number
  readonly #stop = new AbortController()
  readonly #paths = new Map<HostId, Path>()
  #mtus: ReadonlyMap<HostId, number> = new Map()
  #lookedAt = Number.NEGATIVE_INFINITY
  #report: readonly PeerState[] = []

  constructor(deps: PathProberDeps, options: { readonly mtu: number }) {
    this.#deps = deps
    this.#most = options.mtu
  }

  /** By peer, inside of the tunnel; a peer whose path was never measured is left out. */
  get mtus(): ReadonlyMap<HostId, number> {
    return this.#mtus
  }

  async run(): Promise<void> {
    while (!this.#stop.signal.aborted) {
      await this.#round().catch((err: unknown) => this.#deps.log.debug('path MTU probes failed', { err }))
      const wait = millis(Math.max(20, Math.min(longestSleep, this.#deadline() - this.#deps.clock.boot())))
      await sleep(this.#deps.clock, wait, this.#stop.signal).catch(() => undefined)
    }
  }

  close(): void {
    this.#stop.abort()
  }

  async #round(): Promise<void> {
    const { clock, environment, echo } = this.#deps
    const known = environment()
    if (known === undefined) return
    this.#follow(known)
    this.#heed(clock.boot())
    const questions = this.#questions()
    try {
      const probes = questions.flatMap((question) => question.probes)
      const timeout = millis(Math.max(0, ...questions.map(({ path }) => path.search.patience)))
      const answered = probes.length === 0 ? new Map() : await echo.probeSizes(probes, { timeout })
      this.#settle(questions, answered)
    } catch (err) {
      // nothing was answered, which changes nothing
      this.#settle(questions, new Map())
      throw err
    } finally {
      this.#publish()
    }
  }

  #deadline(): number {
    const due = [...this.#paths.values()]
      .filter((path) => path.answers)
      .map(({ search }) => search.deadline())
    return Math.min(this.#lookedAt + lookEvery, ...due)
  }

  /** A search per peer with an address; one that answers again is asked at once. */
  #follow({ hosts, self }: Environment): void {
    for (const { record, reachability } of hosts.values()) {
      const { id, name, managed } = record
      if (id === self || managed === null) continue
      const path = this.#paths.get(id) ?? this.#newPath(name, managed)
      const answers = reachability === 'answers'
      if (answers && !path.answers) path.search.suspect(this.#deps.clock.boot())
      this.#paths.set(id, Object.assign(path, { name, managed, answers }))
    }
    for (const id of this.#paths.keys()) if (hosts.get(id)?.record.managed == null) this.#paths.delete(id)
  }

  #newPath(name: string, managed: Ipv4): Path {
    const search = new PathMtuSearch(this.#most)
    return { search, traffic: new TrafficWatch(), name, managed, answers: false }
  }

  /** What the engine says of traffic, and the kernel of ICMP. */
  #heed(now: Millis): void {
    const report = this.#deps.peers()
    const fresh = report !== this.#report
    const due = now - this.#lookedAt >= lookEvery
    this.#report = report
    if (due) this.#lookedAt = now
    for (const { host, endpoint, sent } of fresh || due ? report : []) {
      const path = this.#paths.get(host)
      if (path === undefined) continue
      if (due) this.#limit(path, endpoint, now)
      if (fresh && path.traffic.report(sent, now)) path.search.suspect(now)
    }
  }

  #limit({ search }: Path, endpoint: string, now: Millis): void {
    const to = parseEndpoint(endpoint)
    const outer = to === undefined ? undefined : this.#deps.hints.pathMtu(to)
    if (to !== undefined && outer !== undefined) search.limit(outer - overheadOver(to.family), now)
  }

  /** What is due, no more than a round may hold; who did not come in is first next time. */
  #questions(): readonly Question[] {
    const now = this.#deps.clock.boot()
    const questions: Question[] = []
    let room = roundSize
    for (const [id, path] of [...this.#paths]) {
      if (room <= 0) break
      if (!path.answers) continue
      const probes = path.search.next(now).map((size) => ({ address: path.managed, size }))
      if (probes.length === 0) continue
      questions.push({ path, probes })
      room -= probes.length
      this.#paths.delete(id)
      this.#paths.set(id, path)
    }
    return questions
  }

  #settle(questions: readonly Question[], answered: ReadonlyMap<SizedProbe, Millis>): void {
    const now = this.#deps.clock.boot()
    for (const { path, probes } of questions) {
      const answers = new Map<number, Millis>()
      for (const probe of probes) {
        const took = answered.get(probe)
        if (took !== undefined) answers.set(probe.size, took)
      }
      path.search.settle(answers, now)
    }
  }

  #publish(): void {
    const { log, meter, onChange } = this.#deps
    const mtus = new Map<HostId, number>()
    let changed = false
    for (const [id, { search, name }] of this.#paths) {
      if (search.mtu === undefined) continue
      mtus.set(id, search.mtu)
      if (this.#mtus.get(id) === search.mtu) continue
      changed = true
      meter.gauge('drover_peer_path_mtu_bytes', search.mtu, { peer: name })
      if (search.mtu < (this.#mtus.get(id) ?? this.#most))
        log.warn('the path to a peer carries less', { peer: name, mtu: search.mtu })
      else if (this.#mtus.has(id))
        log.info('the path to a peer carries more', { peer: name, mtu: search.mtu })
    }
    if (!changed && mtus.size === this.#mtus.size) return
    this.#mtus = mtus
    onChange(mtus)
  }
}
