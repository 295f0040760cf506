/**
 * Hosts with allocators on one shared store, for the model test: each with its own clocks, which may jump, stand
 * still or start anew, its own link and its own late view of the store. It knows the truth that no host knows:
 * who has which address attached, and where the store sends packets to it.
 */
import { Allocator } from '../../ipam/allocator.ts'
import type { Lost, View } from '../../ipam/reconcile.ts'
import { blockAround, spaceOf } from '../../ipam/space.ts'
import { DroverError } from '../../model/errors.ts'
import { type Cidr, formatIpv4, type Ipv4, parseCidr, parseIpv4 } from '../../model/ip.ts'
import { meaningOf } from '../../model/keys.ts'
import type { Clock, Ledger } from '../../model/ports.ts'
import {
  type Claim,
  type ContainerId,
  containerIdField,
  type HostId,
  type HostRecord,
  hostIdField,
} from '../../model/records.ts'
import { instant, millis, seconds } from '../../model/time.ts'
import { FakeClock, MemoryLedger, MemoryLog, MemoryMeter, type SeededRandom } from '../support/ports.ts'
import { hostRecord } from '../support/records.ts'
import { Door, keys, type Link, plainSealer, SharedStore } from './shared-store.ts'

export const grace = seconds(60)
export const rest = seconds(5)
const noticeLimit = 3000 // a cut watch is noticed after this

const subnetOf = (text: string): Cidr => {
  const cidr = parseCidr(text)
  if (cidr === undefined) throw new TypeError(`not a network: ${text}`)
  return cidr
}

export const settings = { subnet: subnetOf('10.42.0.0/25'), blockBits: 28 }
const space = spaceOf(settings)

export interface ModelContainer {
  readonly id: ContainerId
  state: 'running' | 'stopped'
  attached: Ipv4 | undefined
}

/** One life of a daemon: after `kill -9` nothing of it acts any more, but its calls may still be on their way. */
class Process {
  readonly allocator: Allocator
  readonly door: Door
  alive = true
  renewing = false
  /** Revision of its last known write. */
  wrote = 0
  /** The newest fresh view that it has taken. */
  newest: View | undefined
  /** The store's revision when it began. */
  readonly started: number

  constructor(host: ModelHost, world: World, link: Link) {
    const sender = {
      random: world.random,
      note: world.note,
      isAlive: () => this.alive,
      wrote: (revision: number) => {
        this.wrote = revision
      },
      later: (delay: number, action: () => void) => world.later(delay, action),
      onHost: (action: () => void) => host.deliver(() => this.alive && action()),
    }
    this.started = world.shared.revision
    this.door = new Door(world.shared, sender, link)
    const { clock } = host
    const own: Clock = {
      now: () => clock.now(),
      boot: () => clock.boot(),
      after: (delay, action) => clock.after(delay, () => this.alive && action()),
    }
    this.allocator = new Allocator(
      {
        store: this.door,
        ledger: this.#ledgerOf(host, world),
        sealer: plainSealer,
        clock: own,
        log: new MemoryLog(),
        meter: new MemoryMeter(),
      },
      { keys, self: host.id, settings, grace, rest },
    )
  }

  /** The ledger, which sees every address in the moment it is given. */
  #ledgerOf(host: ModelHost, world: World): Ledger {
    return {
      entries: () => host.ledger.entries(),
      write: (changes) => {
        if (!this.alive) throw new DroverError('STORE_UNAVAILABLE', 'this process is gone')
        for (const [key, value] of changes) {
          const container = containerIn(value)
          const address = parseIpv4(key.slice('ipam/address/'.length))
          if (container === undefined || address === undefined) continue
          if (containerIn(host.ledger.entries().get(key)) !== container) world.given(host, address, container)
        }
        host.ledger.write(changes)
      },
      close: () => {},
    }
  }
}

