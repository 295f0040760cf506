/**
 * Watches the store and hands the newest Environment to whoever applies it. When the store is away, the last
 * snapshot stays, also across a restart of the daemon: raw entries are kept in a ledger on disk.
 */

import { base64, fromBase64 } from '../../model/bytes.ts'
import type { Environment, Reachability } from '../../model/environment.ts'
import { mayPass } from '../../model/errors.ts'
import type { Keys } from '../../model/keys.ts'
import type { Clock, Ledger, Log, Meter, Timer } from '../../model/ports.ts'
import type { HostId } from '../../model/records.ts'
import { type Instant, millis, seconds } from '../../model/time.ts'
import type { Attempt } from '../../status/checks/attempts.ts'
import type { Entry, Store, Update } from '../../store/store.ts'
import type { Fold, Refused } from './fold.ts'
import type { HeadTimes } from './heads.ts'
import type { Stranger } from './members.ts'

export interface ObserverDeps {
  readonly store: Store
  readonly fold: Fold
  /** Where the last snapshot is kept; undefined for a store that is itself on this disk. */
  readonly snapshots: Ledger | undefined
  readonly clock: Clock
  readonly log: Log
  readonly meter: Meter
  /** Raw updates, before their records are judged: whom to believe is among them. */
  readonly onArrival: (update: Update) => void
  /** Raw updates, for whoever must know what of its own stands in the store. */
  readonly onUpdate: (update: Update) => void
  readonly onEnvironment: (environment: Environment) => void
}

/** Writing the last snapshot to disk may lag this far behind. */
const saveDelay = seconds(1)
/** When the disk has refused. */
const saveAgain = seconds(5)
/** Of the newest counters that were seen: old bytes do not count after a restart either. */
const floorPrefix = 'floor/'

export class Observer {
  readonly #deps: ObserverDeps
  readonly #keys: Keys
  readonly #stop = new AbortController()
  readonly #unsaved = new Map<string, string | undefined>()
  /** Entries of the store that do not count, or not yet. */
  readonly #doubtful = new Map<string, Uint8Array>()
  #saveTimer: Timer | undefined
  #fresh = false
  #freshSince: Instant
  #seen = false
  #reachability: ReadonlyMap<HostId, Reachability> = new Map()
  #environment: Environment | undefined

  constructor(deps: ObserverDeps, keys: Keys) {
    this.#deps = deps
    this.#keys = keys
    this.#freshSince = deps.clock.now()
  }

  get environment(): Environment | undefined {
    return this.#environment
  }

  get fresh(): boolean {
    return this.#fresh
  }

  /** When `fresh` changed last. */
  get freshSince(): Instant {
    return this.#freshSince
  }

  get headTimes(): ReadonlyMap<HostId, HeadTimes> {
    return this.#deps.fold.headTimes
  }

  get attempts(): readonly Attempt[] {
    return this.#deps.fold.attempts
  }

  get refused(): readonly Refused[] {
    return this.#deps.fold.refused()
  }

  get strangers(): readonly Stranger[] {
    return this.#deps.fold.strangers()
  }

  /** Whether what stands under a key counts. */
  counts(key: string): boolean {
    return !this.#deps.fold.refuses(key)
  }

  /** Whether the store was restored or emptied, and this host has not said again what holds. */
  get wentBack(): boolean {
    return this.#deps.fold.wentBack
  }

  /** Who signed what counts under a key. */
  signerOf(key: string): HostId | undefined {
    return this.#deps.fold.signerOf(key)
  }

