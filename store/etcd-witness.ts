/**
 * Whether etcd still has the history in which a watch stands. One that was emptied or restored, and has grown since, has
 * the same revisions with other changes in them: so it is asked what stood, at its revision, in the newest change
 * that was seen.
 */
import type { EtcdClient } from './etcd-client.ts'
import { entryOf } from './etcd-format.ts'
import type { Entry, Update } from './store.ts'

export class EtcdWitness {
  #entry: Entry | undefined
  #listed = false

  seen(update: Update): void {
    if (update.is === 'stale') return
    if (update.is === 'snapshot') {
      this.#listed = true
      this.#entry = undefined
    }
    const entries =
      update.is === 'snapshot'
        ? update.entries
        : update.changes.flatMap((change) => (change.is === 'put' ? [change.entry] : []))
    for (const entry of entries) if (entry.revision >= (this.#entry?.revision ?? 0)) this.#entry = entry
  }

  /**
   * Rejects as etcd does where that revision is forgotten, or has not been yet. Where the watch began with a revision
   * of its caller's, and has seen nothing, there is nothing to ask; where it has seen an empty list, only another tells.
   */
  async stands(client: EtcdClient, limit: number): Promise<boolean> {
    if (this.#entry === undefined) return !this.#listed
    const { key, revision, value } = this.#entry
    const { kvs } = await client.range({ key: Buffer.from(key), revision: String(revision) }, limit)
    const then = kvs.map(entryOf).at(0)
    return then?.revision === revision && Buffer.compare(then.value, value) === 0
  }
}
