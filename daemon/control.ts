/**
 * The part of the daemon that is bound to one store: watches it, publishes to it, and settles containers by what
 * it says. `drover store move` replaces it by another one; servers, tunnel and engine watch live on.
 */
import type { EngineState } from '../docker/watch.ts'
import type { Environment, Reachability } from '../model/environment.ts'
import type { Keys } from '../model/keys.ts'
import type { HostId, HostRecord } from '../model/records.ts'
import type { Store, Update } from '../store/store.ts'
import type { Containers, Held } from './containers.ts'
import type { Observer } from './observer.ts'
import { ownRecords } from './own-records.ts'
import type { Publisher } from './publisher.ts'
import type { Tasks } from './tasks.ts'

/** The allocator's reading side. */
export interface AddressBook {
  observe(environment: Environment, fresh: boolean): void
  /** Forgets whoever is not in here: the engine has spoken. */
  retain(containers: EngineState['containers']): void
  close(): Promise<void>
}

export interface ControlDeps {
  readonly store: Store
  readonly observer: Observer
  readonly publisher: Publisher
  readonly book: AddressBook
  readonly containers: Containers
  readonly tasks: Tasks
  /** This host's record as it should be now. */
  readonly hostRecord: () => HostRecord
  readonly onEnvironment: (environment: Environment) => void
}

export class Control {
  readonly #deps: ControlDeps
  readonly #keys: Keys
  #engineHeard = false

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

  get held(): readonly Held[] {
    return this.#deps.containers.held()
  }

  start(): void {
    const { tasks, observer, publisher } = this.#deps
    tasks.run('observer', observer.start())
    tasks.run('alive key', publisher.keepAlive())
  }

  /** A raw update of the store. */
  updated(update: Update): void {
    this.#deps.publisher.observe(update)
  }

  /** A new snapshot. */
  observed(environment: Environment): void {
    const { book, containers, observer, onEnvironment } = this.#deps
    book.observe(environment, observer.fresh)
    containers.recheck(undefined)
    this.publish()
    onEnvironment(environment)
  }

  engine(state: EngineState): void {
    if (!state.connected) return
    const first = !this.#engineHeard
    this.#engineHeard = true
    if (first) this.#deps.book.retain(state.containers)
    this.#deps.containers.apply(state.containers)
    this.publish()
  }

  probed(reachability: ReadonlyMap<HostId, Reachability>): void {
    this.#deps.observer.probed(reachability)
  }

  /** Says what holds now; nothing is written where nothing differs. */
  publish(): void {
    const { publisher, containers, hostRecord } = this.#deps
    const environment = this.environment
    if (environment === undefined) return
    const held = this.#engineHeard ? containers.held() : undefined
    publisher.publish(ownRecords({ keys: this.#keys, host: hostRecord(), held, environment }))
  }

  /** Stops everything but what is in the kernel. */
  async close(): Promise<void> {
    const { observer, publisher, containers, book } = this.#deps
    containers.close()
    observer.close()
    await publisher.close()
    await book.close()
  }

  /** Takes this host out of the environment. */
  async withdraw(): Promise<void> {
    this.#deps.containers.close()
    this.#deps.observer.close()
    await this.#deps.publisher.withdraw()
    await this.#deps.book.close()
  }
}
