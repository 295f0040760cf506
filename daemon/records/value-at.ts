/**
 * What an update of the store says of one key.
 */
import type { Update } from '../../store/store.ts'

/** What stands at the key now; `unchanged` when the update says nothing of it. */
export function valueAt(
  key: string,
  update: Exclude<Update, { is: 'stale' }>,
): Uint8Array | undefined | 'unchanged' {
  if (update.is === 'snapshot') return update.entries.find((entry) => entry.key === key)?.value
  const change = update.changes.findLast((one) => (one.is === 'put' ? one.entry.key : one.key) === key)
  if (change === undefined) return 'unchanged'
  return change.is === 'put' ? change.entry.value : undefined
}
