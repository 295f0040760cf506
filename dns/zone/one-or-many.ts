/**
 * Containers by a key that mostly one of them has: a list is kept only where there are several. Pure.
 */
import type { ContainerId, ContainerRecord } from '../../model/records.ts'
import type { Entries } from './targets.ts'

type Held = ContainerRecord | ContainerRecord[]

const nobody: readonly ContainerRecord[] = []

const isList = (held: Held): held is ContainerRecord[] => Array.isArray(held)

const listOf = (held: Held): readonly ContainerRecord[] => (isList(held) ? held : [held])

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

  forEach(visit: (records: readonly ContainerRecord[], key: Key) => void): void {
    this.#held.forEach((held, key) => {
      visit(listOf(held), key)
    })
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
