/**
 * This host's alive key: put with a lease that is prolonged as long as the daemon runs. The key is put anew when the
 * lease has ended, and when it was taken out, overwritten, or lost by a store that was restored.
 */
import type { Keys } from '../../model/keys.ts'
import { type Clock, type Log, type Meter, type Sealer, sleep } from '../../model/ports.ts'
import type { HostId } from '../../model/records.ts'
import { type Instant, type Millis, millis, seconds } from '../../model/time.ts'
import { counterOf } from '../../pki/envelope.ts'
import type { Lease, Store, Update } from '../../store/store.ts'
import { valueAt } from './value-at.ts'

export interface AliveKeyDeps {
  readonly store: Store
  readonly sealer: Sealer
  readonly clock: Clock
  readonly log: Log
  readonly meter: Meter
  /** The alive key, put at `revision`, was prolonged by a call that was sent at `sent`. */
  readonly onRenewed: (sent: Sent, revision: number) => void
  /** Somebody took the key out, whose lease goes on. */
  readonly onTakenOut: (key: string) => void
}

/** One moment by both clocks. */
export interface Sent {
  readonly boot: Millis
  readonly wall: Instant
}

export interface AliveKeyOptions {
  readonly keys: Keys
  readonly self: HostId
  readonly started: Instant
}

/** design section 5: a host that does not renew is gone after 9 s. */
const leaseSeconds = 9
const renewEvery = seconds(3)
/** After a renewal that failed: the names of this host come back no later than its store does. */
const retryAfter = millis(500)

interface Spoilt {
  readonly revision: number
  readonly gone: boolean
}

export class AliveKey {
  readonly #deps: AliveKeyDeps
  readonly #options: AliveKeyOptions
  readonly #key: string
  readonly #stop = new AbortController()
  /** What stands is known: this host may have signed with higher numbers than its ledger remembers. */
  readonly #known = Promise.withResolvers<void>()
  #lease: Lease | undefined
  #revision = 0
  #counter: number | undefined
  /** Something else than what was put lies there. */
  #spoilt: Spoilt | undefined

  constructor(deps: AliveKeyDeps, options: AliveKeyOptions) {
    this.#deps = deps
    this.#options = options
    this.#key = options.keys.alive(options.self)
  }

  /** What the watch says of the key. */
  observe(update: Update): void {
    if (update.is === 'stale') return
    this.#known.resolve()
    // Its revisions count anew: whoever waits for that of the alive key would wait for long.
    if (update.is === 'snapshot' && update.revision < this.#revision) this.#lease = undefined
    const value = valueAt(this.#key, update)
    if (value === 'unchanged') return
    const isOurs = value !== undefined && counterOf(value) === this.#counter
    const gone = value === undefined && update.is === 'events'
    this.#spoilt = isOurs ? undefined : { revision: update.revision, gone }
  }

  /** Renews until `close`. */
  async run(): Promise<void> {
    const { clock, log, meter } = this.#deps
    await this.#known.promise
    while (!this.#stop.signal.aborted) {
      let pause: Millis = renewEvery
      try {
        const sent = { boot: clock.boot(), wall: clock.now() }
        if (await this.#renew()) this.#deps.onRenewed(sent, this.#revision)
      } catch (err) {
        meter.count('drover_failures_total', 1, { what: 'lease' })
        log.debug('the alive key could not be renewed', { err })
        this.#lease = undefined
        pause = retryAfter
      }
      await sleep(clock, pause, this.#stop.signal).catch(() => undefined)
    }
  }

  /** Stops; the key runs out by itself, so that a restart within its time goes unnoticed. */
  close(): void {
    this.#stop.abort()
    this.#known.resolve()
  }

  async #renew(): Promise<boolean> {
    const lease = this.#lease
    const goesOn = lease !== undefined && (await lease.keepAlive())
    if (goesOn && this.#spoilt === undefined) return true
    if (goesOn && this.#spoilt?.gone) this.#deps.onTakenOut(this.#key)
    return this.#put(goesOn ? lease : await this.#deps.store.grant(leaseSeconds))
  }

  /** False where the lease has ended meanwhile. */
  async #put(lease: Lease): Promise<boolean> {
    const { store, sealer } = this.#deps
    const { self, started } = this.#options
    const value = sealer.seal(this.#key, { host: self, since: started })
    this.#counter = counterOf(value)
    const { is, revision } = await store.transact([], [{ is: 'put', key: this.#key, value, lease }])
    if (is === 'refused') {
      this.#lease = undefined
      return false
    }
    this.#lease = lease
    this.#revision = revision
    // What was seen before tells of the time before.
    if (this.#spoilt !== undefined && this.#spoilt.revision < revision) this.#spoilt = undefined
    return true
  }
}
