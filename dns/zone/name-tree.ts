/**
 * The names of a zone with what they stand for, and between them the empty non-terminals that they need
 * (RFC 8020). Remembers what changed since it was last asked. Pure.
 */

import { isWithin, type Name, parentOf } from '../codec/name.ts'
import { sameTarget } from './changes.ts'
import type { Target } from './targets.ts'

const branch: Target = { is: 'branch' }

export class NameTree {
  readonly domain: Name
  readonly #map = new Map<Name, Target>()
  /** How many names with a meaning lie below. */
  readonly #below = new Map<Name, number>()
  #touched = new Set<Name>()
  #reshaped = false

  constructor(domain: Name) {
    this.domain = domain
    if (domain !== '') this.#map.set(domain, branch)
  }

  get map(): ReadonlyMap<Name, Target> {
    return this.#map
  }

  /** Whether names came or went since the changes were last taken. */
  get reshaped(): boolean {
    return this.#reshaped
  }

  set(name: Name, target: Target | undefined): void {
    const old = this.#map.get(name)
    const before = old?.is === 'branch' ? undefined : old
    if (target === undefined) {
      if (before === undefined) return
      if (this.#below.has(name)) this.#put(name, branch)
      else this.#remove(name)
      this.#count(name, -1)
    } else if (before === undefined || !sameTarget(before, target)) {
      this.#put(name, target)
      if (before === undefined) this.#count(name, 1)
    }
  }

  /** Names that came, went or stand for something else since this was last asked. */
  takeTouched(): ReadonlySet<Name> {
    const touched = this.#touched
    this.#touched = new Set()
    this.#reshaped = false
    return touched
  }

  /** Up to the domain, which is there anyway. */
  #count(name: Name, by: 1 | -1): void {
    if (name.length - name.indexOf('.') - 1 === this.domain.length) return
    for (let up = parentOf(name); up !== this.domain && isWithin(up, this.domain); up = parentOf(up)) {
      const count = (this.#below.get(up) ?? 0) + by
      if (count > 0) this.#below.set(up, count)
      else this.#below.delete(up)
      if (count === 1 && by === 1 && !this.#map.has(up)) this.#put(up, branch)
      if (count === 0 && this.#map.get(up)?.is === 'branch') this.#remove(up)
    }
  }

  #put(name: Name, target: Target): void {
    if (!this.#map.has(name)) this.#reshaped = true
    this.#map.set(name, target)
    this.#touched.add(name)
  }

  #remove(name: Name): void {
    this.#map.delete(name)
    this.#touched.add(name)
    this.#reshaped = true
  }
}
