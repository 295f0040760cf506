/**
 * Keeps this host's own keys in the store equal to what it wants to say. Level-triggered: it knows what stands
 * there (from the watch) and what should, and writes the difference; a failed write is simply tried again. The
 * host's head is written with every change, in the same transaction, and anew every minute.
 */
import { reasonOf } from '../../model/errors.ts'
import type { Keys } from '../../model/keys.ts'
import { type Clock, type Log, type Meter, type Sealer, sleep } from '../../model/ports.ts'
import { encodeRecord, type HostId } from '../../model/records.ts'
import { millis, minutes } from '../../model/time.ts'
import { counterOf, openEnvelope, openOwnRecord } from '../../pki/envelope.ts'
import { openHead } from '../../pki/head.ts'
import type { Entry, Store, Update, Write } from '../../store/store.ts'
import type { Live } from './live.ts'

export interface PublisherDeps {
  readonly store: Store
  /** For what no head lists. */
  readonly sealer: Sealer
  readonly live: Live
  /** This host has signed with this counter before, whatever its ledger says. */
  readonly raise: (counter: number) => void
  readonly clock: Clock
  readonly log: Log
  readonly meter: Meter
}

export interface PublisherOptions {
  readonly keys: Keys
  readonly self: HostId
  /** Of this host: whose head may be taken up after a restart. */
  readonly signingKey: string
}

const retryAfter = millis(500)
/** etcd refuses more than 128 operations in a transaction. */
const batch = 100
/** A head says at least this often that it is the newest one. */
const headEvery = minutes(1)

interface Standing {
  readonly body: string
  readonly counter: number
}

export class Publisher {
  readonly #deps: PublisherDeps
  readonly #options: PublisherOptions
  readonly #stop = new AbortController()
  /** What stands in the store under our keys, as far as we know. */
  #standing = new Map<string, Standing>()
  /** Counter of the head that this process has signed last; undefined before the first. */
  #head: number | undefined
  #headDue = true
  #wanted: ReadonlyMap<string, object> | undefined
  #running: Promise<void> | undefined
  #again = false
  /** Before what stands is known, whatever is written could take something back. */
  #known = false

  constructor(deps: PublisherDeps, options: PublisherOptions) {
    this.#deps = deps
    this.#options = options
  }

