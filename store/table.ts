/**
 * What a store means, without time and without disk: keys with values and revisions, conditions, and what a
 * transaction changes. A plan is made first and committed later, so that it can be made durable in between.
 */
import { DroverError, unreachable } from '../model/errors.ts'
import type { Change, Condition, Entry, Listing, Outcome, Write } from './store.ts'

export interface Row {
  readonly entry: Entry
  /** The lease that the key vanishes with. */
  readonly lease: string | undefined
}

export interface Plan {
  readonly revision: number
  readonly puts: readonly Row[]
  readonly deletes: readonly string[]
}

/** etcd's default limit of operations and of conditions in one transaction. */
const transactionLimit = 128

export class Table {
  readonly #rows = new Map<string, Row>()
  #revision: number

  constructor(rows: Iterable<Row>, revision: number) {
    for (const row of rows) this.#rows.set(row.entry.key, row)
    this.#revision = revision
  }

  get revision(): number {
    return this.#revision
  }

  get(key: string): Entry | undefined {
    return this.#rows.get(key)?.entry
  }

  list(prefix: string): Listing {
    const entries = this.#under(prefix).sort((one, other) => (one.key < other.key ? -1 : 1))
    return { revision: this.#revision, entries }
  }

  keysOfLease(lease: string): readonly string[] {
    return [...this.#rows.values()].filter((row) => row.lease === lease).map((row) => row.entry.key)
  }

  /** What the writes would change; undefined when a condition does not hold. */
  plan(conditions: readonly Condition[], writes: readonly Write[]): Plan | undefined {
    if (!conditions.every((condition) => this.#holds(condition))) return undefined
    const deletes = writes.filter((write) => write.is === 'delete' && this.#rows.has(write.key))
    const puts = writes.filter((write) => write.is === 'put')
    const revision = this.#revision + (puts.length + deletes.length > 0 ? 1 : 0)
    return {
      revision,
      puts: puts.map((put) => ({
        entry: { key: put.key, value: put.value.slice(), revision },
        lease: put.lease?.id,
      })),
      deletes: deletes.map((write) => write.key),
    }
  }

  commit(plan: Plan): { readonly outcome: Outcome; readonly changes: readonly Change[] } {
    this.#revision = plan.revision
    for (const row of plan.puts) this.#rows.set(row.entry.key, row)
    for (const key of plan.deletes) this.#rows.delete(key)
    const changes: Change[] = plan.puts.map(({ entry }) => ({ is: 'put', entry }))
    for (const key of plan.deletes) changes.push({ is: 'delete', key, revision: plan.revision })
    return { outcome: { is: 'done', revision: plan.revision }, changes }
  }

  #under(prefix: string): Entry[] {
    const entries: Entry[] = []
    for (const [key, row] of this.#rows) if (key.startsWith(prefix)) entries.push(row.entry)
    return entries
  }

  #holds(condition: Condition): boolean {
    switch (condition.is) {
      case 'absent':
        return !this.#rows.has(condition.key)
      case 'present':
        return this.#rows.has(condition.key)
      case 'revision':
        return this.get(condition.key)?.revision === condition.revision
      case 'empty':
        return this.#under(condition.prefix).length === 0
      default:
        return unreachable(condition)
    }
  }
}

/** Refuses what etcd would refuse, so that no caller learns it from the last of the stores. */
export function checkTransaction(conditions: readonly Condition[], writes: readonly Write[]): void {
  const keys = new Set(writes.map((write) => write.key))
  if (keys.size !== writes.length) throw new DroverError('STORE_MISUSED', 'two writes of one key')
  if (keys.has('')) throw new DroverError('STORE_MISUSED', 'an empty key')
  if (Math.max(conditions.length, writes.length) > transactionLimit)
    throw new DroverError('STORE_MISUSED', `more than ${transactionLimit} conditions or writes`)
}
