/**
 * Everything under a prefix at one revision, in pages, so that no answer is larger than etcd and gRPC like.
 */
import type { EtcdClient } from './etcd-client.ts'
import { entryOf, keyAfter, rangeOf } from './etcd-format.ts'
import type { Entry, Listing } from './store.ts'

const pageSize = 1000

/** `limit` is the deadline of each page. */
export async function listing(client: EtcdClient, prefix: string, limit: number): Promise<Listing> {
  const { key, range_end } = rangeOf(prefix)
  const first = await client.range({ key, range_end, limit: pageSize }, limit)
  const { revision } = first.header
  const entries: Entry[] = first.kvs.map(entryOf)
  for (let page = first; page.more; ) {
    const last = page.kvs.at(-1)
    if (last === undefined) break
    page = await client.range({ key: keyAfter(last.key), range_end, limit: pageSize, revision }, limit)
    for (const kv of page.kvs) entries.push(entryOf(kv))
  }
  return { revision: Number(revision), entries }
}
