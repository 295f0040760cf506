/**
 * Keeps the host's own part of the network as the plan says: after every snapshot, and every 30 s because
 * somebody may have changed the machine.
 */
import type { EngineNetwork } from '../model/engine.ts'
import type { Environment } from '../model/environment.ts'
import type { Clock, Log, Meter, Timer } from '../model/ports.ts'
import type { HostId } from '../model/records.ts'
import { seconds } from '../model/time.ts'
import type { HostOutcome, NetworkApplier } from '../network/apply.ts'
import {
  bridgesOf,
  type HostPlan,
  type HostPlanOptions,
  hostPlan,
  signatureOf,
} from '../network/host-plan.ts'
import type { IpsecLinks } from '../network/ipsec-plan.ts'
import { Latest } from './latest.ts'

export interface HostNetworkDeps {
  readonly applier: NetworkApplier
  readonly clock: Clock
  readonly log: Log
  readonly meter: Meter
  /** Where IPsec leads, and whom it is used for; `refresh` after it has changed. */
  readonly ipsec: () => IpsecLinks
  /** After every successful application. */
  readonly onApplied: (outcome: HostOutcome) => void
}

/** What does not change while the daemon runs. */
type Known = Omit<HostPlanOptions, 'bridges' | 'pathMtus' | 'ipsec'>

const reapplyEvery = seconds(30)

export class HostNetwork {
  readonly #deps: HostNetworkDeps
  readonly #options: Known
  readonly #latest: Latest<HostPlan>
  #environment: Environment | undefined
  #networks: readonly EngineNetwork[] = []
  #pathMtus: ReadonlyMap<HostId, number> = new Map()
  #signature = ''
  #timer: Timer | undefined

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

  observe(environment: Environment): void {
    this.#environment = environment
    this.#offer()
  }

  networks(networks: readonly EngineNetwork[]): void {
    this.#networks = networks
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
    this.#signature = ''
    this.#offer()
  }

  async close(): Promise<void> {
    this.#timer?.cancel()
    await this.#latest.close()
  }

  #offer(): void {
    if (this.#environment === undefined) return
    const plan = hostPlan(this.#environment, {
      ...this.#options,
      bridges: bridgesOf(this.#networks),
      ipsec: this.#deps.ipsec(),
      pathMtus: this.#pathMtus,
    })
    const signature = signatureOf(plan)
    if (signature === this.#signature) return
    this.#signature = signature
    this.#latest.offer(plan)
  }

  async #apply(plan: HostPlan): Promise<void> {
    const outcome = await this.#deps.applier.applyHost(plan)
    if (outcome.changes > 0)
      this.#deps.log.debug('network of this host changed', { changes: outcome.changes })
    this.#timer?.cancel()
    this.#timer = this.#deps.clock.after(reapplyEvery, () => this.again())
    this.#deps.onApplied(outcome)
  }
}