  /** What the watch says stands under our own keys. */
  observe(update: Update): void {
    if (update.is === 'stale') return
    this.#deps.live.observe(update)
    if (update.is === 'snapshot') {
      this.#known = true
      this.#standing = new Map()
      for (const { key, value } of update.entries) this.#stands(key, value)
      this.#adopt(update.entries)
    } else {
      for (const change of update.changes) {
        if (change.is === 'put') this.#stands(change.entry.key, change.entry.value)
        else this.#gone(change.key)
      }
    }
    if (this.#wanted !== undefined) this.#kick()
  }

  /** All records of this host, by key; what stands under our keys and is not in here is deleted. */
  publish(wanted: ReadonlyMap<string, object>): void {
    this.#wanted = wanted
    this.#kick()
  }

  /** Whether something of this host is to stand there. */
  wants(key: string): boolean {
    return this.#wanted?.has(key) === true
  }

  /** The head no longer says what lives. */
  headChanged(): void {
    this.#headDue = true
    if (this.#wanted !== undefined) this.#kick()
  }

  /** Signs the head anew every minute until `close`. */
  async keepHead(): Promise<void> {
    while (!this.#stop.signal.aborted) {
      await sleep(this.#deps.clock, headEvery, this.#stop.signal).catch(() => undefined)
      this.headChanged()
    }
  }

  async close(): Promise<void> {
    this.#stop.abort()
    await this.#running
  }

  #stands(key: string, value: Uint8Array): void {
    const { keys, self } = this.#options
    const opened = openEnvelope(value)
    const { body, counter, key: signer } = opened.is === 'ok' ? opened.value : nothingReadable
    if (key === keys.head(self)) this.#headDue ||= counter !== this.#head
    else if (this.#owns(key, signer)) this.#standing.set(key, { body, counter })
    else this.#standing.delete(key)
  }

  #gone(key: string): void {
    this.#standing.delete(key)
    this.#headDue ||= key === this.#options.keys.head(this.#options.self)
  }

  /** After a restart: what this host's own head lists need not be written again. */
  #adopt(entries: readonly Entry[]): void {
    const { keys, self, signingKey } = this.#options
    if (this.#head !== undefined) return
    const own = (of: string): string => {
      const entry = entries.find(({ key }) => key === of)
      const body = entry === undefined ? undefined : openOwnRecord(entry.value, of, signingKey)
      if (entry === undefined || body?.is !== 'ok') return ''
      this.#deps.raise(counterOf(entry.value))
      return body.value
    }
    own(keys.alive(self))
    const head = openHead(own(keys.head(self)), self)
    if (head.is !== 'ok') return
    for (const [key, { counter }] of this.#standing)
      if (head.value.live.has(counter)) this.#deps.live.adopt(key, counter)
  }

  /** Whatever lies under this host's own keys, and the services that it has signed. */
  #owns(key: string, signer: HostId | undefined): boolean {
    const { keys, self } = this.#options
    if (key.startsWith(keys.services)) return signer === self
    return key === keys.host(self) || key.startsWith(keys.containersOf(self))
  }

  /** The writing begins after the present step, so that all of an update is known by then. */
  #kick(): void {
    this.#again = true
    if (this.#known) this.#running ??= Promise.resolve().then(() => this.#write())
  }

  async #write(): Promise<void> {
    const { clock, log, meter } = this.#deps
    while (this.#again && !this.#stop.signal.aborted) {
      this.#again = false
      const begun = clock.boot()
      try {
        if (await this.#writeOnce()) meter.observe('drover_publish_seconds', (clock.boot() - begun) / 1000)
      } catch (err) {
        meter.count('drover_failures_total', 1, { what: 'publish' })
        log.debug('records could not be published yet', { why: reasonOf(err) })
        this.#again = true
        await sleep(clock, retryAfter, this.#stop.signal).catch(() => undefined)
      }
    }
    // In the same step as the look at `again`: whoever asks later finds nobody running.
    this.#running = undefined
  }

  /** Writes the whole difference; says whether there was one. */
  async #writeOnce(): Promise<boolean> {
    const changes = this.#changes()
    for (let at = 0; at < changes.length; at += batch) await this.#send(changes.slice(at, at + batch))
    if (this.#headDue) await this.#send([])
    return changes.length > 0
  }

  #changes(): readonly Change[] {
    const { live } = this.#deps
    const wanted = this.#wanted ?? new Map<string, object>()
    const puts = [...wanted].flatMap(([key, record]): Change[] => {
      const [body, standing] = [encodeRecord(record), this.#standing.get(key)]
      const stands = standing?.body === body && live.isLive(key, standing.counter)
      return stands ? [] : [{ is: 'put', key, record, body }]
    })
    const deletes = [...this.#standing.keys()].filter((key) => !wanted.has(key))
    return [...puts, ...deletes.map((key): Change => ({ is: 'delete', key }))]
  }

  /** Changes and the head that goes with them: at every revision both agree. */
  async #send(changes: readonly Change[]): Promise<void> {
    const { live, sealer, store } = this.#deps
    const { keys, self } = this.#options
    const writes = changes.map((change): Write => {
      const { key } = change
      if (change.is === 'put') return { is: 'put', key, value: live.sealRecord(key, change.record) }
      live.forget(key)
      return { is: 'delete', key }
    })
    this.#headDue = false
    const value = sealer.seal(keys.head(self), live.head(self))
    this.#head = counterOf(value)
    try {
      await store.transact([], [...writes, { is: 'put', key: keys.head(self), value }])
    } catch (error) {
      this.#headDue = true
      throw error
    }
    for (const change of changes) {
      if (change.is === 'delete') this.#standing.delete(change.key)
      else this.#standing.set(change.key, { body: change.body, counter: live.counter(change.key) })
    }
  }
}

const nothingReadable = { body: '', counter: -1, key: undefined }

type Change =
  | { readonly is: 'put'; readonly key: string; readonly record: object; readonly body: string }
  | { readonly is: 'delete'; readonly key: string }
