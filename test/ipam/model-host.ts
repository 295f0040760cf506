/**
 * A host of the model's world: its containers, ledger and clocks, and one life of its daemon after the other.
 */
import { Allocator } from '../../ipam/allocator.ts'
import type { Lost, View } from '../../ipam/reconcile.ts'
import { DroverError } from '../../model/errors.ts'
import { type Cidr, formatIpv4, type Ipv4, parseCidr, parseIpv4 } from '../../model/ip.ts'
import type { Clock, Ledger } from '../../model/ports.ts'
import type { ContainerId, HostId } from '../../model/records.ts'
import { millis, seconds } from '../../model/time.ts'
import { FakeClock, MemoryLedger, MemoryLog, MemoryMeter } from '../support/ports.ts'
import { Door, keys, type Link, plainSealer } from './shared-store.ts'
import type { World } from './world.ts'

export const grace = seconds(60)
export const rest = seconds(5)
const noticeLimit = 3000 // a cut watch is noticed after this

const subnetOf = (text: string): Cidr => {
  const cidr = parseCidr(text)
  if (cidr === undefined) throw new TypeError(`not a network: ${text}`)
  return cidr
}

export const settings = { subnet: subnetOf('10.42.0.0/25'), blockBits: 28 }
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
      { keys, self: host.id, settings, grace, rest, bootId: host.bootId },
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
  /** Which run of the kernel it is in. */
  bootId = 'boot 0'
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
    this.bootId = `boot at ${this.#world.now}`
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
