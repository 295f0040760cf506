/**
 * The store of an environment with one host: a truth in memory whose every change is on disk before anybody
 * sees it. It survives kill -9 at any point. Leases that a restart finds start anew, as etcd's do.
 */
import type { Clock } from '../model/ports.ts'
import { checksum, SqliteFile, type Statement } from './file.ts'
import { MemoryStore } from './memory.ts'
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
import type { Plan, Row } from './table.ts'
import { Truth } from './truth.ts'

const schema = `
  CREATE TABLE IF NOT EXISTS entries (
    key TEXT PRIMARY KEY, value BLOB NOT NULL, revision INTEGER NOT NULL, lease TEXT, ttl INTEGER,
    checksum INTEGER NOT NULL
  ) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
  INSERT OR IGNORE INTO meta VALUES ('revision', 0)`

export class EmbeddedStore implements Store {
  readonly #file: SqliteFile
  readonly #truth: Truth
  readonly #door: MemoryStore

  constructor(deps: { readonly clock: Clock }, options: { readonly path: string }) {
    this.#file = new SqliteFile({ path: options.path, kind: 0x44525653, schema })
    try {
      const save = saver(this.#file, (lease) => this.#truth.ttlOf(lease))
      this.#truth = new Truth({ clock: deps.clock, save }, readFile(this.#file))
    } catch (thrown) {
      this.#file.close()
      throw thrown
    }
    this.#door = new MemoryStore({ truth: this.#truth })
  }

  get(key: string): Promise<Entry | undefined> {
    return this.#door.get(key)
  }

  list(prefix: string): Promise<Listing> {
    return this.#door.list(prefix)
  }

  transact(conditions: readonly Condition[], writes: readonly Write[]): Promise<Outcome> {
    return this.#door.transact(conditions, writes)
  }

  grant(ttl: number): Promise<Lease> {
    return this.#door.grant(ttl)
  }

  watch(prefix: string, options: WatchOptions): AsyncIterable<Update> {
    return this.#door.watch(prefix, options)
  }

  async close(): Promise<void> {
    await this.#door.close()
    this.#truth.close()
    this.#file.close()
  }
}

function saver(file: SqliteFile, ttlOf: (lease: string) => number | undefined): (plan: Plan) => void {
  const put = file.statement('INSERT OR REPLACE INTO entries VALUES (?, ?, ?, ?, ?, ?)')
  const remove = file.statement('DELETE FROM entries WHERE key = ?')
  const mark = file.statement("UPDATE meta SET value = ? WHERE name = 'revision'")
  return (plan) =>
    file.transaction(() => {
      for (const row of plan.puts) putRow(put, row, ttlOf)
      for (const key of plan.deletes) remove.run(key)
      mark.run(plan.revision)
    })
}

function putRow(put: Statement, row: Row, ttlOf: (lease: string) => number | undefined): void {
  const { key, value, revision } = row.entry
  const ttl = row.lease === undefined ? undefined : ttlOf(row.lease)
  put.run(key, value, revision, row.lease ?? null, ttl ?? null, checksum(key, value, revision))
}

function readFile(file: SqliteFile): {
  readonly rows: readonly Row[]
  readonly revision: number
  readonly leases: ReadonlyMap<string, number>
} {
  const revision = file.rows("SELECT value FROM meta WHERE name = 'revision'")[0]?.value
  if (typeof revision !== 'number') throw file.corrupt('no revision')
  const leases = new Map<string, number>()
  const rows = file.rows('SELECT * FROM entries').map((cells): Row => {
    const row = rowOf(cells)
    if (row === undefined || row.entry.revision > revision) throw file.corrupt(`the row of ${cells.key}`)
    if (row.lease !== undefined) leases.set(row.lease, Number(cells.ttl))
    return row
  })
  return { rows, revision, leases }
}

function rowOf(cells: Readonly<Record<string, unknown>>): Row | undefined {
  const { key, value, revision, lease, checksum: sum } = cells
  if (typeof key !== 'string' || typeof revision !== 'number' || !(value instanceof Uint8Array))
    return undefined
  if (sum !== checksum(key, value, revision)) return undefined
  return { entry: { key, value, revision }, lease: typeof lease === 'string' ? lease : undefined }
}
