/**
 * Keeps the host's own part of the network as the plan says: after every snapshot, and every 30 s because
 * somebody may have changed the machine.
 */
import type { EngineState } from '../../docker/watch.ts'
import type { EngineContainer, EngineNetwork } from '../../model/engine.ts'
import type { Environment } from '../../model/environment.ts'
import type { Clock, Log, Meter, Timer } from '../../model/ports.ts'
import type { HostId } from '../../model/records.ts'
import { type Instant, instant, seconds } from '../../model/time.ts'
import type { HostOutcome, NetworkApplier } from '../../network/apply.ts'
import {
  type Askers,
  askersOf,
  type Belonging,
  bridgesOf,
  type HostPlan,
  type HostPlanOptions,
  hostPlan,
  signatureOf,
} from '../../network/host-plan.ts'
import type { IpsecLinks } from '../../network/ipsec-plan.ts'
import { Latest } from '../latest.ts'

export interface HostNetworkDeps {
  readonly applier: NetworkApplier
  readonly clock: Clock
  readonly log: Log
  readonly meter: Meter
  /** Where IPsec leads, and whom it is used for; `refresh` after it has changed. */
  readonly ipsec: () => IpsecLinks
  /** By its labels. */
  readonly belongingOf: (container: EngineContainer) => Belonging
  /** After every successful application. */
  readonly onApplied: (outcome: HostOutcome) => void
}

/** What does not change while the daemon runs. */
type Known = Omit<HostPlanOptions, 'askers' | 'bridges' | 'pathMtus' | 'ipsec'> & {
  readonly environment: string
}

/** How often the machine was not as it had been left, and when that was seen last. */
export interface Mended {
  readonly times: number
  readonly last: Instant
}

const reapplyEvery = seconds(30)

export class HostNetwork {
  readonly #deps: HostNetworkDeps
  readonly #options: Known
  readonly #latest: Latest<HostPlan>
  #environment: Environment | undefined
  #networks: readonly EngineNetwork[] = []
  #askers: Askers = { others: [], guests: [] }
  #pathMtus: ReadonlyMap<HostId, number> = new Map()
  #signature = ''
  #timer: Timer | undefined
  /** Of the plan that was applied last; undefined when something has happened since that changes the machine. */
  #settled: string | undefined
  #asked = 0
  #mended: Mended = { times: 0, last: instant(0) }

  constructor(deps: HostNetworkDeps, options: Known) {
    this.#deps = deps
    this.#options = options
    this.#latest = new Latest((plan) => this.#apply(plan), {
      clock: deps.clock,
      onFailure: (err) => {
        this.#signature = ''
        deps.meter.count('drover_failures_total', 1, { what: 'host network' })
        deps.log.error('the network of this host could not be set up', { err })
      },
    })
  }

  get mended(): Mended {
    return this.#mended
  }

  observe(environment: Environment): void {
    this.#environment = environment
    this.#offer()
  }

  /** Whom the engine has, and where. */
  engine({ containers, networks }: Pick<EngineState, 'containers' | 'networks'>): void {
    const { environment } = this.#options
    this.#networks = networks
    this.#askers = askersOf(containers.values(), environment, this.#deps.belongingOf)
    this.#offer()
  }

  /** What the paths to the peers carry. */
  pathMtus(found: ReadonlyMap<HostId, number>): void {
    this.#pathMtus = found
    this.#offer()
  }

  /** Some peer is reached by another interface. */
  refresh(): void {
    this.#offer()
  }

  /** Applies the plan again although it is the same: the tunnel's device has come, or Docker has restarted. */
  again(): void {
    this.#asked += 1
    this.#settled = undefined
    this.#repeat()
  }

  async close(): Promise<void> {
    this.#timer?.cancel()
    await this.#latest.close()
  }

  #repeat(): void {
    this.#signature = ''
    this.#offer()
  }

  #offer(): void {
    if (this.#environment === undefined) return
    const plan = hostPlan(this.#environment, {
      ...this.#options,
      bridges: bridgesOf(this.#networks),
      askers: this.#askers,
      ipsec: this.#deps.ipsec(),
      pathMtus: this.#pathMtus,
    })
    const signature = signatureOf(plan)
    if (signature === this.#signature) return
    this.#signature = signature
    this.#latest.offer(plan)
  }

  async #apply(plan: HostPlan): Promise<void> {
    const { applier, clock, log } = this.#deps
    const signature = signatureOf(plan)
    const [settled, asked] = [this.#settled === signature, this.#asked]
    const outcome = await applier.applyHost(plan)
    this.#settled = asked === this.#asked ? signature : undefined
    if (outcome.changes > 0) log.debug('network of this host changed', { changes: outcome.changes })
    if (settled && outcome.own > 0) {
      log.warn('rules, routes or addresses of this host were changed by somebody, and mended')
      this.#mended = { times: this.#mended.times + 1, last: clock.now() }
    }
    this.#timer?.cancel()
    this.#timer = clock.after(reapplyEvery, () => this.#repeat())
    this.#deps.onApplied(outcome)
  }
}
