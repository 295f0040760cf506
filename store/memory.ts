/**
 * The reference store, for tests and simulation. It is one client's door to a truth in memory: `door()` gives
 * another client of the same truth, and each can be cut off on its own. Time comes from the clock only.
 */
import { DroverError } from '../model/errors.ts'
import type { Clock } from '../model/ports.ts'
import { Channel } from './channel.ts'
import type {
  Condition,
  Entry,
  Lease,
  Listing,
  Outcome,
  Store,
  Update,
  WatchOptions,
  Write,
} from './store.ts'
import { Truth } from './truth.ts'

interface Follower {
  readonly channel: Channel
  /** Connects it, with an empty list of changes where nothing changed. */
  readonly resume: () => void
  stop: () => void
}

export class MemoryStore implements Store {
  readonly #truth: Truth
  readonly #followers = new Set<Follower>()
  #state: 'open' | 'cut' | 'closed' = 'open'

  constructor(deps: { readonly clock: Clock } | { readonly truth: Truth }) {
    this.#truth = 'truth' in deps ? deps.truth : emptyTruth(deps.clock)
  }

  /** Another client of the same truth. */
  door(): MemoryStore {
    return new MemoryStore({ truth: this.#truth })
  }

  /** Makes the store unreachable for this client. */
  cut(): void {
    if (this.#state !== 'open') return
    this.#state = 'cut'
    for (const follower of this.#followers) {
      follower.stop()
      follower.channel.push({ is: 'stale' })
    }
  }

  mend(): void {
    if (this.#state !== 'cut') return
    this.#state = 'open'
    for (const follower of this.#followers) follower.resume()
  }

  /** Forgets what changed, as etcd's compaction does. */
  compact(): void {
    this.#truth.compact()
  }

  async get(key: string): Promise<Entry | undefined> {
    this.#reach()
    return this.#truth.get(key)
  }

  async list(prefix: string): Promise<Listing> {
    this.#reach()
    return this.#truth.list(prefix)
  }

  async transact(conditions: readonly Condition[], writes: readonly Write[]): Promise<Outcome> {
    this.#reach()
    return this.#truth.transact(conditions, writes)
  }

  async grant(ttl: number): Promise<Lease> {
    this.#reach()
    const id = this.#truth.grant(ttl)
    return {
      id,
      keepAlive: async () => {
        this.#reach()
        return this.#truth.prolong(id)
      },
      revoke: async () => {
        this.#reach()
        this.#truth.revoke(id)
      },
    }
  }

  async *watch(prefix: string, { after, signal }: WatchOptions): AsyncGenerator<Update, void, undefined> {
    const follower = this.#follow(prefix, after)
    const end = () => follower.channel.end()
    signal.addEventListener('abort', end, { once: true })
    if (signal.aborted || this.#state === 'closed') end()
    try {
      yield* follower.channel.updates()
    } finally {
      signal.removeEventListener('abort', end)
      follower.stop()
      this.#followers.delete(follower)
    }
  }

  async close(): Promise<void> {
    this.#state = 'closed'
    for (const follower of this.#followers) follower.channel.end()
  }

  #follow(prefix: string, after: number | undefined): Follower {
    const channel = new Channel()
    let seen = after
    const connect = (afterCut: boolean) => {
      const before = seen
      follower.stop = this.#truth.subscribe(prefix, seen, (update) => {
        seen = update.is === 'stale' ? seen : update.revision
        channel.push(update)
      })
      if (afterCut && seen !== undefined && seen === before)
        channel.push({ is: 'events', revision: seen, changes: [] })
    }
    const follower: Follower = { channel, resume: () => connect(true), stop: () => {} }
    this.#followers.add(follower)
    if (this.#state === 'open') connect(false)
    else channel.push({ is: 'stale' })
    return follower
  }

  #reach(): void {
    if (this.#state !== 'open') throw new DroverError('STORE_UNAVAILABLE', this.#state)
  }
}

const emptyTruth = (clock: Clock): Truth =>
  new Truth({ clock, save: () => {} }, { rows: [], revision: 0, leases: new Map() })
