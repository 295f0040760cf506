/**
 * What the DNS thread was told, in its order, for the thread of the next daemon: names are answered from it before
 * anything else of that daemon is loaded. A change is appended as it is; what was told anew replaces the file. It is
 * for a process that was killed: after a crash of the machine nobody reads it, so nothing is synced.
 */
import { closeSync, openSync, readFileSync, renameSync, rmSync, writeSync } from 'node:fs'
import { deserialize, serialize } from 'node:v8'
import type { Log } from '../model/ports.ts'
import type { ToWorker } from './link.ts'

/** What answers are made of. */
export type Telling = Extract<ToWorker, { readonly is: 'zone' | 'networks' }>

/** To be raised with any change to what is told: daemons of before and after an upgrade find each other's files. */
const format = 'drover zone 1\n'
const lengthBytes = 4
/** As much may be appended, beyond as much as the file began with, before it begins again. */
const slack = 1 << 20

export class ZoneFile {
  readonly #path: string
  readonly #log: Log
  #fd: number | undefined
  #begunWith = 0
  #size = 0

  constructor(path: string, log: Log) {
    this.#path = path
    this.#log = log
  }

  /** All that holds, instead of what there was. Never throws: without the file a killed daemon answers a little later. */
  begin(all: readonly Telling[]): void {
    this.#safely(() => this.#begin(all))
  }

  /** What was told since: as it is, or, where the past takes too much room, `all` that holds. Never throws. */
  add(tellings: readonly Telling[], all: () => readonly Telling[]): void {
    this.#safely(() => {
      if (this.#fd === undefined) return
      if (this.#size > 2 * this.#begunWith + slack) this.#begin(all())
      else this.#append(this.#fd, tellings)
    })
  }

  close(): void {
    if (this.#fd !== undefined) closeSync(this.#fd)
    this.#fd = undefined
  }

  #safely(write: () => void): void {
    try {
      write()
    } catch (err) {
      this.#log.debug('what is answered cannot be kept', { err })
      this.close()
      rmSync(this.#path, { force: true })
    }
  }

  #begin(tellings: readonly Telling[]): void {
    this.close()
    const draft = `${this.#path}.new`
    rmSync(draft, { force: true })
    const fd = openSync(draft, 'wx', 0o600)
    this.#fd = fd
    this.#size = writeSync(fd, format)
    this.#append(fd, tellings)
    this.#begunWith = this.#size
    renameSync(draft, this.#path)
  }

  /** By one call: all of it is there or, if the process ends meanwhile, a part that a reader leaves out. */
  #append(fd: number, tellings: readonly Telling[]): void {
    const body = serialize(tellings)
    const length = Buffer.alloc(lengthBytes)
    length.writeUInt32LE(body.length)
    const bytes = Buffer.concat([length, body])
    for (let at = 0; at < bytes.length; ) at += writeSync(fd, bytes, at)
    this.#size += bytes.length
  }
}

/** What is there and whole, in its order; empty where nothing is. */
export function readZoneFile(path: string): readonly Telling[] {
  const tellings: Telling[] = []
  try {
    const bytes = readFileSync(path)
    if (bytes.toString('latin1', 0, format.length) !== format) return []
    for (let at = format.length; at + lengthBytes <= bytes.length; ) {
      const end = at + lengthBytes + bytes.readUInt32LE(at)
      if (end > bytes.length) break
      tellings.push(...(deserialize(bytes.subarray(at + lengthBytes, end)) as readonly Telling[]))
      at = end
    }
  } catch {
    // None, or one of another Node: names are answered a little later.
  }
  return tellings
}
