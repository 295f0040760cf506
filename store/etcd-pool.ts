/**
 * Which of etcd's endpoints is spoken to: one at a time, the next one as soon as it fails. A client that
 * failed is thrown away with its connection, so that no back-off of the transport delays the next try.
 */
import { DroverError } from '../model/errors.ts'
import { type EtcdAccess, EtcdClient, isCompacted, isLeaseGone, isUnsent } from './etcd-client.ts'

/** A request is answered or refused within this time. */
const requestLimit = 3000

export class EtcdPool {
  readonly #endpoints: readonly string[]
  readonly #access: EtcdAccess
  #at = 0
  #generation = 0
  #client: EtcdClient | undefined
  #closed = false

  constructor(endpoints: readonly string[], access: EtcdAccess) {
    this.#endpoints = endpoints
    this.#access = access
  }

  client(): EtcdClient {
    if (this.#closed) throw new DroverError('STORE_UNAVAILABLE', 'closed')
    this.#client ??= new EtcdClient(this.#endpoints[this.#at] ?? '', this.#access, ++this.#generation)
    return this.#client
  }

  failed(client: EtcdClient): void {
    if (client !== this.#client) return
    this.#at = (this.#at + 1) % this.#endpoints.length
    this.#drop()
  }

  /** For what may be asked twice: asks one endpoint after the other. */
  ask<T>(work: (client: EtcdClient, limit: number) => Promise<T>): Promise<T> {
    const tries = this.#endpoints.length === 1 ? 2 : 3
    return this.#attempt(work, tries, requestLimit / tries, () => true)
  }

  /** For what must not happen twice: goes elsewhere only if the first endpoint cannot have heard it. */
  tell<T>(work: (client: EtcdClient, limit: number) => Promise<T>): Promise<T> {
    return this.#attempt(work, Math.max(this.#endpoints.length, 2), requestLimit, isUnsent)
  }

  close(): void {
    this.#closed = true
    this.#drop()
  }

  async #attempt<T>(
    work: (client: EtcdClient, limit: number) => Promise<T>,
    tries: number,
    limit: number,
    mayRepeat: (thrown: unknown) => boolean,
  ): Promise<T> {
    const client = this.client()
    try {
      return await work(client, limit)
    } catch (thrown) {
      if (!isFailure(thrown)) throw thrown
      this.failed(client)
      if (tries > 1 && mayRepeat(thrown) && !this.#closed)
        return this.#attempt(work, tries - 1, limit, mayRepeat)
      throw thrown
    }
  }

  #drop(): void {
    this.#client?.close()
    this.#client = undefined
  }
}

/** Whether the endpoint failed, and not only the request. */
const isFailure = (thrown: unknown): boolean =>
  thrown instanceof DroverError &&
  thrown.code === 'STORE_UNAVAILABLE' &&
  !isLeaseGone(thrown) &&
  !isCompacted(thrown)
