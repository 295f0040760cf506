/**
 * A disk that stands still at its n-th change, as it does for a process that is killed there: what lies in the
 * folder then is copied, and from then on every change throws. A write counts twice: before it, and half-way.
 * Whatever unwinds afterwards sees a disk that refuses, and nothing of it reaches the copy.
 */
import fs from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
import { DatabaseSync } from 'node:sqlite'

/** Of `node:fs`: what changes a folder, or makes a change durable. */
const changing = ['fsyncSync', 'linkSync', 'mkdirSync', 'renameSync', 'rmSync'] as const
const writing = ['writeFileSync', 'writeSync'] as const

type Call = (...args: unknown[]) => unknown
type Calls = Record<string, Call>

const originalOf = (calls: Calls): Calls =>
  Object.fromEntries(
    [...changing, ...writing, 'openSync', 'cpSync'].map((name) => [name, calls[name] as Call]),
  )

export interface Cut {
  /** Whether the disk stood still; false when the work had fewer steps. */
  readonly happened: boolean
  /** What was about to happen. */
  readonly at: string
}

/** Does the work with a disk that stands still at step `at`; `copy` then holds what lay in `folder`. */
export async function cutAt(
  at: number,
  { folder, copy }: { readonly folder: string; readonly copy: string },
  work: () => Promise<unknown>,
): Promise<Cut> {
  const disk = new CutDisk(at, folder, copy)
  const restore = disk.patch()
  try {
    await work()
  } catch (error) {
    if (!disk.cut.happened) throw error
  } finally {
    restore()
  }
  return disk.cut
}

class CutDisk {
  readonly #at: number
  readonly #folder: string
  readonly #copy: string
  readonly #original = originalOf(fs as unknown as Calls)
  readonly #handles = new Set<unknown>()
  #steps = 0
  #what = ''
  #frozen = false

  constructor(at: number, folder: string, copy: string) {
    this.#at = at
    this.#folder = folder
    this.#copy = copy
  }

  get cut(): Cut {
    return { happened: this.#frozen, at: this.#what }
  }

  /** Returns what undoes it. */
  patch(): () => void {
    const calls = fs as unknown as Calls
    for (const name of changing) calls[name] = (...args) => this.#change(name, args)
    for (const name of writing) calls[name] = (...args) => this.#write(name, args)
    calls.openSync = (...args) => this.#open(args)
    syncBuiltinESMExports()
    const { exec } = DatabaseSync.prototype
    const step = (what: string): void => this.#step(what)
    DatabaseSync.prototype.exec = function execStepwise(sql: string) {
      step(`sqlite: ${sql.slice(0, 40)}`)
      return exec.call(this, sql)
    }
    return () => {
      Object.assign(calls, this.#original)
      syncBuiltinESMExports()
      DatabaseSync.prototype.exec = exec
    }
  }

  #open(args: readonly unknown[]): unknown {
    const [path, flags = 'r'] = args
    if (!this.#isOurs(path)) return this.#call('openSync', args)
    if (flags !== 'r') this.#step(`openSync ${String(path)}`)
    const handle = this.#call('openSync', args)
    this.#handles.add(handle)
    return handle
  }

  #change(name: string, args: readonly unknown[]): unknown {
    if (this.#isOurs(args[0])) this.#step(`${name} ${String(args[0])}`)
    return this.#call(name, args)
  }

  #write(name: string, args: readonly unknown[]): unknown {
    const [where, text, ...more] = args
    if (!this.#isOurs(where)) return this.#call(name, args)
    this.#step(`${name} ${String(where)}`)
    this.#step(`half of ${name} ${String(where)}`, () =>
      this.#call(name, [where, String(text).slice(0, String(text).length / 2), ...more]),
    )
    return this.#call(name, args)
  }

  /** `begun`: what of the step is done when the disk stops in its middle. */
  #step(what: string, begun: () => void = () => undefined): void {
    if (this.#frozen) throw new Error('the disk stands still')
    this.#steps++
    if (this.#steps < this.#at) return
    begun()
    this.#what = what.replace(this.#folder, '')
    this.#call('cpSync', [this.#folder, this.#copy, { recursive: true }])
    this.#frozen = true
    throw new Error(`the disk stands still at ${this.#what}`)
  }

  #isOurs(place: unknown): boolean {
    return typeof place === 'string' ? place.startsWith(this.#folder) : this.#handles.has(place)
  }

  #call(name: string, args: readonly unknown[]): unknown {
    return this.#original[name]?.(...args)
  }
}
