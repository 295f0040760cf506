/**
 * A small durable map of one host (address journal, last snapshot, counters), in a SQLite file of its own.
 * Everything is in memory; a write returns when it is on disk. Survives kill -9 at any point.
 */
import { DroverError } from '../model/errors.ts'
import type { Ledger } from '../model/ports.ts'
import { checksum, SqliteFile, type Statement } from './file.ts'

const schema = `
  CREATE TABLE IF NOT EXISTS facts (
    key TEXT PRIMARY KEY, value TEXT NOT NULL, checksum INTEGER NOT NULL
  ) WITHOUT ROWID`

export class SqliteLedger implements Ledger {
  readonly #file: SqliteFile
  readonly #facts: Map<string, string>
  readonly #put: Statement
  readonly #remove: Statement
  #trouble: DroverError | undefined

  constructor(options: { readonly path: string }) {
    this.#file = new SqliteFile({ path: options.path, kind: 0x4452564c, schema })
    try {
      this.#facts = readFacts(this.#file)
      this.#put = this.#file.statement('INSERT OR REPLACE INTO facts VALUES (?, ?, ?)')
      this.#remove = this.#file.statement('DELETE FROM facts WHERE key = ?')
    } catch (thrown) {
      this.#file.close()
      throw thrown
    }
  }

  entries(): ReadonlyMap<string, string> {
    return this.#facts
  }

  /** Why the last write was refused; undefined when it was not. */
  get trouble(): DroverError | undefined {
    return this.#trouble
  }

  write(changes: ReadonlyMap<string, string | undefined>): void {
    try {
      this.#file.transaction(() => this.#run(changes))
      this.#trouble = undefined
    } catch (error) {
      this.#trouble = error instanceof DroverError ? error : undefined
      throw error
    }
    for (const [key, value] of changes) {
      if (value === undefined) this.#facts.delete(key)
      else this.#facts.set(key, value)
    }
  }

  close(): void {
    this.#file.close()
  }

  #run(changes: ReadonlyMap<string, string | undefined>): void {
    for (const [key, value] of changes) {
      if (value === undefined) this.#remove.run(key)
      else this.#put.run(key, value, checksum(key, value))
    }
  }
}

function readFacts(file: SqliteFile): Map<string, string> {
  const facts = new Map<string, string>()
  for (const { key, value, checksum: sum } of file.rows('SELECT * FROM facts')) {
    if (typeof key !== 'string' || typeof value !== 'string' || sum !== checksum(key, value))
      throw file.corrupt(`the row of ${key}`)
    facts.set(key, value)
  }
  return facts
}
