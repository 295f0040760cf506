/**
 * One durable SQLite file (WAL, every commit synced), held by one process at a time: the home of node:sqlite.
 * It opens or refuses with a clear error; each row of its table carries a checksum over itself. What it cannot
 * know is what the rows mean: EmbeddedStore and SqliteLedger do.
 */
import { closeSync, fsyncSync, mkdirSync, openSync } from 'node:fs'
import { dirname } from 'node:path'
import { DatabaseSync, type SQLInputValue, type SQLOutputValue } from 'node:sqlite'
import { crc32 } from 'node:zlib'
import { DroverError, type ErrorCode, reasonOf } from '../model/errors.ts'

type Cells = Readonly<Record<string, SQLOutputValue>>

export interface Statement {
  run(...values: SQLInputValue[]): void
}

interface Options {
  readonly path: string
  /** Distinguishes the kinds of files; SQLite's application_id. */
  readonly kind: number
  readonly schema: string
}

/** SQLite's primary result codes (sqlite.org/rescode.html). */
const codes: Readonly<Record<number, ErrorCode>> = {
  3: 'STORE_UNREADABLE', // PERM
  5: 'STORE_BUSY', // BUSY
  6: 'STORE_BUSY', // LOCKED
  8: 'STORE_UNREADABLE', // READONLY
  11: 'STORE_CORRUPT', // CORRUPT
  13: 'DISK_FULL', // FULL
  14: 'STORE_UNREADABLE', // CANTOPEN
  26: 'STORE_CORRUPT', // NOTADB
}

export class SqliteFile {
  readonly #path: string
  readonly #database: DatabaseSync

  constructor(options: Options) {
    this.#path = options.path
    prepareFile(options.path)
    this.#database = this.#guard(() => new DatabaseSync(options.path, { timeout: 0 }))
    try {
      this.#guard(() => this.#open(options))
    } catch (thrown) {
      this.#database.close()
      throw thrown
    }
  }

  rows(query: string): readonly Cells[] {
    return this.#guard(() => this.#database.prepare(query).all())
  }

  statement(sql: string): Statement {
    const prepared = this.#guard(() => this.#database.prepare(sql))
    return { run: (...values) => void prepared.run(...values) }
  }

  /** All that `work` does is on disk when this returns, or nothing is. */
  transaction(work: () => void): void {
    this.#guard(() => {
      this.#database.exec('BEGIN IMMEDIATE')
      try {
        work()
        this.#database.exec('COMMIT')
      } catch (thrown) {
        if (this.#database.isTransaction) this.#database.exec('ROLLBACK')
        throw thrown
      }
    })
  }

  /** The error for a file whose content makes no sense. */
  corrupt(what: string): DroverError {
    return new DroverError('STORE_CORRUPT', `${this.#path}: ${what}`, { fields: { path: this.#path } })
  }

  close(): void {
    if (this.#database.isOpen) this.#database.close()
  }

  #open({ kind, schema }: Options): void {
    const database = this.#database
    database.exec('PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL')
    database.exec('BEGIN EXCLUSIVE')
    const found = database.prepare('PRAGMA application_id').get()?.application_id
    if (found !== 0 && found !== kind) throw this.corrupt('a file of another kind')
    database.exec(`${schema}; PRAGMA application_id = ${kind}; COMMIT`)
    const checked = database.prepare('PRAGMA quick_check(1)').get()?.quick_check
    if (checked !== 'ok') throw this.corrupt(String(checked))
  }

  #guard<T>(work: () => T): T {
    try {
      return work()
    } catch (thrown) {
      if (thrown instanceof DroverError) throw thrown
      throw this.#translated(thrown)
    }
  }

  #translated(thrown: unknown): unknown {
    const code = thrown instanceof Error && 'errcode' in thrown ? Number(thrown.errcode) & 0xff : undefined
    if (code === undefined) return thrown
    return new DroverError(codes[code] ?? 'STORE_UNAVAILABLE', `${this.#path}: ${reasonOf(thrown)}`, {
      fields: { path: this.#path },
      cause: thrown,
    })
  }
}

/** The file exists with its mode before SQLite sees it; its journal takes the mode over. */
function prepareFile(path: string): void {
  const folder = dirname(path)
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 })
    closeSync(openSync(path, 'a', 0o600))
    const handle = openSync(folder, 'r')
    fsyncSync(handle)
    closeSync(handle)
  } catch (thrown) {
    throw new DroverError('STORE_UNREADABLE', `${path}: ${reasonOf(thrown)}`, {
      fields: { path },
      cause: thrown,
    })
  }
}

/** What a row's checksum column holds. */
export function checksum(...cells: readonly (string | number | Uint8Array)[]): number {
  return cells.reduce<number>((sum, cell) => crc32(typeof cell === 'number' ? `${cell};` : cell, sum), 0)
}