const containerIn = (value: string | undefined): string | undefined =>
  value === undefined ? undefined : /"is":"container","container":"([0-9a-f]+)"/.exec(value)?.[1]

export class ModelHost {
  id: HostId
  clock = new FakeClock()
  ledger = new MemoryLedger()
  readonly containers = new Map<ContainerId, ModelContainer>()
  /** Requests for an address that have no answer yet. */
  readonly questions = new Set<{ readonly allocator: Allocator; readonly asked: number }>()
  /** How late views reach it, in milliseconds. */
  lag = 0
  /** When the last renewal was sent that was answered. */
  renewedAt = Number.NEGATIVE_INFINITY
  /** Renewed nothing for a whole grace, and has not seen since what that cost it. */
  away = true
  /** True while somebody else gives it back what it had attached. */
  adopting = false
  asleepSince: number | undefined
  process: Process
  #aliveRevision = Number.POSITIVE_INFINITY
  #last: View | undefined
  #brokenSince: number | undefined
  #mail: (() => void)[] = []
  readonly #world: World

  constructor(world: World, id: HostId) {
    this.#world = world
    this.id = id
    this.process = new Process(this, world, 'up')
  }

  get allocator(): Allocator {
    return this.process.allocator
  }

  get link(): Link {
    return this.process.door.link
  }

  set link(link: Link) {
    this.process.door.link = link
  }

  get asleep(): boolean {
    return this.asleepSince !== undefined
  }

