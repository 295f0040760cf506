/**
 * Who on this host has which address. Allocates alone from own blocks, journalled before use; claims blocks and
 * pins in the store when it must. Every answer comes within two seconds and is data: an address, something to
 * wait for, or a refusal. It reads no clock but its own and starts nothing by itself: `observe` and `tick` do.
 */
import { DroverError } from '../model/errors.ts'
import { type Cidr, formatIpv4, type Ipv4 } from '../model/ip.ts'
import type { Keys } from '../model/keys.ts'
import type { ClaimSealer, Clock, Ledger, Log, Meter } from '../model/ports.ts'
import type { ContainerId, HostId, Settings } from '../model/records.ts'
import { later, type Millis, minutes, seconds } from '../model/time.ts'
import type { Store } from '../store/store.ts'
import { Book, type BookFigures, type Change, type Use } from './book.ts'
import { Claims } from './claims.ts'
import { diskTakes, failed } from './disk.ts'
import { Fence, Silences, type Stamp, span } from './fence.ts'
import { entriesOf, recover, renewalEntry } from './journal.ts'
import { givenUp, isKept } from './keeping.ts'
import { type Context, type Lost, reconcile, type View } from './reconcile.ts'
import {
  type Answer,
  answerOf,
  closedText,
  late,
  Requests,
  removedAnswer,
  waiting,
  within,
} from './requests.ts'
import { type Space, spaceOf } from './space.ts'
import { Upkeep } from './upkeep.ts'

export interface AllocatorDeps {
  readonly store: Store
  readonly ledger: Ledger
  readonly sealer: ClaimSealer
  readonly clock: Clock
  readonly log: Log
  readonly meter: Meter
  /** Whether this host belongs to the environment: who was removed takes nothing back. Left out: it does. */
  readonly isMember?: () => boolean
}

export interface AllocatorOptions {
  readonly keys: Keys
  readonly self: HostId
  readonly settings: Pick<Settings, 'subnet' | 'blockBits'>
  /** Identifies this run of the kernel, so that boot times of two runs are never compared. */
  readonly bootId: string
  /** How long a host must be dead before its claims are taken back. */
  readonly grace?: Millis
  /** How long a freed address is not given again. */
  readonly rest?: Millis
}

export interface AllocatorStatus extends BookFigures {
  /** False while this host may not give new addresses. */
  readonly open: boolean
}

// A host that looked away for longer starts counting anew: with the 3 s by which a fresh view may be late it is
// shorter than a lease, so that no life of another host goes unseen.
const attention = seconds(5)

export class Allocator {
  readonly #ledger: Ledger
  readonly #clock: Clock
  readonly #log: Log
  readonly #meter: Meter
  readonly #self: HostId
  readonly #bootId: string
  readonly #space: Space
  readonly #rest: Millis
  readonly #grace: Millis
  readonly #book: Book
  readonly #claims: Claims
  readonly #fence: Fence
  readonly #silences: Silences
  readonly #said: Pick<AllocatorDeps, 'sealer' | 'isMember' | 'log' | 'meter'> &
    Pick<AllocatorOptions, 'keys'>
  readonly #upkeep: Upkeep
  readonly #requests: Requests
  #view: View | undefined
  #fresh = false
  #savedRenewal: Stamp | undefined
  #epoch = 0
  /** Revision of our own last write to a key: older views do not count for it. */
  readonly #touched = new Map<Cidr | Ipv4, number>()
  readonly #busy = new Set<Cidr | Ipv4>()
  readonly #pending = new Map<ContainerId, Promise<Answer>>()
  readonly #gone = new Set<ContainerId>()

