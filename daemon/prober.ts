/**
 * Whether peers answer through the tunnel: an echo to every peer's managed address every 3 s. One answer makes a
 * peer reachable at once; only several rounds without one make it silent (design section 5: a dead host leaves
 * within 15 s, a returning one is back within 3 s).
 */
import type { Environment, Reachability } from '../model/environment.ts'
import type { Ipv4 } from '../model/ip.ts'
import { type Clock, type Log, type Meter, sleep } from '../model/ports.ts'
import type { HostId } from '../model/records.ts'
import { type Millis, millis, seconds } from '../model/time.ts'

export interface Echo {
  /** The addresses that answered within `timeout` milliseconds. */
  probe(addresses: readonly Ipv4[], options: { readonly timeout: Millis }): Promise<ReadonlySet<Ipv4>>
}

export interface ProberDeps {
  readonly echo: Echo
  readonly clock: Clock
  readonly log: Log
  readonly meter: Meter
  readonly environment: () => Environment | undefined
  readonly onResult: (reachability: ReadonlyMap<HostId, Reachability>) => void
}

const interval = seconds(3)
const timeout = millis(2000)
const missesUntilSilent = 3

export class Prober {
  readonly #deps: ProberDeps
  readonly #stop = new AbortController()
  readonly #misses = new Map<HostId, number>()
  readonly #lastSeen = new Map<HostId, number>()
  #states: ReadonlyMap<HostId, Reachability> = new Map()

  constructor(deps: ProberDeps) {
    this.#deps = deps
  }

  get lastSeen(): ReadonlyMap<HostId, number> {
    return this.#lastSeen
  }

  async run(): Promise<void> {
    while (!this.#stop.signal.aborted) {
      const begun = this.#deps.clock.boot()
      await this.#round().catch((err: unknown) => this.#deps.log.debug('probes failed', { err }))
      const left = interval - (this.#deps.clock.boot() - begun)
      await sleep(this.#deps.clock, millis(Math.max(100, left)), this.#stop.signal).catch(() => undefined)
    }
  }

  close(): void {
    this.#stop.abort()
  }

  async #round(): Promise<void> {
    const environment = this.#deps.environment()
    if (environment === undefined) return
    const peers = [...environment.hosts.values()].flatMap(({ record: { id, managed } }) =>
      id === environment.self || managed === null ? [] : [{ id, managed }],
    )
    const answered =
      peers.length === 0
        ? new Set<Ipv4>()
        : await this.#deps.echo.probe(
            peers.map(({ managed }) => managed),
            { timeout },
          )
    if (this.#stop.signal.aborted) return
    const now = this.#deps.clock.now()
    const states = new Map<HostId, Reachability>()
    for (const { id, managed } of peers) {
      if (answered.has(managed)) this.#lastSeen.set(id, now)
      states.set(id, this.#stateOf(id, answered.has(managed)))
    }
    for (const id of this.#misses.keys()) if (!states.has(id)) this.#forget(id)
    this.#report(environment, states)
    this.#states = states
    this.#deps.onResult(states)
  }

  #stateOf(id: HostId, answered: boolean): Reachability {
    const misses = answered ? 0 : (this.#misses.get(id) ?? 0) + 1
    this.#misses.set(id, misses)
    if (answered) return 'answers'
    if (misses >= missesUntilSilent) return 'silent'
    return this.#states.get(id) ?? 'unknown'
  }

  #forget(id: HostId): void {
    this.#misses.delete(id)
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
