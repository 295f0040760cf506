/**
 * Keeps this host's own keys in the store equal to what it wants to say. Level-triggered: it knows what stands
 * there (from the watch) and what should, and writes the difference; a failed write is simply tried again.
 */
import { utf8Text } from '../model/bytes.ts'
import { reasonOf } from '../model/errors.ts'
import type { Keys } from '../model/keys.ts'
import { type Clock, type Log, type Meter, type Sealer, sleep } from '../model/ports.ts'
import { encodeRecord, type HostId } from '../model/records.ts'
import { type Instant, type Millis, millis, seconds } from '../model/time.ts'
import type { Lease, Store, Update, Write } from '../store/store.ts'

export interface PublisherDeps {
  readonly store: Store
  readonly sealer: Sealer
  readonly clock: Clock
  readonly log: Log
  readonly meter: Meter
  /** The alive key, written at `revision`, was prolonged by a call that was sent at `sent`. */
  readonly onRenewed: (sent: Sent, revision: number) => void
}

/** One moment by both clocks. */
export interface Sent {
  readonly boot: Millis
  readonly wall: Instant
}

export interface PublisherOptions {
  readonly keys: Keys
  readonly self: HostId
  readonly started: Instant
}

/** design section 5: a host that does not renew is gone after 9 s. */
const leaseSeconds = 9
const renewEvery = seconds(3)
const retryAfter = millis(500)
/** etcd refuses more than 128 operations in a transaction. */
const batch = 100

export class Publisher {
  readonly #deps: PublisherDeps
  readonly #options: PublisherOptions
  readonly #stop = new AbortController()
  /** Bodies that stand in the store under our keys, as far as we know. */
  #standing = new Map<string, string>()
  #wanted: ReadonlyMap<string, object> | undefined
  #running: Promise<void> | undefined
  #again = false
  #lease: Lease | undefined
  #aliveRevision = 0

  constructor(deps: PublisherDeps, options: PublisherOptions) {
    this.#deps = deps
    this.#options = options
  }

  /** What the watch says stands under our own keys. */
  observe(update: Update): void {
    if (update.is === 'stale') return
    if (update.is === 'snapshot') {
      this.#standing = new Map()
      for (const { key, value } of update.entries) this.#stands(key, value)
    } else {
      for (const change of update.changes) {
        if (change.is === 'put') this.#stands(change.entry.key, change.entry.value)
        else this.#standing.delete(change.key)
      }
    }
    if (this.#wanted !== undefined) this.#kick()
  }

  /** All records of this host, by key; what stands under our keys and is not in here is deleted. */
  publish(wanted: ReadonlyMap<string, object>): void {
    this.#wanted = wanted
    this.#kick()
  }

  /** Renews the alive key until `close`. */
  async keepAlive(): Promise<void> {
    const { clock, log, meter } = this.#deps
    while (!this.#stop.signal.aborted) {
      try {
        const sent = { boot: clock.boot(), wall: clock.now() }
        await this.#renew()
        this.#deps.onRenewed(sent, this.#aliveRevision)
      } catch (err) {
        meter.count('drover_failures_total', 1, { what: 'lease' })
        log.debug('the alive key could not be renewed', { err })
        this.#lease = undefined
      }
      await sleep(clock, renewEvery, this.#stop.signal).catch(() => undefined)
    }
  }

  /** Stops; the alive key runs out by itself, so that a restart within its time goes unnoticed. */
  async close(): Promise<void> {
    this.#stop.abort()
    await this.#running
  }

  #stands(key: string, value: Uint8Array): void {
    if (!this.#owns(key)) return
    const envelope = utf8Text(value) ?? ''
    try {
      this.#standing.set(key, String((JSON.parse(envelope) as { body?: unknown }).body))
    } catch {
      this.#standing.set(key, '')
    }
  }

  #owns(key: string): boolean {
    const { keys, self } = this.#options
    return key === keys.host(self) || key.startsWith(keys.containersOf(self))
  }

  async #renew(): Promise<void> {
    const { store, sealer } = this.#deps
    const { keys, self, started } = this.#options
    if (this.#lease !== undefined && (await this.#lease.keepAlive())) return
    this.#lease = await store.grant(leaseSeconds)
    const value = sealer.seal(keys.alive(self), { host: self, since: started })
    const outcome = await store.transact(
      [],
      [{ is: 'put', key: keys.alive(self), value, lease: this.#lease }],
    )
    this.#aliveRevision = outcome.revision
  }

  #kick(): void {
    this.#again = true
    this.#running ??= this.#write()
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
    const bodies = new Map(
      [...(this.#wanted ?? [])].map(([key, record]) => [key, { record, text: encodeRecord(record) }]),
    )
    const puts = [...bodies].filter(([key, { text }]) => this.#standing.get(key) !== text)
    const deletes = [...this.#standing.keys()].filter((key) => !bodies.has(key))
    const writes: Write[] = [
      ...puts.map(([key, { record }]) => ({
        is: 'put' as const,
        key,
        value: this.#deps.sealer.seal(key, record),
      })),
      ...deletes.map((key) => ({ is: 'delete' as const, key })),
    ]
    for (let at = 0; at < writes.length; at += batch)
      await this.#deps.store.transact([], writes.slice(at, at + batch))
    for (const [key, { text }] of puts) this.#standing.set(key, text)
    for (const key of deletes) this.#standing.delete(key)
    return writes.length > 0
  }
}