  /** Time has passed or trust has changed: what counts may be something else. */
  again(): void {
    if (this.#seen) this.#emit()
  }

  /** Loads what the disk remembers, then follows the store until `close`. */
  start(): Promise<void> {
    this.#recall()
    return this.#follow()
  }

  /** New probe results; emits only when something is different. */
  probed(reachability: ReadonlyMap<HostId, Reachability>): void {
    const same =
      reachability.size === this.#reachability.size &&
      [...reachability].every(([host, state]) => this.#reachability.get(host) === state)
    this.#reachability = reachability
    if (!same && this.#seen) this.#emit()
  }

  close(): void {
    this.#stop.abort()
    this.#save()
  }

  async #follow(): Promise<void> {
    const updates = this.#deps.store.watch(this.#keys.prefix, { signal: this.#stop.signal })
    for await (const update of updates) {
      if (this.#stop.signal.aborted) return
      this.#take(update)
    }
  }

  #take(update: Update): void {
    const { clock, fold, log, meter, onArrival, onUpdate } = this.#deps
    if (this.#fresh === (update.is === 'stale')) {
      this.#fresh = update.is !== 'stale'
      this.#freshSince = clock.now()
      meter.gauge('drover_store_connected', this.#fresh ? 1 : 0)
      if (update.is === 'stale') log.warn('store is out of reach, going on with the last snapshot')
      else log.info('store is in reach', { revision: update.revision })
    }
    onArrival(update)
    fold.apply(update)
    if (update.is === 'snapshot') this.#bridge()
    this.#remember(update)
    this.#seen ||= update.is !== 'stale'
    onUpdate(update)
    if (this.#seen) this.#emit()
  }

  /** What a store has lost counts a little longer, until its owners have said it again. */
  #bridge(): void {
    const { clock, fold, log } = this.#deps
    if (fold.wentBack)
      log.warn('the store holds less than it did: it was restored, or emptied; what it lost is written again')
    const until = fold.bridgedUntil
    if (until !== undefined) clock.after(millis(until - clock.now()), () => this.again())
  }

  #emit(): void {
    const { fold, meter, onEnvironment } = this.#deps
    this.#environment = fold.environment({ fresh: this.#fresh, reachability: this.#reachability })
    meter.gauge('drover_environment_revision', this.#environment.revision)
    onEnvironment(this.#environment)
  }

  #recall(): void {
    const entries: Entry[] = []
    const known = [...(this.#deps.snapshots?.entries() ?? [])]
    const floors = known.filter(([key]) => key.startsWith(floorPrefix))
    for (const [key, text] of known.filter(([key]) => !key.startsWith(floorPrefix))) {
      const value = fromBase64(text)
      if (value !== undefined) entries.push({ key, value, revision: 0 })
    }
    this.#deps.fold.recall(
      floors.map(([key, text]) => [key.slice(floorPrefix.length), Number(text)]),
      entries,
    )
    if (entries.length === 0) return
    this.#seen = true
    this.#deps.log.info('last snapshot read from disk', { records: entries.length })
    this.#emit()
  }

  #remember(update: Update): void {
    if (this.#deps.snapshots === undefined || update.is === 'stale') return
    if (update.is === 'snapshot') {
      const alive = new Set(update.entries.map(({ key }) => key))
      for (const key of this.#deps.snapshots.entries().keys())
        if (!alive.has(key) && !key.startsWith(floorPrefix)) this.#unsaved.set(key, undefined)
      this.#doubtful.clear()
      for (const { key, value } of update.entries) this.#doubtful.set(key, value)
    } else {
      for (const change of update.changes) {
        const { key, value } = change.is === 'put' ? change.entry : { key: change.key, value: undefined }
        this.#doubtful.delete(key)
        if (value === undefined) this.#unsaved.set(key, undefined)
        else this.#doubtful.set(key, value)
      }
    }
    this.#settle()
    this.#saveTimer ??= this.#deps.clock.after(saveDelay, () => this.#save())
  }

  /** What does not count never takes the place of what did. */
  #settle(): void {
    for (const [key, value] of this.#doubtful) {
      if (this.#deps.fold.refuses(key)) continue
      this.#doubtful.delete(key)
      this.#unsaved.set(key, base64(value))
    }
  }

  #save(): void {
    this.#saveTimer?.cancel()
    this.#saveTimer = undefined
    if (this.#unsaved.size === 0) return
    for (const [what, counter] of this.#deps.fold.floors)
      this.#unsaved.set(floorPrefix + what, String(counter))
    const known = this.#deps.snapshots?.entries() ?? new Map<string, string>()
    const changes = new Map([...this.#unsaved].filter(([key, value]) => known.get(key) !== value))
    try {
      if (changes.size > 0) this.#deps.snapshots?.write(changes)
      this.#unsaved.clear()
    } catch (error) {
      if (!mayPass(error)) throw error
      this.#deps.log.debug('the last snapshot waits', { why: error.line })
      if (!this.#stop.signal.aborted) this.#saveTimer = this.#deps.clock.after(saveAgain, () => this.#save())
    }
  }
}
