/**
 * Containers by a key that mostly one of them has: a list is kept only where there are several. Pure.
 */
import type { ContainerId, ContainerRecord } from '../../model/records.ts'
import type { Entries } from './targets.ts'

type Held = ContainerRecord | ContainerRecord[]

/** One container, or a list of any length. */
export type Some = ContainerRecord | readonly ContainerRecord[]

const nobody: readonly ContainerRecord[] = []

const isList = <List extends readonly ContainerRecord[]>(some: ContainerRecord | List): some is List =>
  Array.isArray(some)

export const listOf = (some: Some): readonly ContainerRecord[] => (isList(some) ? some : [some])

/** The only one; undefined where there are several, or none. */
export function onlyOf(some: Some): ContainerRecord | undefined {
  if (!isList(some)) return some
  return some.length === 1 ? some[0] : undefined
}

/** As much of a Map as is needed. */
interface Table<Key> extends Entries<Key, Held> {
  get(key: Key): Held | undefined
  has(key: Key): boolean
  set(key: Key, held: Held): unknown
  delete(key: Key): unknown
}

export class OneOrMany<Key> {
  readonly #held: Table<Key>

  constructor(held: Table<Key> = new Map<Key, Held>()) {
    this.#held = held
  }

  has(key: Key): boolean {
    return this.#held.has(key)
  }

  at(key: Key): readonly ContainerRecord[] {
    const held = this.#held.get(key)
    return held === undefined ? nobody : listOf(held)
  }

  forEach(visit: (some: Some, key: Key) => void): void {
    this.#held.forEach(visit)
  }

  add(key: Key, record: ContainerRecord): void {
    const held = this.#held.get(key)
    if (held === undefined) this.#held.set(key, record)
    else if (isList(held)) held.push(record)
    else this.#held.set(key, [held, record])
  }

  drop(key: Key, id: ContainerId): void {
    const left = this.at(key).filter((record) => record.id !== id)
    const [first] = left
    if (first === undefined) this.#held.delete(key)
    else this.#held.set(key, left.length === 1 ? first : left)
  }
}
