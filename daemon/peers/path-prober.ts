/**
 * Follows the path MTU to every peer that answers, by each backend: asks through the tunnel what each search wants to
 * know, tells it what the kernel heard by ICMP, and has it look where traffic begins or breaks off. What it finds,
 * routes and status show: the least of what the backends carry, so that a switch changes nothing. Idle peers cost a
 * probe in ten minutes, narrow paths one in a minute, busy peers a few.
 */
import type { PathHints } from '../../linux/route-mtu.ts'
import { type Clock, type Log, type Meter, sleep } from '../../model/ports.ts'
import type { HostId } from '../../model/records.ts'
import { type Millis, millis, seconds } from '../../model/time.ts'
import type { PeerState } from '../../status/vitals.ts'
import { overheadOver, PathMtuSearch } from '../../tunnel/path-mtu.ts'
import { TrafficWatch } from '../../tunnel/traffic.ts'
import { parseEndpoint } from '../../tunnel/wireguard/endpoint.ts'
import type { Way } from './backend-chooser.ts'

/** A size to ask for by one backend. */
export type SizedWay = Way & { readonly size: number }

export interface PathProberDeps {
  readonly echo: {
    /** The probes that were answered within `timeout`, with the time that it took. */
    probe(
      probes: readonly SizedWay[],
      options: { readonly timeout: Millis },
    ): Promise<ReadonlyMap<SizedWay, Millis>>
  }
  /** What the kernel knows of the path to an endpoint, outside of the tunnel. */
  readonly hints: PathHints
  readonly clock: Clock
  readonly log: Log
  readonly meter: Meter
  readonly ways: () => readonly Way[]
  /** What the engines reported last; the same array until one reports again. */
  readonly peers: () => readonly PeerState[]
  /** Whenever a path MTU has changed: all that are known. */
  readonly onChange: (mtus: ReadonlyMap<HostId, number>) => void
}

interface Path {
  readonly search: PathMtuSearch
  readonly traffic: TrafficWatch
  way: Way
}

interface Question {
  readonly path: Path
  readonly probes: readonly SizedWay[]
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
  /** By peer and backend. */
  readonly #paths = new Map<string, Path>()
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
    const { clock, ways, echo } = this.#deps
    this.#follow(ways())
    this.#heed(clock.boot())
    const questions = this.#questions()
    try {
      const probes = questions.flatMap((question) => question.probes)
      const timeout = millis(Math.max(0, ...questions.map(({ path }) => path.search.patience)))
      const answered = probes.length === 0 ? new Map() : await echo.probe(probes, { timeout })
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
      .filter(({ way }) => way.answers)
      .map(({ search }) => search.deadline())
    return Math.min(this.#lookedAt + lookEvery, ...due)
  }

  /** A search for each; one that answers again is asked at once. */
  #follow(ways: readonly Way[]): void {
    const known = new Set<string>()
    for (const way of ways) {
      const key = keyOf(way.host, way.backend)
      known.add(key)
      const path = this.#paths.get(key) ?? this.#newPath(way)
      if (way.answers && !path.way.answers) path.search.suspect(this.#deps.clock.boot())
      this.#paths.set(key, Object.assign(path, { way }))
    }
    for (const key of this.#paths.keys()) if (!known.has(key)) this.#paths.delete(key)
  }

  #newPath(way: Way): Path {
    const search = new PathMtuSearch(this.#most)
    return { search, traffic: new TrafficWatch(), way: { ...way, answers: false } }
  }

  /** What the engine says of traffic, and the kernel of ICMP. */
  #heed(now: Millis): void {
    const report = this.#deps.peers()
    const fresh = report !== this.#report
    const due = now - this.#lookedAt >= lookEvery
    this.#report = report
    if (due) this.#lookedAt = now
    for (const { host, backend, endpoint, sent } of fresh || due ? report : []) {
      const path = this.#paths.get(keyOf(host, backend))
      if (path === undefined) continue
      if (due) this.#limit(path, endpoint, now)
      if (fresh && path.traffic.report(sent, now)) path.search.suspect(now)
    }
  }

  #limit({ search, way }: Path, endpoint: string, now: Millis): void {
    const to = parseEndpoint(endpoint)
    const outer = to === undefined ? undefined : this.#deps.hints.pathMtu(to)
    if (to !== undefined && outer !== undefined)
      search.limit(outer - overheadOver(to.family, way.backend), now)
  }

  /** What is due, no more than a round may hold; who did not come in is first next time. */
  #questions(): readonly Question[] {
    const now = this.#deps.clock.boot()
    const questions: Question[] = []
    let room = roundSize
    for (const [key, path] of [...this.#paths]) {
      if (room <= 0) break
      if (!path.way.answers) continue
      const probes = path.search.next(now).map((size) => ({ ...path.way, size }))
      if (probes.length === 0) continue
      questions.push({ path, probes })
      room -= probes.length
      this.#paths.delete(key)
      this.#paths.set(key, path)
    }
    return questions
  }

  #settle(questions: readonly Question[], answered: ReadonlyMap<SizedWay, Millis>): void {
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
    const { onChange } = this.#deps
    const mtus = this.#least()
    const changed = [...mtus].filter(([host, { mtu }]) => this.#mtus.get(host) !== mtu)
    for (const [host, { name, mtu }] of changed) this.#say(name, mtu, this.#mtus.get(host))
    if (changed.length === 0 && mtus.size === this.#mtus.size) return
    this.#mtus = new Map([...mtus].map(([host, { mtu }]) => [host, mtu]))
    onChange(this.#mtus)
  }

  /** What every backend carries that carried anything. */
  #least(): ReadonlyMap<HostId, { readonly name: string; readonly mtu: number }> {
    const least = new Map<HostId, { readonly name: string; readonly mtu: number }>()
    for (const { search, way } of this.#paths.values()) {
      if (search.mtu === undefined) continue
      const mtu = Math.min(search.mtu, least.get(way.host)?.mtu ?? search.mtu)
      least.set(way.host, { name: way.name, mtu })
    }
    return least
  }

  #say(name: string, mtu: number, before: number | undefined): void {
    const { log, meter } = this.#deps
    meter.gauge('drover_peer_path_mtu_bytes', mtu, { peer: name })
    if (mtu < (before ?? this.#most)) log.warn('the path to a peer carries less', { peer: name, mtu })
    else if (before !== undefined) log.info('the path to a peer carries more', { peer: name, mtu })
  }
}

const keyOf = (host: HostId, backend: string): string => `${host} ${backend}`
