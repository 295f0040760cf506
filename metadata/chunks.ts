/**
 * JSON of large values as a row of byte chunks. Segments are lists whose bytes are kept for as long as they are the
 * same list, so that after a change only the segments around it are written again; the bytes of all others are shared
 * between bodies, also between lists inside of each other, and between snapshots. Joined they are what `jsonOf` writes.
 */
import { jsonOf, jsonString } from './render.ts'
import { type Dict, isDict, isList, type List, sortedKeys, type Value } from './value.ts'

/** One for all, so that what is made of it is kept as well. */
const comma = Buffer.from(',')

/** Text and bytes in their order; text between bytes becomes one chunk. */
class Row {
  readonly #chunks: Buffer[] = []
  #text = ''

  text(text: string): void {
    this.#text += text
  }

  bytes(chunks: readonly Buffer[]): void {
    if (chunks.length === 0) return
    this.#flush()
    for (const chunk of chunks) this.#chunks.push(chunk)
  }

  done(): readonly Buffer[] {
    this.#flush()
    return this.#chunks
  }

  #flush(): void {
    if (this.#text !== '') this.#chunks.push(Buffer.from(this.#text))
    this.#text = ''
  }
}

export class Chunks {
  /** What a list is put together of; nothing for one that is written item by item. */
  readonly #segments = new WeakMap<List, readonly List[]>()
  /** The items of segments with commas between them, once somebody asked. */
  readonly #items = new WeakMap<List, readonly Buffer[]>()

  /** One list of the items of all segments; it may be a segment of a larger one. */
  joined<Item extends Value>(segments: readonly (readonly Item[])[]): readonly Item[] {
    const filled = segments.filter((segment) => segment.length > 0)
    const list = filled.flat()
    this.#segments.set(list, filled)
    return list
  }

  /** A list that is shown in several places. */
  segment<Item extends Value>(list: readonly Item[]): readonly Item[] {
    this.#segments.set(list, [])
    return list
  }

  of(value: Value): readonly Buffer[] {
    const row = new Row()
    this.#write(row, value)
    return row.done()
  }

  #write(row: Row, value: Value): void {
    if (isList(value)) this.#writeList(row, value)
    else if (isDict(value) && isOpen(value)) this.#writeDict(row, value)
    else row.text(jsonOf(value))
  }

  #writeList(row: Row, list: List): void {
    row.text('[')
    if (this.#segments.has(list)) row.bytes(this.#itemsOf(list))
    else this.#writeItems(row, list)
    row.text(']')
  }

  #writeItems(row: Row, list: List): void {
    for (const [at, item] of list.entries()) {
      if (at > 0) row.text(',')
      this.#write(row, item)
    }
  }

  #writeDict(row: Row, dict: Dict): void {
    row.text('{')
    let separator = ''
    for (const key of sortedKeys(dict)) {
      row.text(`${separator}${jsonString(key)}:`)
      separator = ','
      this.#write(row, dict[key] ?? null)
    }
    row.text('}')
  }

  #itemsOf(list: List): readonly Buffer[] {
    const kept = this.#items.get(list)
    if (kept !== undefined) return kept
    const row = new Row()
    const segments = this.#segments.get(list) ?? []
    if (segments.length === 0) this.#writeItems(row, list)
    for (const [at, segment] of segments.entries()) {
      if (at > 0) row.bytes([comma])
      row.bytes(this.#itemsOf(segment))
    }
    const chunks = row.done()
    this.#items.set(list, chunks)
    return chunks
  }
}

/** Whether segments may be inside: of the root, of `self`, of stacks and of services. */
const isOpen = ({ metadata_kind: kind }: Dict): boolean =>
  kind === undefined || kind === 'stack' || kind === 'service'
