/**
 * Whether peers answer through the tunnel: an echo to every peer's managed address by each backend every 3 s, by a
 * backend that owes an answer every second, unless it is silent and another one carries. One answer makes a peer reachable at once; only several misses by
 * every backend make it silent (design section 5: a dead host leaves within 15 s, a returning one is back within 3 s).
 */
import type { Environment, Reachability } from '../../model/environment.ts'
import { type Clock, type Log, type Meter, sleep } from '../../model/ports.ts'
import type { HostId } from '../../model/records.ts'
import { type Millis, millis, seconds } from '../../model/time.ts'
import type { Way } from './backend-chooser.ts'

export interface EchoOptions {
  readonly timeout: Millis
  readonly onAnswers: (ways: readonly Way[]) => void
}

export interface Echo {
  /** Tells of answers as they come; resolves when there are no more, or after `timeout` milliseconds. */
  probe(ways: readonly Way[], options: EchoOptions): Promise<unknown>
}

export interface ProberDeps {
  readonly echo: Echo
  readonly clock: Clock
  readonly log: Log
  readonly meter: Meter
  readonly ways: () => readonly Way[]
  readonly environment: () => Environment | undefined
  /** What became of the probes of one round. */
  readonly onHeard: (answers: ReadonlyMap<Way, boolean>) => void
  readonly onResult: (reachability: ReadonlyMap<HostId, Reachability>) => void
}

const tick = seconds(1)
const interval = seconds(3)
const timeout = seconds(2)
/** Rounds of `interval` without an answer, the last one waited for. */
const silentAfter = millis(2 * interval + timeout)
const missesUntilSilent = 3

interface Seen {
  /** When it was first asked, or last answered. */
  readonly heard: Millis
  readonly misses: number
}

export class Prober {
  readonly #deps: ProberDeps
  readonly #stop = new AbortController()
  readonly #askedAt = new Map<string, number>()
  readonly #answeredAt = new Map<string, number>()
  readonly #seen = new Map<HostId, Seen>()
  readonly #lastSeen = new Map<HostId, number>()
  readonly #underWay = new Set<Promise<void>>()
  #states: ReadonlyMap<HostId, Reachability> = new Map()

  constructor(deps: ProberDeps) {
    this.#deps = deps
  }

  get lastSeen(): ReadonlyMap<HostId, number> {
    return this.#lastSeen
  }

  /** A round may wait for its answers longer than the next one waits to begin. */
  async run(): Promise<void> {
    const { signal } = this.#stop
    while (!signal.aborted) {
      const due = this.#due()
      const round = this.#round(due).catch((err: unknown) => this.#deps.log.debug('probes failed', { err }))
      this.#underWay.add(round)
      void round.then(() => this.#underWay.delete(round))
      await sleep(this.#deps.clock, tick, signal).catch(() => undefined)
    }
    await Promise.all(this.#underWay)
  }

  close(): void {
    this.#stop.abort()
  }

  #due(): readonly Way[] {
    const now = this.#deps.clock.boot()
    const ways = this.#deps.ways()
    const due = ways.filter((way) => {
      const asked = this.#askedAt.get(keyOf(way)) ?? Number.NEGATIVE_INFINITY
      const owing = (this.#answeredAt.get(keyOf(way)) ?? -1) < asked
      const hurried = owing && (!way.silent || this.#states.get(way.host) === 'silent')
      return now - asked >= (hurried ? tick : interval)
    })
    const known = new Set(ways.map(keyOf))
    for (const times of [this.#askedAt, this.#answeredAt])
      for (const key of times.keys()) if (!known.has(key)) times.delete(key)
    for (const way of due) this.#askedAt.set(keyOf(way), now)
    return due
  }

  async #round(due: readonly Way[]): Promise<void> {
    if (due.length === 0) return
    const begun = this.#deps.clock.boot()
    await this.#deps.echo.probe(due, { timeout, onAnswers: (ways) => this.#answered(ways) })
    if (this.#stop.signal.aborted) return
    // What was asked later may have been answered before: then this one is no news.
    const missed = due.filter((way) => (this.#answeredAt.get(keyOf(way)) ?? -1) < begun)
    this.#deps.onHeard(new Map(missed.map((way) => [way, false])))
    const now = this.#deps.clock.boot()
    for (const host of new Set(missed.map((way) => way.host))) {
      const before = this.#seen.get(host)
      if (before !== undefined && before.misses === 0 && before.heard >= begun) continue
      this.#seen.set(host, { heard: before?.heard ?? now, misses: (before?.misses ?? 0) + 1 })
    }
    this.#publish()
  }

  #answered(ways: readonly Way[]): void {
    const { clock, onHeard } = this.#deps
    if (this.#stop.signal.aborted) return
    for (const way of ways) {
      this.#answeredAt.set(keyOf(way), clock.boot())
      this.#seen.set(way.host, { heard: clock.boot(), misses: 0 })
      this.#lastSeen.set(way.host, clock.now())
    }
    onHeard(new Map(ways.map((way) => [way, true])))
    this.#publish()
  }

  #publish(): void {
    const { environment, onResult } = this.#deps
    const known = environment()
    if (known === undefined) return
    const states = this.#reachability(known)
    this.#report(known, states)
    this.#states = states
    onResult(states)
  }

  #reachability({ hosts, self }: Environment): ReadonlyMap<HostId, Reachability> {
    const states = new Map<HostId, Reachability>()
    for (const { record } of hosts.values())
      if (record.id !== self && record.managed !== null) states.set(record.id, this.#stateOf(record.id))
    for (const id of this.#seen.keys()) if (!states.has(id)) this.#forget(id)
    return states
  }

  #stateOf(id: HostId): Reachability {
    const seen = this.#seen.get(id)
    if (seen?.misses === 0) return 'answers'
    if (seen === undefined) return 'unknown'
    const silence = this.#deps.clock.boot() - seen.heard
    const silent = seen.misses >= missesUntilSilent && silence >= silentAfter
    return silent ? 'silent' : (this.#states.get(id) ?? 'unknown')
  }

  #forget(id: HostId): void {
    this.#seen.delete(id)
    this.#lastSeen.delete(id)
  }

  #report(environment: Environment, states: ReadonlyMap<HostId, Reachability>): void {
    for (const [id, state] of states) {
      const name = environment.hosts.get(id)?.record.name ?? id
      this.#deps.meter.gauge('drover_peer_reachable', state === 'answers' ? 1 : 0, { peer: name })
      if (this.#states.get(id) === state || state === 'unknown') continue
      if (state === 'answers') this.#deps.log.info('peer answers through the tunnel', { peer: name })
      else this.#deps.log.warn('peer no longer answers through the tunnel', { peer: name })
    }
  }
}

const keyOf = ({ host, backend }: Way): string => `${host} ${backend}`
