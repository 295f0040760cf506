/**
 * The whole behaviour of a store inside one process: transactions, leases and watches over a table. What is
 * changed is saved before it is seen. MemoryStore and EmbeddedStore are doors to it.
 * It keeps the last changes for watches that resume; for older ones they get a snapshot.
 */
import { DroverError } from '../model/errors.ts'
import type { Clock, Timer } from '../model/ports.ts'
import { millis, seconds } from '../model/time.ts'
import type { Change, Condition, Entry, Listing, Outcome, Update, Write } from './store.ts'
import { checkTransaction, type Plan, type Row, Table } from './table.ts'

interface Deps {
  readonly clock: Clock
  /** Makes a plan durable; when it throws nothing has happened. */
  readonly save: (plan: Plan) => void
}

interface Options {
  readonly rows: Iterable<Row>
  readonly revision: number
  /** Seconds of the leases that rows name: each starts anew. */
  readonly leases: ReadonlyMap<string, number>
}

interface Grant {
  readonly ttl: number
  readonly until: number
  timer: Timer
}

interface Reader {
  readonly prefix: string
  readonly push: (update: Update) => void
}

const historyLimit = 10_000
const leastWait = 10

export class Truth {
  readonly #deps: Deps
  readonly #table: Table
  readonly #grants = new Map<string, Grant>()
  readonly #readers = new Set<Reader>()
  /** The last changes, oldest first; all changes after `#compacted` are here. */
  readonly #history: Change[] = []
  #compacted: number
  #lastLease = 0

  constructor(deps: Deps, options: Options) {
    this.#deps = deps
    this.#table = new Table(options.rows, options.revision)
    this.#compacted = options.revision
    for (const [id, ttl] of options.leases) {
      this.#lastLease = Math.max(this.#lastLease, Number(id))
      this.#start(id, ttl)
    }
  }

  get(key: string): Entry | undefined {
    this.#expire()
    return this.#table.get(key)
  }

  list(prefix: string): Listing {
    this.#expire()
    return this.#table.list(prefix)
  }

  transact(conditions: readonly Condition[], writes: readonly Write[]): Outcome {
    checkTransaction(conditions, writes)
    this.#expire()
    const plan = this.#table.plan(conditions, writes)
    const leased = writes.every((write) => write.is !== 'put' || this.#isLive(write.lease?.id))
    if (plan === undefined || !leased) return { is: 'refused', revision: this.#table.revision }
    return this.#commit(plan)
  }

  grant(ttl: number): string {
    this.#lastLease++
    const id = String(this.#lastLease)
    this.#start(id, ttl)
    return id
  }

  ttlOf(lease: string): number | undefined {
    return this.#grants.get(lease)?.ttl
  }

  /** False when the lease has ended. */
  prolong(lease: string): boolean {
    this.#expire()
    const grant = this.#grants.get(lease)
    if (grant === undefined) return false
    grant.timer.cancel()
    this.#start(lease, grant.ttl)
    return true
  }

  revoke(lease: string): void {
    const grant = this.#grants.get(lease)
    if (grant === undefined) return
    const writes: Write[] = this.#table.keysOfLease(lease).map((key) => ({ is: 'delete', key }))
    const plan = this.#table.plan([], writes)
    if (plan !== undefined) this.#commit(plan)
    grant.timer.cancel()
    this.#grants.delete(lease)
  }

  /** Pushes what is new after `after`, or a snapshot, and then every change; returns what stops it. */
  subscribe(prefix: string, after: number | undefined, push: (update: Update) => void): () => void {
    this.#expire()
    const reader = { prefix, push }
    this.#readers.add(reader)
    const { revision } = this.#table
    if (after === undefined || after < this.#compacted || after > revision) {
      push({ is: 'snapshot', ...this.#table.list(prefix) })
    } else {
      tell(
        reader,
        revision,
        this.#history.filter((change) => revisionOf(change) > after),
      )
    }
    return () => void this.#readers.delete(reader)
  }

  /** Forgets the history, so that watches resume with a snapshot. */
  compact(): void {
    this.#history.length = 0
    this.#compacted = this.#table.revision
  }

  close(): void {
    for (const grant of this.#grants.values()) grant.timer.cancel()
    this.#grants.clear()
    this.#readers.clear()
  }

  #isLive(lease: string | undefined): boolean {
    return lease === undefined || this.#grants.has(lease)
  }

  #start(id: string, ttl: number): void {
    const until = this.#deps.clock.boot() + seconds(ttl)
    this.#grants.set(id, { ttl, until, timer: this.#wakeAt(id, until) })
  }

  #wakeAt(id: string, at: number): Timer {
    const wait = Math.max(at - this.#deps.clock.boot(), leastWait)
    return this.#deps.clock.after(millis(wait), () => this.#wake(id))
  }

  /** A timer may come early, and the disk may refuse: then it comes again. */
  #wake(id: string): void {
    const grant = this.#grants.get(id)
    if (grant === undefined) return
    try {
      if (grant.until <= this.#deps.clock.boot()) this.revoke(id)
    } catch (thrown) {
      if (!(thrown instanceof DroverError)) throw thrown
    }
    if (this.#grants.get(id) === grant) grant.timer = this.#wakeAt(id, grant.until)
  }

  /** Timers stand still while a machine is suspended; the boot clock does not. */
  #expire(): void {
    const now = this.#deps.clock.boot()
    for (const [id, grant] of this.#grants) if (grant.until <= now) this.revoke(id)
  }

  #commit(plan: Plan): Outcome {
    if (plan.revision === this.#table.revision) return { is: 'done', revision: plan.revision }
    this.#deps.save(plan)
    const { outcome, changes } = this.#table.commit(plan)
    this.#history.push(...changes)
    this.#trim()
    for (const reader of [...this.#readers]) tell(reader, plan.revision, changes)
    return outcome
  }

  #trim(): void {
    if (this.#history.length <= 2 * historyLimit) return
    const dropped = this.#history.splice(0, this.#history.length - historyLimit).at(-1)
    if (dropped !== undefined) this.#compacted = revisionOf(dropped)
  }
}

const keyOf = (change: Change): string => (change.is === 'put' ? change.entry.key : change.key)
const revisionOf = (change: Change): number => (change.is === 'put' ? change.entry.revision : change.revision)

function tell(reader: Reader, revision: number, all: readonly Change[]): void {
  const changes = all.filter((change) => keyOf(change).startsWith(reader.prefix))
  if (changes.length > 0) reader.push({ is: 'events', revision, changes })
}
