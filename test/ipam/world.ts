/**
 * Hosts with allocators on one shared store, for the model test: partitions, lost answers, crashes, reinstalls and
 * clock jumps, all from one seed. It knows the truth that no host knows: who has which address attached.
 */
import { Allocator } from '../../ipam/allocator.ts'
import { claimOf } from '../../ipam/claims.ts'
import type { View } from '../../ipam/reconcile.ts'
import { utf8 } from '../../model/bytes.ts'
import { DroverError } from '../../model/errors.ts'
import { type Cidr, formatIpv4, type Ipv4, parseCidr } from '../../model/ip.ts'
import { keysOf, meaningOf } from '../../model/keys.ts'
import type { Sealer } from '../../model/ports.ts'
import {
  type Claim,
  type ContainerId,
  containerIdField,
  type HostId,
  hostIdField,
} from '../../model/records.ts'
import { instant, millis, seconds } from '../../model/time.ts'
import type { Condition, Entry, Lease, Listing, Outcome, Store, Update, Write } from '../../store/store.ts'
import { FakeClock, MemoryLedger, MemoryLog, MemoryMeter, type SeededRandom } from '../support/ports.ts'

export const grace = seconds(60)
export const rest = seconds(5)
const keys = keysOf('model')

const subnetOf = (text: string): Cidr => {
  const cidr = parseCidr(text)
  if (cidr === undefined) throw new TypeError(`not a network: ${text}`)
  return cidr
}

export const settings = { subnet: subnetOf('10.42.0.0/25'), blockBits: 28 }

/** Envelopes without a signature. */
export const plainSealer: Sealer = {
  seal: (_key, body) => utf8(JSON.stringify({ body: JSON.stringify(body) })),
}

/** The truth, reached through one door per host. */
export class SharedStore {
  readonly entries = new Map<string, Entry>()
  revision = 1

  holds(condition: Condition): boolean {
    if (condition.is === 'empty')
      return ![...this.entries.keys()].some((key) => key.startsWith(condition.prefix))
    const entry = this.entries.get(condition.key)
    if (condition.is === 'revision') return entry?.revision === condition.revision
    return (entry !== undefined) === (condition.is === 'present')
  }

  transact(conditions: readonly Condition[], writes: readonly Write[]): Outcome {
    if (!conditions.every((condition) => this.holds(condition)))
      return { is: 'refused', revision: this.revision }
    this.revision++
    for (const write of writes) {
      if (write.is === 'delete') this.entries.delete(write.key)
      else this.entries.set(write.key, { key: write.key, value: write.value, revision: this.revision })
    }
    return { is: 'done', revision: this.revision }
  }
}

export type Link = 'up' | 'cut' | 'loses answers' | 'hangs'

class Door implements Store {
  link: Link = 'up'
  readonly #shared: SharedStore

  constructor(shared: SharedStore) {
    this.#shared = shared
  }

  async #through<T>(action: () => T): Promise<T> {
    if (this.link === 'hangs') return await new Promise<T>(() => {})
    if (this.link === 'cut') throw new DroverError('STORE_UNAVAILABLE', 'cut')
    await Promise.resolve()
    const result = action()
    await Promise.resolve()
    if (this.link !== 'up') throw new DroverError('STORE_UNAVAILABLE', 'the answer was lost')
    return result
  }

  get(key: string): Promise<Entry | undefined> {
    return this.#through(() => this.#shared.entries.get(key))
  }
  list(prefix: string): Promise<Listing> {
    const found = (): readonly Entry[] =>
      [...this.#shared.entries.values()].filter(({ key }) => key.startsWith(prefix))
    return this.#through(() => ({ revision: this.#shared.revision, entries: found() }))
  }
  transact(conditions: readonly Condition[], writes: readonly Write[]): Promise<Outcome> {
    return this.#through(() => this.#shared.transact(conditions, writes))
  }
  grant(): Promise<Lease> {
    throw new TypeError('the model makes leases itself')
  }
  watch(): AsyncIterable<Update> {
    throw new TypeError('the model makes views itself')
  }
  async close(): Promise<void> {}
}

export interface ModelContainer {
  readonly id: ContainerId
  state: 'running' | 'stopped'
  attached: Ipv4 | undefined
}

export class ModelHost {
  id: HostId
  readonly clock = new FakeClock()
  readonly containers = new Map<ContainerId, ModelContainer>()
  /** Requests for an address that have no answer yet. */
  readonly questions = new Set<{ readonly allocator: Allocator; readonly asked: number }>()
  ledger = new MemoryLedger()
  door: Door
  allocator: Allocator | undefined
  /** When the last renewal was sent; how the store sees it. */
  renewedAt = Number.NEGATIVE_INFINITY
  aliveRevision = 0
  /** True from the moment the link breaks until a fresh view has been taken. */
  stale = true
  readonly #world: World

  constructor(world: World, id: HostId) {
    this.#world = world
    this.id = id
    this.door = new Door(world.shared)
  }

