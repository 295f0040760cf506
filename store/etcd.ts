/**
 * The store of an environment with many hosts: etcd 3.4 or newer. Requests are answered or rejected within
 * three seconds; a transaction that was rejected may have happened, if its answer was lost.
 */
import type { Clock, Log } from '../model/ports.ts'
import { Channel } from './channel.ts'
import { type EtcdAccess, isCompacted, isLeaseGone } from './etcd-client.ts'
import { compareOf, entryOf, operationOf } from './etcd-format.ts'
import { listing } from './etcd-list.ts'
import { EtcdPool } from './etcd-pool.ts'
import { EtcdWatch } from './etcd-watch.ts'
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
import { checkTransaction } from './table.ts'

interface Deps {
  readonly clock: Clock
  readonly log: Log
}

interface Options extends EtcdAccess {
  /** `host:port` of each. */
  readonly endpoints: readonly string[]
}

export class EtcdStore implements Store {
  readonly #deps: Deps
  readonly #pool: EtcdPool
  readonly #closing = new AbortController()

  constructor(deps: Deps, options: Options) {
    this.#deps = deps
    this.#pool = new EtcdPool(options.endpoints, options)
  }

  async get(key: string): Promise<Entry | undefined> {
    const request = { key: Buffer.from(key) }
    const { kvs } = await this.#pool.ask((client, limit) => client.range(request, limit))
    return kvs[0] === undefined ? undefined : entryOf(kvs[0])
  }

  async list(prefix: string): Promise<Listing> {
    try {
      return await this.#pool.ask((client, limit) => listing(client, prefix, limit))
    } catch (thrown) {
      if (!isCompacted(thrown)) throw thrown
      return this.list(prefix)
    }
  }

  async transact(conditions: readonly Condition[], writes: readonly Write[]): Promise<Outcome> {
    checkTransaction(conditions, writes)
    const request = { compare: conditions.map(compareOf), success: writes.map(operationOf) }
    try {
      const { succeeded, header } = await this.#pool.tell((client, limit) => client.txn(request, limit))
      return { is: succeeded ? 'done' : 'refused', revision: Number(header.revision) }
    } catch (thrown) {
      if (!isLeaseGone(thrown)) throw thrown
      return { is: 'refused', revision: await this.#revision(writes[0]?.key ?? '\0') }
    }
  }

  async grant(ttl: number): Promise<Lease> {
    const id = await this.#pool.ask((client, limit) => client.grant(ttl, limit))
    return {
      id,
      keepAlive: () => this.#pool.ask((client, limit) => client.keepAlive(id, limit)),
      revoke: () => this.#revoke(id),
    }
  }

  async *watch(prefix: string, { after, signal }: WatchOptions): AsyncGenerator<Update, void, undefined> {
    const stopping = new AbortController()
    const ended = AbortSignal.any([signal, stopping.signal, this.#closing.signal])
    if (ended.aborted) return
    const channel = new Channel()
    ended.addEventListener('abort', () => channel.end(), { once: true })
    const watch = new EtcdWatch({ ...this.#deps, pool: this.#pool, channel }, prefix, after)
    const running = watch.run(ended)
    try {
      yield* channel.updates()
    } finally {
      stopping.abort()
      await running
    }
  }

  async close(): Promise<void> {
    this.#closing.abort()
    this.#pool.close()
  }

  async #revoke(id: string): Promise<void> {
    try {
      await this.#pool.ask((client, limit) => client.revoke(id, limit))
    } catch (thrown) {
      if (!isLeaseGone(thrown)) throw thrown
    }
  }

  /** By way of a key that this user may read. */
  async #revision(key: string): Promise<number> {
    const request = { key: Buffer.from(key), count_only: true }
    const { header } = await this.#pool.ask((client, limit) => client.range(request, limit))
    return Number(header.revision)
  }
}
