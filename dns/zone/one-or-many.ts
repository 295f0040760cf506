/**
 * Containers by a key that mostly one of them has: a list is kept only where there are several. Pure.
 */
import type { ContainerId, ContainerRecord } from '../../model/records.ts'

type Held = ContainerRecord | ContainerRecord[]

const nobody: readonly ContainerRecord[] = []

const isList = (held: Held): held is ContainerRecord[] => Array.isArray(held)

const listOf = (held: Held): readonly ContainerRecord[] => (isList(held) ? held : [held])

export class OneOrMany<Key> {
  readonly #held = new Map<Key, Held>()

  has(key: Key): boolean {
    return this.#held.has(key)
  }

  at(key: Key): readonly ContainerRecord[] {
    const held = this.#held.get(key)
    return held === undefined ? nobody : listOf(held)
  }

  keys(): Iterable<Key> {
    return this.#held.keys()
  }

  /** In the order in which the first of each came. */
  *entries(): Generator<readonly [Key, readonly ContainerRecord[]]> {
    for (const [key, held] of this.#held) yield [key, listOf(held)]
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
