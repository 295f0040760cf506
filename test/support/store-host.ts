/**
 * What of a daemon speaks to the store, in this process and on a real clock, without a machine: several of them make an
 * environment on one etcd.
 */
import { setTimeout as delay } from 'node:timers/promises'
import type { Test } from 'tap'
import { AliveKey } from '../../daemon/records/alive-key.ts'
import { Fold } from '../../daemon/records/fold.ts'
import { Live } from '../../daemon/records/live.ts'
import { Observer } from '../../daemon/records/observer.ts'
import { Publisher } from '../../daemon/records/publisher.ts'
import { Allocator } from '../../ipam/allocator.ts'
import type { Environment } from '../../model/environment.ts'
import type { Ipv4 } from '../../model/ip.ts'
import type { ContainerRecord } from '../../model/records.ts'
import { instant } from '../../model/time.ts'
import type { Authority } from '../../pki/authority.ts'
import { loadOrCreateIdentity } from '../../pki/identity.ts'
import { EnvelopeSealer } from '../../pki/sealer.ts'
import type { Trust } from '../../pki/trust.ts'
import type { Store } from '../../store/store.ts'
import { folderOf, keys } from './members.ts'
import { MemoryLedger, MemoryLog, MemoryMeter } from './ports.ts'
import { realClock as clock } from './real-clock.ts'
import { container, containerId, hostRecord, settings } from './records.ts'

/** A host of an environment: allocator, publisher, alive key and observer on a store. */
export class StoreHost {
  readonly name: string
  readonly lost: string[] = []
  /** Every view since the last look. */
  views: Environment[] = []
  readonly #allocator: Allocator
  readonly #fold: Fold
  readonly #observer: Observer
  readonly #publisher: Publisher
  readonly #record
  readonly #containers = new Map<string, ContainerRecord>()
  readonly #running: Promise<unknown>
  readonly #stop = new AbortController()

  constructor(t: Test, name: string, store: Store, ca: Authority, trust: Trust) {
    this.name = name
    const identity = loadOrCreateIdentity(folderOf(t))
    const { id: self, signingKey } = identity
    const certificate = ca.issueHost(self, signingKey, clock.now()).pem
    this.#record = hostRecord(name, { id: self, signingKey, certificate })
    const [log, meter, ledger] = [new MemoryLog(), new MemoryMeter(), new MemoryLedger()]
    const sealer = new EnvelopeSealer({ identity, ledger })
    const keeps = (key: string): boolean => this.#allocator.keeps(key)
    const onChange = (): void => this.#publisher.headChanged()
    const live = new Live({ self, sealer, ledger, clock, onChange, keeps }, keys)
    this.#allocator = new Allocator(
      { store, ledger, sealer: live, clock, log, meter },
      { keys, self, settings, bootId: 'one' },
    )
    this.#publisher = new Publisher(
      {
        ...{ store, sealer, live, clock, log, meter },
        raise: (counter) => sealer.raise(counter),
      },
      { keys, self, signingKey },
    )
    const aliveKey = new AliveKey(
      {
        ...{ store, sealer, clock, log, meter },
        onRenewed: (sent, revision) => this.#allocator.renewed(sent, revision),
        onTakenOut: () => undefined,
      },
      { keys, self, started: instant(1) },
    )
    const now = () => clock.now()
    const isLive = (key: string, counter: number) => live.isLive(key, counter)
    this.#fold = new Fold({ log, meter, trust: () => trust, now, isLive }, { keys, self, settings })
    this.#observer = new Observer(
      {
        ...{ store, fold: this.#fold, clock, log, meter },
        snapshots: new MemoryLedger(),
        onArrival: () => undefined,
        onUpdate: (update) => {
          this.#publisher.observe(update)
          aliveKey.observe(update)
        },
        onEnvironment: (environment) => this.#see(environment),
      },
      keys,
    )
    this.#running = Promise.all([this.#observer.start(), aliveKey.run(), this.#tick()])
    t.teardown(async () => {
      this.#stop.abort()
      this.#observer.close()
      aliveKey.close()
      await this.#publisher.close()
      await store.close()
      await this.#running
    })
  }

  get id() {
    return this.#record.id
  }

  get view(): Environment | undefined {
    return this.#observer.environment
  }

  /** Whether what it shows is partly what it remembers. */
  get bridges(): boolean {
    return this.#fold.bridgedUntil !== undefined
  }

  get fresh(): boolean {
    return this.#observer.fresh
  }

  async run(name: string): Promise<Ipv4> {
    const id = containerId(name)
    const answer = await until(`an address of ${name}`, async () => {
      const given = await this.#allocator.allocate(id)
      return given.is === 'address' ? given : undefined
    })
    this.#containers.set(name, container(name, { id, host: this.id, address: answer.address }))
    this.#say()
    return answer.address
  }

  remove(name: string): void {
    this.#allocator.removed(containerId(name))
    this.#containers.delete(name)
    this.#say()
  }

  addressOf(name: string): Ipv4 | undefined {
    return this.#allocator.addressOf(containerId(name))
  }

  #see(environment: Environment): void {
    this.views.push(environment)
    for (const { container: id } of this.#allocator.observe(environment, this.fresh)) this.lost.push(id)
    this.#say()
  }

  #say(): void {
    const own = [...this.#containers.values()].map((one) => [keys.container(this.id, one.id), one] as const)
    this.#publisher.publish(new Map<string, object>([[keys.host(this.id), this.#record], ...own]))
  }

  async #tick(): Promise<void> {
    while (!this.#stop.signal.aborted) {
      this.#allocator.tick()
      await delay(200, undefined, { signal: this.#stop.signal }).catch(() => undefined)
    }
  }
}

/** Looks every 50 ms for half a minute. */
export async function until<T>(what: string, look: () => Promise<T | undefined> | T | undefined): Promise<T> {
  for (let tries = 0; tries < 600; tries++) {
    const found = await look()
    if (found !== undefined) return found
    await delay(50)
  }
  throw new TypeError(`waited in vain for ${what}`)
}
