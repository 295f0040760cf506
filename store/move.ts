/**
 * Copies one environment from a store into another that does not hold it yet. A marker beside the target says
 * that a copy is under way, and `settings`, which makes it an environment, comes last, in the transaction that
 * removes the marker: whoever is killed midway leaves something that the next run completes and nobody takes
 * for whole. What leases hold (`alive/`) is not copied. The source must not change meanwhile.
 */
import { sameBytes } from '../model/bytes.ts'
import { DroverError } from '../model/errors.ts'
import type { Condition, Entry, Store, Write } from './store.ts'

const batchWrites = 100
const batchBytes = 512 * 1024

const markerOf = (prefix: string): string => `/drover/moving${prefix}`

/** Returns the number of entries that both stores now hold. */
export async function copyStore(from: Store, to: Store, prefix: string): Promise<number> {
  const source = await entriesOf(from, prefix)
  const marker = await begin(to, prefix, source)
  if (marker !== undefined) {
    const settings = source.get(`${prefix}settings`)
    await copy(to, prefix, source, marker)
    await finish(to, marker, settings)
  }
  const copied = await entriesOf(to, prefix)
  if (differences(source, copied).length > 0)
    throw new DroverError('STORE_COPY_FAILED', prefix, { fields: { prefix } })
  return source.size
}

type Entries = ReadonlyMap<string, Entry>

async function entriesOf(store: Store, prefix: string): Promise<Entries> {
  const { entries } = await store.list(prefix)
  const kept = entries.filter(({ key }) => !key.startsWith(`${prefix}alive/`))
  return new Map(kept.map((entry) => [entry.key, entry]))
}

/** The marker of a copy that is now under way; undefined when an earlier run had completed it. */
async function begin(to: Store, prefix: string, source: Entries): Promise<Entry | undefined> {
  const key = markerOf(prefix)
  await to.transact(
    [
      { prefix, is: 'empty' },
      { key, is: 'absent' },
    ],
    [{ is: 'put', key, value: new Uint8Array([1]) }],
  )
  const marker = await to.get(key)
  if (marker !== undefined) return marker
  if (differences(source, await entriesOf(to, prefix)).length === 0) return undefined
  throw new DroverError('STORE_NOT_EMPTY', prefix, { fields: { prefix } })
}

async function copy(to: Store, prefix: string, source: Entries, marker: Entry): Promise<void> {
  const settings = `${prefix}settings`
  const target = await entriesOf(to, prefix)
  if (target.has(settings)) throw new DroverError('STORE_NOT_EMPTY', prefix, { fields: { prefix } })
  const writes = differences(source, target).filter(({ key }) => key !== settings)
  for (const batch of batchesOf(writes)) await commit(to, [held(marker)], batch)
}

async function finish(to: Store, marker: Entry, settings: Entry | undefined): Promise<void> {
  const conditions: Condition[] = [held(marker)]
  const writes: Write[] = [{ is: 'delete', key: marker.key }]
  if (settings !== undefined) {
    conditions.push({ key: settings.key, is: 'absent' })
    writes.push({ is: 'put', key: settings.key, value: settings.value })
  }
  await commit(to, conditions, writes)
}

const held = (marker: Entry): Condition => ({ key: marker.key, is: 'revision', revision: marker.revision })

async function commit(to: Store, conditions: readonly Condition[], writes: readonly Write[]): Promise<void> {
  const outcome = await to.transact(conditions, writes)
  if (outcome.is === 'refused')
    throw new DroverError('STORE_COPY_FAILED', 'somebody else writes into the target')
}

/** What turns the target into the source. */
function differences(source: Entries, target: Entries): readonly Write[] {
  const writes: Write[] = []
  for (const { key, value } of source.values()) {
    const there = target.get(key)
    if (there === undefined || !sameBytes(there.value, value)) writes.push({ is: 'put', key, value })
  }
  for (const key of target.keys()) if (!source.has(key)) writes.push({ is: 'delete', key })
  return writes
}

function batchesOf(writes: readonly Write[]): readonly (readonly Write[])[] {
  const batches: Write[][] = []
  let size = 0
  for (const write of writes) {
    const weight = write.key.length + (write.is === 'put' ? write.value.length : 0)
    const last = batches.at(-1)
    if (last === undefined || last.length === batchWrites || size + weight > batchBytes) {
      batches.push([write])
      size = weight
    } else {
      last.push(write)
      size += weight
    }
  }
  return batches
}