  /** kill -9 and start again: only the ledger and what is attached in the kernel remain. */
  restart(): void {
    const before = this.process
    before.alive = false
    this.process = new Process(this, this.#world, before.door.link)
    this.adopting = true
    for (const container of this.containers.values()) {
      const address = before.allocator.addressOf(container.id)
      if (this.allocator.addressOf(container.id) !== address)
        this.#world.wrong.push(`${container.id} had ${address} before a crash of ${this.id}`)
      if (container.attached !== undefined && !this.allocator.adopt(container.id, container.attached))
        container.attached = undefined
    }
    this.adopting = false
    if (this.#last !== undefined && this.#world.random.below(2) === 0) this.#observe(this.#last, false)
    this.#brokenSince = undefined
  }

  /** The power goes: everything ends but the disk. */
  powerOff(): void {
    this.process.alive = false
    for (const container of this.containers.values()) container.attached = undefined
    this.sleep()
  }

  /** Boot time begins anew, and the wall clock is off by `error`. */
  boot(error: number): void {
    if (this.asleepSince === undefined) return
    const off = this.#world.now - this.asleepSince
    this.asleepSince = undefined
    this.#mail = []
    const clock = new FakeClock(this.clock.now() + off + error)
    clock.advance(seconds(this.#world.random.below(30)))
    this.clock = clock
    this.restart()
  }

  sleep(): void {
    this.asleepSince = this.#world.now
  }

  /** Clocks jump; timers that fell due and answers that came meanwhile are there in any order. */
  wake(): void {
    if (this.asleepSince === undefined || !this.process.alive) return
    const slept = this.#world.now - this.asleepSince
    this.asleepSince = undefined
    if (slept >= grace / 2) this.#world.note('a host slept for longer than its fence')
    if (slept >= grace) this.#world.note('a host slept for longer than the grace')
    const mail = this.#mail
    this.#mail = []
    const read = (): void => mail.forEach((action) => void action())
    if (this.#world.random.below(2) === 0) read()
    this.clock.suspended(millis(slept))
    if (mail.length > 0) this.deliver(read)
  }

  /** Something reaches the host, now or when it wakes. */
  deliver(action: () => void): void {
    if (this.asleep) this.#mail.push(action)
    else action()
  }

  /** Whether a question waits for longer than two seconds. */
  isLate(): boolean {
    return [...this.questions].some(
      ({ allocator, asked }) => allocator === this.allocator && this.clock.boot() - asked > 2000,
    )
  }

  /** What the daemon does every few seconds: renew the lease, look at the store, detach what is lost. */
  live(): void {
    if (this.asleep) return
    this.#renew()
    this.look()
    this.allocator.tick()
  }

  /** Takes the newest view that has reached it; a cut watch is noticed after a while. */
  look(): void {
    const world = this.#world
    if (this.link === 'cut' || this.link === 'loses everything') {
      this.#brokenSince ??= world.now
      if (world.now - this.#brokenSince > noticeLimit && this.#last !== undefined)
        this.#observe(this.#last, false)
      return
    }
    this.#brokenSince = undefined
    const late = world.viewAt(world.now - this.lag)
    // The first view of a process is a listing, never older than itself; afterwards no view goes back.
    const before = this.process.newest
    const first = late.revision < this.process.started ? world.view() : late
    const view = before === undefined ? first : late.revision < before.revision ? before : late
    this.process.newest = view
    if (view.revision < world.shared.revision) world.note('a fresh view was old')
    if (view.revision < this.process.wrote) world.note('a fresh view was older than an own write')
    this.#observe(view, true)
    const renewed = world.now - this.renewedAt < grace
    if (this.away && renewed && view.revision >= this.#aliveRevision) this.away = false
  }

  #observe(view: View, fresh: boolean): void {
    this.#last = view
    for (const one of this.allocator.observe(view, fresh)) this.#lose(one)
  }

  #lose({ container, address }: Lost): void {
    this.#world.note('an address was lost')
    if (this.#world.leads(this, address, container))
      this.#world.wrong.push(`${formatIpv4(address)} was called lost and leads to ${this.id}`)
    const found = this.containers.get(container)
    if (found !== undefined) found.attached = undefined
  }

  #renew(): void {
    const { process } = this
    if (process.renewing) return
    process.renewing = true
    const [sent, sentAt] = [process.allocator.stamp(), this.#world.now]
    const { id } = this
    process.door
      .call(() => this.#world.shared.renew(id, this.#world.now))
      .then((revision) => {
        if (!process.alive) return
        process.allocator.renewed(sent, revision)
        this.renewedAt = sentAt
        this.#aliveRevision = revision
      })
      .catch(() => undefined)
      .finally(() => {
        process.renewing = false
      })
  }
}

export class World {
  readonly hosts: ModelHost[] = []
  readonly random: SeededRandom
  /** Which situations this world has seen, and how often. */
  readonly seen: Map<string, number>
  readonly shared: SharedStore
  /** What went against the law. */
  readonly wrong: string[] = []
  now = 0
  #count = 0
  #events: { readonly at: number; readonly action: () => void }[] = []
  #cached: View | undefined
  readonly #past: { readonly at: number; readonly view: View }[] = []
  readonly #records = new Map<HostId, HostRecord>()

  constructor(random: SeededRandom, hosts: number, seen = new Map<string, number>()) {
    this.random = random
    this.seen = seen
    this.shared = new SharedStore(this.note)
    for (let at = 0; at < hosts; at++) this.hosts.push(new ModelHost(this, this.hostId()))
  }

  readonly note = (situation: string): void => {
    this.seen.set(situation, (this.seen.get(situation) ?? 0) + 1)
  }

  hostId(): HostId {
    const text = [...this.random.bytes(16)].map((byte) => byte.toString(16).padStart(2, '0')).join('')
    return hostIdField.parse(text.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5'))
  }

  containerId(): ContainerId {
    return containerIdField.parse((++this.#count).toString(16).padStart(64, '0'))
  }

  later(delay: number, action: () => void): void {
    if (delay === 0) queueMicrotask(action)
    else this.#events.push({ at: this.now + delay, action })
  }

  /** Time passes for everybody who is awake; what falls due happens in its order. */
  pass(milliseconds: number): void {
    const until = this.now + milliseconds
    for (let event = this.#due(until); event !== undefined; event = this.#due(until)) {
      this.#events.splice(this.#events.indexOf(event), 1)
      this.#move(event.at)
      event.action()
    }
    this.#move(until)
  }

  /** What the store held at a moment of the last seconds. */
  viewAt(moment: number): View {
    return this.#past.findLast(({ at }) => at <= moment)?.view ?? this.view()
  }

  view(): View {
    if (this.#cached?.revision !== this.shared.revision) this.#cached = this.#read()
    return this.#cached
  }

  /** Whether packets to a container's address come to its host. */
  leads(host: ModelHost, address: Ipv4, container: string | undefined): boolean {
    const found = this.shared.leadsTo(address, blockAround(space, address))
    return found?.host === host.id && (found.container === null || found.container === container)
  }

  /** An address has just been given for the first time: it must lead here, however long the host was away. */
  given(host: ModelHost, address: Ipv4, container: string): void {
    if (host.away) this.note('an address was given by a host that is away')
    if (!host.adopting && !this.leads(host, address, container))
      this.wrong.push(`${formatIpv4(address)} was given by ${host.id} and does not lead there`)
  }

  /** What went against the law: an attached address that leads elsewhere, or is attached twice. */
  problems(): readonly string[] {
    for (const host of this.hosts) {
      this.wrong.push(...host.allocator.checkInvariants())
      // A host that has been away for the grace may have lost its blocks; it detaches when it looks again.
      if (this.now - host.renewedAt >= grace) host.away = true
      const seen = new Set<Ipv4>()
      for (const { attached, id } of host.containers.values()) {
        if (attached === undefined) continue
        if (seen.has(attached)) this.wrong.push(`${formatIpv4(attached)} is attached twice at ${host.id}`)
        seen.add(attached)
        if (!host.away && !this.leads(host, attached, id))
          this.wrong.push(`${formatIpv4(attached)} of ${id} does not lead to ${host.id}`)
      }
      const own = host.allocator.managed()
      if (own !== undefined && !host.away && !this.leads(host, own, undefined))
        this.wrong.push(`${formatIpv4(own)}, its own, does not lead to ${host.id}`)
    }
    return this.wrong
  }

  #due(until: number): { readonly at: number; readonly action: () => void } | undefined {
    let first: { readonly at: number; readonly action: () => void } | undefined
    for (const event of this.#events)
      if (event.at <= until && (first === undefined || event.at < first.at)) first = event
    return first
  }

  #move(to: number): void {
    const by = millis(to - this.now)
    this.now = to
    for (const host of this.hosts) if (!host.asleep) host.clock.advance(by)
    this.shared.expire(to)
    const view = this.view()
    if (this.#past.at(-1)?.view === view) return
    this.#past.push({ at: to, view })
    if (this.#past.length > 200) this.#past.splice(0, 100)
  }

  #record(id: HostId): HostRecord {
    const record = this.#records.get(id) ?? hostRecord(id)
    this.#records.set(id, record)
    return record
  }

  #read(): View {
    const blocks = new Map<Cidr, Claim>()
    const pins = new Map<Ipv4, Claim>()
    const hosts: Map<HostId, View['hosts'] extends ReadonlyMap<HostId, infer H> ? H : never> = new Map()
    for (const key of this.shared.entries.keys()) {
      const meaning = meaningOf(keys.prefix, key)
      const claim = this.shared.claimAt(key)
      if (meaning.is === 'block' && claim !== undefined) blocks.set(meaning.cidr, claim)
      if (meaning.is === 'pin' && claim !== undefined) pins.set(meaning.address, claim)
      if (meaning.is !== 'alive') continue
      const alive = { host: meaning.host, since: instant(0) }
      hosts.set(meaning.host, {
        record: this.#record(meaning.host),
        alive,
        reachability: 'unknown',
        present: true,
      })
    }
    return { revision: this.shared.revision, hosts, blocks, pins, containers: new Map() }
  }
}
