/**
 * JSON of large values as a row of byte chunks. Lists that are put together out of segments keep the bytes of each
 * segment for as long as the segment is the same list, so that after a change only the segment around it is written
 * again; the bytes of all others are shared between bodies and snapshots. Joined they are what `jsonOf` writes.
 */
import { jsonOf, jsonString, type PieceTexts } from './render.ts'
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

  bytes(bytes: Buffer): void {
    this.#flush()
    this.#chunks.push(bytes)
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
  /** JSON texts of pieces. */
  readonly texts: PieceTexts = new WeakMap()
  readonly #segments = new WeakMap<List, readonly List[]>()
  /** The items of segments with commas between them, once somebody asked. */
  readonly #items = new WeakMap<List, Buffer | undefined>()

  /** One list of the items of all segments. A segment may be shown by itself as well. */
  joined(segments: readonly List[]): List {
    const filled = segments.filter((segment) => segment.length > 0)
    const list = filled.flat()
    this.#segments.set(list, filled)
    for (const segment of filled) if (!this.#items.has(segment)) this.#items.set(segment, undefined)
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
    else row.text(jsonOf(value, this.texts))
  }

  #writeList(row: Row, list: List): void {
    const segments = this.#segments.get(list) ?? (this.#items.has(list) ? [list] : undefined)
    row.text('[')
    for (const [at, part] of (segments ?? list).entries()) {
      if (segments !== undefined && isList(part)) {
        if (at > 0) row.bytes(comma)
        row.bytes(this.#itemsOf(part))
      } else {
        if (at > 0) row.text(',')
        this.#write(row, part)
      }
    }
    row.text(']')
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

  #itemsOf(segment: List): Buffer {
    const kept = this.#items.get(segment)
    if (kept !== undefined) return kept
    const bytes = Buffer.from(segment.map((item) => jsonOf(item, this.texts)).join(','))
    this.#items.set(segment, bytes)
    return bytes
  }
}

/** Whether segments may be inside: of the root, of `self` and of stacks. */
const isOpen = ({ metadata_kind: kind }: Dict): boolean => kind === undefined || kind === 'stack'
