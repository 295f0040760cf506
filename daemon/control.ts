/**
 * The part of the daemon that is bound to one store: watches it, publishes to it, and settles containers by what
 * it says. `drover store move` replaces it by another one; servers, tunnel and engine watch live on.
 */
import type { EngineState } from '../docker/watch.ts'
import type { Allocator } from '../ipam/allocator.ts'
import type { Environment, Reachability } from '../model/environment.ts'
import type { Ipv4 } from '../model/ip.ts'
import type { Keys } from '../model/keys.ts'
import { type Clock, type Meter, sleep } from '../model/ports.ts'
import type { HostId, HostRecord } from '../model/records.ts'
import { minutes, seconds } from '../model/time.ts'
import type { Store, Update } from '../store/store.ts'
import type { Adoption } from './containers/adoption.ts'
import type { Containers, Held } from './containers/containers.ts'
import type { AliveKey } from './records/alive-key.ts'
import type { Refused } from './records/fold.ts'
import type { Observer } from './records/observer.ts'
import { ownRecords } from './records/own-records.ts'
import type { Publisher } from './records/publisher.ts'
import type { Declarations } from './services/declarations.ts'
import type { Tasks } from './tasks.ts'
import type { TrustDuties } from './trust/trust-duties.ts'

export interface ControlDeps {
  readonly store: Store
  readonly observer: Observer
  readonly publisher: Publisher
  readonly aliveKey: AliveKey
  readonly allocator: Allocator
  readonly adoption: Adoption
  readonly clock: Clock
  readonly meter: Meter
  readonly containers: Containers
  readonly declarations: Declarations
  readonly tasks: Tasks
  readonly trust: TrustDuties
  /** This host's record as it should be now. */
  readonly hostRecord: () => HostRecord
  readonly onEnvironment: (environment: Environment) => void
}

export class Control {
  readonly #deps: ControlDeps
  readonly #keys: Keys
  readonly #stop = new AbortController()
  #seen = false
  #engine: EngineState | undefined
  #engineHeard = false
  /** The host's managed address as it was last published. */
  #managed: Ipv4 | undefined

  constructor(deps: ControlDeps, keys: Keys) {
    this.#deps = deps
    this.#keys = keys
  }

  get environment(): Environment | undefined {
    return this.#deps.observer.environment
  }

  get fresh(): boolean {
    return this.#deps.observer.fresh
  }

  get observer(): Pick<Observer, 'attempts' | 'freshSince' | 'headTimes'> {
    return this.#deps.observer
  }

  get held(): readonly Held[] {
    return this.#deps.containers.held()
  }

  get trust(): TrustDuties {
    return this.#deps.trust
  }

  get declarations(): Declarations {
    return this.#deps.declarations
  }

  /** Why the store's entries do not count that do not. */
  get refused(): readonly Refused[] {
    return this.#deps.observer.refused
  }

  /** By their records. */
  get strangers(): readonly HostRecord[] {
    return this.#deps.observer.strangers.map(({ record }) => record)
  }

  /** Trust has changed: what counts is something else now. */
  trustChanged(): void {
    this.#deps.observer.again()
  }

  /** Hosts that the CA looks after: also those whose certificate has run out. */
  certified(): readonly HostRecord[] {
    const expired = this.#deps.observer.strangers.filter(({ code }) => code === 'CERTIFICATE_EXPIRED')
    const members = [...(this.environment?.hosts.values() ?? [])]
    return [...members.map(({ record }) => record), ...expired.map(({ record }) => record)]
  }

  start(): void {
    const { tasks, observer, publisher, aliveKey, trust } = this.#deps
    tasks.run('observer', observer.start())
    tasks.run('alive key', aliveKey.run())
    tasks.run('head', publisher.keepHead())
    tasks.run('certificates', this.#lookAgain())
    tasks.run('address upkeep', this.#upkeep())
    trust.run(tasks)
  }

  /** A raw update of the store, before its records are judged. */
  arrived(update: Update): void {
    this.#deps.trust.arrived(update)
  }

  /** The same, afterwards. */
  updated(update: Update): void {
    this.#deps.publisher.observe(update)
    this.#deps.aliveKey.observe(update)
    this.#deps.declarations.observe(update)
    this.#deps.trust.updated(update)
  }

  /** A new snapshot. */
  observed(environment: Environment): void {
    const { allocator, adoption, containers, observer, onEnvironment } = this.#deps
    const lost = allocator.observe(environment, observer.fresh)
    const first = !this.#seen
    this.#seen = true
    if (first) adoption.adopt()
    containers.lose(lost.map(({ container }) => container))
    containers.recheck(undefined)
    if (first && this.#engine !== undefined) this.engine(this.#engine)
    else this.publish()
    if (allocator.managed() === undefined) this.#deps.tasks.run('first block', this.#firstBlock())
    onEnvironment(environment)
  }

  /** What the engine runs; kept until there is a snapshot to judge it by. */
  engine(state: EngineState): void {
    this.#engine = state
    if (!state.connected || !this.#seen) return
    const first = !this.#engineHeard
    this.#engineHeard = true
    this.#deps.allocator.retain(new Set(state.containers.keys()))
    if (first) this.#deps.adoption.prune(state.containers)
    this.#deps.containers.apply(state.containers)
    this.publish()
  }

  /** What is attached now: inode of a namespace → address. */
  attached(found: ReadonlyMap<number, Ipv4>): void {
    this.#deps.containers.recheck(found)
  }

  probed(reachability: ReadonlyMap<HostId, Reachability>): void {
    this.#deps.observer.probed(reachability)
  }

  /** Says what holds now; nothing is written where nothing differs. */
  publish(): void {
    const { publisher, containers, declarations, hostRecord } = this.#deps
    const environment = this.environment
    if (environment === undefined) return
    this.#deps.meter.gauge('drover_containers', containers.held().length)
    const held = this.#engineHeard ? containers.held() : undefined
    this.#managed = this.#deps.allocator.managed()
    const declared = declarations.own
    publisher.publish(ownRecords({ keys: this.#keys, host: hostRecord(), held, declared, environment }))
  }

  /** Stops everything but what is in the kernel. */
  async close(): Promise<void> {
    const { observer, publisher, aliveKey, containers, allocator, store, trust } = this.#deps
    this.#stop.abort()
    aliveKey.close()
    containers.close()
    observer.close()
    await trust.close()
    await publisher.close()
    await allocator.settled()
    await store.close()
  }

  /** A host that has just claimed its first block has an address to tell of. */
  async #firstBlock(): Promise<void> {
    await this.#deps.allocator.settled()
    if (this.#deps.allocator.managed() !== this.#managed) this.publish()
  }

  /** Certificates end without an event. */
  async #lookAgain(): Promise<void> {
    while (!this.#stop.signal.aborted) {
      await sleep(this.#deps.clock, minutes(1), this.#stop.signal).catch(() => undefined)
      if (this.#stop.signal.aborted) return
      this.#deps.trust.again()
      this.#deps.observer.again()
    }
  }

  async #upkeep(): Promise<void> {
    while (!this.#stop.signal.aborted) {
      this.#deps.allocator.tick()
      await this.#deps.allocator.settled()
      if (this.#deps.allocator.managed() !== this.#managed) this.publish()
      await sleep(this.#deps.clock, seconds(1), this.#stop.signal).catch(() => undefined)
    }
  }
}