  /** Recovers everything from the ledger. */
  constructor(deps: AllocatorDeps, options: AllocatorOptions) {
    this.#ledger = deps.ledger
    this.#clock = deps.clock
    this.#log = deps.log
    this.#meter = deps.meter
    this.#self = options.self
    this.#said = { ...deps, keys: options.keys }
    this.#bootId = options.bootId
    this.#space = spaceOf(options.settings)
    this.#rest = options.rest ?? seconds(60)
    this.#grace = options.grace ?? minutes(60)
    this.#book = new Book(this.#space)
    this.#claims = new Claims(deps, options)
    this.#fence = new Fence(this.#grace)
    this.#silences = new Silences(this.#grace, attention)
    const { changes, renewed, unreadable } = recover(deps.ledger.entries(), options.bootId)
    this.#book.apply(changes)
    if (renewed !== undefined) this.#fence.restore(renewed, this.stamp())
    for (const key of unreadable) this.#log.error('an entry of the ledger is not readable', { key })
    this.#requests = new Requests({
      book: this.#book,
      claims: this.#claims,
      space: this.#space,
      self: this.#self,
      clock: deps.clock,
      view: () => this.#view,
      epoch: () => this.#epoch + 1,
      mayTake: (container) => !this.#gone.has(container) && this.#fence.isOpen(this.stamp()),
      take: (address, container, pin) => this.#take(address, container, pin, ''),
      reserve: (key, work) => this.#reserve(key, work),
    })
    this.#upkeep = new Upkeep({
      book: this.#book,
      claims: this.#claims,
      space: this.#space,
      keys: options.keys,
      self: options.self,
      rest: this.#rest,
      clock: deps.clock,
      log: deps.log,
      meter: deps.meter,
      situation: () => this.#situation(),
      write: (changes) => this.#write(changes),
      reserve: (key, work) => this.#reserve(key, work),
      isOver: (host) => this.#silences.isOver(host, this.#clock.boot()),
    })
  }

  /** The host's own address in the environment; undefined until it owns a block. */
  managed(): Ipv4 | undefined {
    return this.#book.host
  }

  addressOf(container: ContainerId): Ipv4 | undefined {
    return this.#book.heldBy(container)?.address
  }

  /** This moment, to be taken before a renewal is sent. */
  stamp(): Stamp {
    return { boot: this.#clock.boot(), wall: this.#clock.now() }
  }

  /** The alive key, put at `aliveRevision`, was prolonged by a call sent at `sent`. */
  renewed(sent: Stamp, aliveRevision: number): void {
    this.#fence.renewed(sent, aliveRevision, this.stamp())
    const saved = this.#savedRenewal
    if (saved !== undefined && span(saved, sent) < this.#grace / 60 && sent.wall >= saved.wall) return
    if (diskTakes(this.#said, () => this.#ledger.write(renewalEntry(sent, this.#bootId))))
      this.#savedRenewal = sent
  }

  /**
   * Takes a view of the store; `fresh` says that the watch is current. Returns the containers whose address is
   * no longer ours: they must be detached before anything else.
   */
  observe(view: View, fresh: boolean): readonly Lost[] {
    // A store that was restored counts anew.
    if (view.revision < (this.#view?.revision ?? 0)) this.#touched.clear()
    this.#view = view
    this.#fresh = fresh
    this.#fence.doubt()
    const claims = [...view.blocks.values(), ...view.pins.values()]
    const others = claims.map(({ host }) => host).filter((host) => host !== this.#self)
    this.#silences.look(view.hosts, others, fresh, this.#clock.boot())
    for (const { epoch } of claims) this.#epoch = Math.max(this.#epoch, epoch)
    if (!fresh) return []
    const { changes, lost } = reconcile(this.#context(view))
    // What the disk refuses now, the next view finds again.
    if (!this.#tryWrite(...changes)) return []
    for (const { container, address } of lost)
      this.#log.warn('an address was lost to another host', { container, address: formatIpv4(address) })
    for (const [key, revision] of this.#touched) if (revision <= view.revision) this.#touched.delete(key)
    if (view.hosts.get(this.#self)?.alive !== undefined) this.#fence.confirm(view.revision, this.stamp())
    this.#requests.hear(view)
    this.#upkeep.run()
    return lost
  }

  /**
   * Whether a claim is this host's although the store has lost it: others take it back only from a host that has
   * been away for the grace, and this one was not.
   */
  keeps(key: string): boolean {
    const { isMember, keys } = this.#said
    if (isMember?.() === false || !this.#fence.isOpen(this.stamp())) return false
    return isKept(key, keys, this.#book, this.#busy)
  }

  /** To be called every second or so: rests end, claims are retried, the dead are counted. */
  tick(): void {
    const view = this.#view
    if (view !== undefined) {
      const holders = [...view.blocks.values(), ...view.pins.values()].map(({ host }) => host)
      const others = holders.filter((host) => host !== this.#self)
      this.#silences.look(view.hosts, others, this.#fresh, this.#clock.boot())
    }
    this.#upkeep.run()
  }

  /** Resolves when nothing is under way in the store. */
  settled(): Promise<void> {
    return this.#upkeep.settled()
  }

  /** The address of a container that runs or starts, within two seconds; the same one until it is removed. */
  allocate(container: ContainerId, requested: readonly string[] = []): Promise<Answer> {
    this.#gone.delete(container)
    const pending = this.#pending.get(container)
    if (pending !== undefined) return pending
    const begun = this.#clock.boot()
    const answer = this.#allocate(container, requested, begun)
      .catch((error: unknown): Answer => failed(error, this.#log))
      .finally(() => {
        this.#pending.delete(container)
        this.#meter.observe('drover_allocation_seconds', (this.#clock.boot() - begun) / 1000)
      })
    this.#pending.set(container, answer)
    return answer
  }

  /** A container that is attached already: true when it may keep the address, false when it must be detached. */
  adopt(container: ContainerId, address: Ipv4): boolean {
    const held = this.#book.heldBy(container)
    if (held !== undefined) return held.address === address
    const pin = this.#view?.pins.get(address)
    const pinned = pin?.host === this.#self && pin.confirmed && pin.container === container
    if (!this.#book.isFree(address) && !(pinned && this.#book.uses.get(address) === undefined)) return false
    return this.#tryWrite(taken(address, container, !this.#book.isFree(address), ''))
  }

  /** It keeps its address, and gives it up first when space is short. */
  stopped(container: ContainerId): void {
    const held = this.#book.heldBy(container)
    if (held === undefined || held.use.stoppedAt !== null) return
    this.#tryWrite({
      of: 'address',
      address: held.address,
      use: { ...held.use, stoppedAt: this.#clock.now() },
    })
  }

  /** Its address rests and is then free. */
  removed(container: ContainerId): void {
    if (this.#pending.has(container)) this.#gone.add(container)
    const held = this.#book.heldBy(container)
    if (held === undefined) return
    // What the disk refuses `retain` comes across again.
    const use = this.#resting(held.use.pin)
    if (this.#tryWrite({ of: 'address', address: held.address, use })) this.#upkeep.run()
  }

  /** Frees whatever belongs to containers that no longer exist. */
  retain(existing: ReadonlySet<ContainerId>): void {
    for (const { use } of this.#book.held()) if (!existing.has(use.container)) this.removed(use.container)
  }

  status(): AllocatorStatus {
    return { ...this.#book.figures(), open: this.#fence.isOpen(this.stamp()) }
  }

  checkInvariants(): readonly string[] {
    return this.#book.checkInvariants()
  }

  #context(view: View): Context {
    const { sealer, keys } = this.#said
    return {
      book: this.#book,
      view,
      space: this.#space,
      self: this.#self,
      trusts: (key) => !this.#busy.has(key) && view.revision >= (this.#touched.get(key) ?? 0),
      isMissing: (key) => sealer.missing().has(typeof key === 'number' ? keys.pin(key) : keys.block(key)),
      now: this.#clock.now(),
      rest: this.#rest,
    }
  }

  #situation(): { readonly context: Context; readonly epoch: number } | undefined {
    if (this.#view === undefined || !this.#fresh || !this.#fence.isOpen(this.stamp())) return undefined
    return { context: this.#context(this.#view), epoch: this.#epoch + 1 }
  }

  /** Journals, then acts: after a crash at any point the ledger says what may be in use. */
  #write(changes: readonly Change[]): void {
    if (changes.length === 0) return
    this.#ledger.write(entriesOf(changes))
    this.#book.apply(changes)
    this.#upkeep.noteRests(changes)
    // Otherwise a claim that was lost to somebody else would be written again.
    for (const key of givenUp(changes, this.#said.keys)) this.#said.sealer.unseal(key)
  }

  #tryWrite(...changes: readonly Change[]): boolean {
    return diskTakes(this.#said, () => this.#write(changes))
  }

  #resting(pin: boolean): Use {
    return { is: 'resting', until: later(this.#clock.now(), this.#rest), pin }
  }

  /** Does something with a key of the store, during which and after which older views do not count for it. */
  async #reserve<T extends object>(key: Cidr | Ipv4, work: () => Promise<T>): Promise<T | undefined> {
    if (this.#busy.has(key)) return undefined
    this.#busy.add(key)
    try {
      const result = await work()
      if ('revision' in result && typeof result.revision === 'number') this.#touched.set(key, result.revision)
      return result
    } finally {
      this.#busy.delete(key)
    }
  }

  async #allocate(container: ContainerId, requested: readonly string[], begun: Millis): Promise<Answer> {
    const held = this.#book.heldBy(container)
    if (held !== undefined) return this.#again(held.address, held.use)
    if (!this.#fence.isOpen(this.stamp())) return waiting('STORE_UNAVAILABLE', closedText)
    const problems: string[] = []
    for (const text of requested) {
      const attempt = await this.#requests.attempt(text, container, begun)
      if (attempt.is !== 'problem') return attempt
      problems.push(attempt.problem)
      if (this.#gone.has(container)) return removedAnswer
    }
    return await this.#ordinary(container, problems.join('; '), begun)
  }

  #again(address: Ipv4, use: Use & { readonly is: 'container' }): Answer {
    if (use.stoppedAt !== null) this.#write([{ of: 'address', address, use: { ...use, stoppedAt: null } }])
    return answerOf(address, use.problem)
  }

  #take(address: Ipv4, container: ContainerId, pin: boolean, problem: string): Answer {
    this.#write([taken(address, container, pin, problem)])
    return answerOf(address, problem)
  }

  async #ordinary(container: ContainerId, problem: string, begun: Millis): Promise<Answer> {
    for (;;) {
      if (this.#gone.has(container)) return removedAnswer
      if (!this.#fence.isOpen(this.stamp())) return waiting('STORE_UNAVAILABLE', closedText)
      const address = this.#book.next()
      if (address !== undefined) {
        const answer = this.#take(address, container, false, problem)
        this.#upkeep.run() // keeps a spare block
        return answer
      }
      const outcome = await within(this.#clock, begun, this.#upkeep.claim())
      if (outcome === late || outcome === 'away')
        return waiting('STORE_UNAVAILABLE', 'the own blocks are full and another cannot be claimed')
      if (outcome === 'contended')
        return waiting('STORE_UNAVAILABLE', 'other hosts claim blocks at the same time')
      if (outcome === 'full') return this.#evict(container, problem)
    }
  }

  /** Space is short: the container that has been stopped for longest gives up its address. */
  #evict(container: ContainerId, problem: string): Answer {
    const [oldest] = this.#book
      .held()
      .filter(({ use }) => use.stoppedAt !== null && !use.pin)
      .sort((one, other) => (one.use.stoppedAt ?? 0) - (other.use.stoppedAt ?? 0))
    if (oldest !== undefined) {
      this.#log.info('a stopped container gives up its address', { container: oldest.use.container })
      if (this.#clock.now() - (oldest.use.stoppedAt ?? 0) >= this.#rest)
        return this.#take(oldest.address, container, false, problem)
      this.#write([{ of: 'address', address: oldest.address, use: this.#resting(false) }])
    }
    const rests = [...this.#book.uses.values()].some((use) => use.is === 'resting')
    const full = new DroverError(
      'ADDRESS_SPACE_FULL',
      `every block of ${this.#space.subnet} is owned and used`,
    )
    if (rests)
      return { is: 'waiting', why: `${full.message}; freed addresses rest before they are given again` }
    this.#meter.count('drover_address_space_full_total')
    return { is: 'refused', why: full.line }
  }
}

const taken = (address: Ipv4, container: ContainerId, pin: boolean, problem: string): Change => ({
  of: 'address',
  address,
  use: { is: 'container', container, pin, stoppedAt: null, problem },
})