  /** kill -9 and start again: only the ledger and what is attached in the kernel remain. */
  restart(): void {
    const link = this.door.link
    this.door.link = 'cut'
    this.door = new Door(this.#world.shared)
    this.door.link = link
    this.stale = true
    this.allocator = new Allocator(
      {
        store: this.door,
        ledger: this.ledger,
        sealer: plainSealer,
        clock: this.clock,
        log: new MemoryLog(),
        meter: new MemoryMeter(),
      },
      { keys, self: this.id, settings, grace, rest },
    )
    for (const container of this.containers.values()) {
      if (container.attached !== undefined && !this.allocator.adopt(container.id, container.attached))
        container.attached = undefined
    }
  }

  /** Whether a question waits for longer than two seconds. */
  isLate(): boolean {
    return [...this.questions].some(
      ({ allocator, asked }) => allocator === this.allocator && this.clock.boot() - asked > 2000,
    )
  }

  /** What the daemon does every few seconds: renew the lease, look at the store, detach what is lost. */
  live(): void {
    const { allocator } = this
    if (allocator === undefined) return
    if (this.door.link !== 'up') {
      this.stale = true
      allocator.tick()
      return
    }
    const key = keys.alive(this.id)
    if (!this.#world.shared.entries.has(key))
      this.aliveRevision = this.#world.shared.transact([], [{ is: 'put', key, value: utf8('{}') }]).revision
    allocator.renewed(allocator.stamp(), this.aliveRevision)
    this.renewedAt = this.#world.now
    this.look()
    allocator.tick()
  }

  look(): void {
    const lost = this.allocator?.observe(this.#world.view(), true) ?? []
    this.stale = false
    for (const { container } of lost) {
      const found = this.containers.get(container)
      if (found !== undefined) found.attached = undefined
    }
  }
}

export class World {
  readonly shared = new SharedStore()
  readonly hosts: ModelHost[] = []
  readonly random: SeededRandom
  now = 0
  #count = 0
  #cached: { readonly revision: number; readonly view: View } | undefined
  readonly #claims = new WeakMap<Uint8Array, Claim>()

  constructor(random: SeededRandom, hosts: number) {
    this.random = random
    for (let at = 0; at < hosts; at++) this.hosts.push(new ModelHost(this, this.hostId()))
    for (const host of this.hosts) host.restart()
  }

  hostId(): HostId {
    const text = [...this.random.bytes(16)].map((byte) => byte.toString(16).padStart(2, '0')).join('')
    return hostIdField.parse(text.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5'))
  }

  containerId(): ContainerId {
    return containerIdField.parse((++this.#count).toString(16).padStart(64, '0'))
  }

  /** Time passes for everybody; keys of hosts that did not renew vanish. */
  pass(milliseconds: number): void {
    this.now += milliseconds
    for (const host of this.hosts) host.clock.advance(millis(milliseconds))
    const alive = new Map(this.hosts.map((host) => [keys.alive(host.id), host]))
    for (const key of [...this.shared.entries.keys()]) {
      if (meaningOf(keys.prefix, key).is !== 'alive') continue
      const host = alive.get(key)
      if (host === undefined || this.now - host.renewedAt > 9000)
        this.shared.transact([], [{ is: 'delete', key }])
    }
  }

  view(): View {
    if (this.#cached?.revision === this.shared.revision) return this.#cached.view
    const view = this.#read()
    this.#cached = { revision: this.shared.revision, view }
    return view
  }

  #read(): View {
    const blocks = new Map<Cidr, Claim>()
    const pins = new Map<Ipv4, Claim>()
    const hosts: Map<HostId, View['hosts'] extends ReadonlyMap<HostId, infer H> ? H : never> = new Map()
    for (const { key, value } of this.shared.entries.values()) {
      const meaning = meaningOf(keys.prefix, key)
      const claim = this.#claims.get(value) ?? claimOf(value)
      if (claim !== undefined) this.#claims.set(value, claim)
      if (meaning.is === 'block' && claim !== undefined) blocks.set(meaning.cidr, claim)
      if (meaning.is === 'pin' && claim !== undefined) pins.set(meaning.address, claim)
      if (meaning.is === 'alive') {
        const alive = { host: meaning.host, since: instant(0) }
        hosts.set(meaning.host, {
          record: recordOf(meaning.host),
          alive,
          reachability: 'unknown',
          present: true,
        })
      }
    }
    return { revision: this.shared.revision, hosts, blocks, pins, containers: new Map() }
  }

  /** Two containers with one address, of which nobody but a host that is cut off could know; empty is right. */
  conflicts(): readonly string[] {
    const wrong: string[] = []
    const seen = new Map<Ipv4, ModelHost>()
    for (const host of this.hosts) {
      for (const problem of host.allocator?.checkInvariants() ?? []) wrong.push(`${host.id}: ${problem}`)
      // A host that has been away for the grace may have lost its blocks; it detaches before it looks again.
      const away = host.stale && this.now - host.renewedAt >= grace
      for (const { attached, id } of host.containers.values()) {
        if (attached === undefined || away) continue
        const other = seen.get(attached)
        if (other !== undefined)
          wrong.push(`${formatIpv4(attached)} is with ${host.id} (${id}) and ${other.id}`)
        seen.set(attached, host)
      }
    }
    return wrong
  }
}

const recordOf = (id: HostId) => ({
  id,
  name: id.slice(0, 8),
  hostname: '',
  signingKey: '',
  wireguardKey: '',
  endpoint: { address: '127.0.0.1', wireguard: 1 },
  managed: null,
  capabilities: [],
  engine: '',
  labels: {},
  memory: 0,
  milliCpu: 0,
  disk: 0,
  createdAt: instant(0),
})
