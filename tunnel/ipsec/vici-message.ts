/**
 * Messages of VICI, the control protocol of strongSwan's charon: a tree of sections, lists and values, as bytes and
 * back (strongSwan, src/libcharon/plugins/vici/README.md, "Message format"). Pure.
 *
 * A value is bytes and is held as text with one character per byte (ISO 8859-1); whatever this host says is ASCII.
 */
export type ViciValue = string | readonly string[] | ViciSection

export interface ViciSection {
  readonly [name: string]: ViciValue
}

const element = {
  sectionStart: 1,
  sectionEnd: 2,
  keyValue: 3,
  listStart: 4,
  listItem: 5,
  listEnd: 6,
} as const

const longestName = 255
const longestValue = 65_535

/** A name or a value that does not fit is a mistake of the caller: RangeError. */
export function encodeMessage(section: ViciSection): Uint8Array {
  const out: number[] = []
  writeSection(out, section)
  return Uint8Array.from(out)
}

/** Undefined for what is no message, or only a part of one. */
export function decodeMessage(bytes: Uint8Array): ViciSection | undefined {
  const reader = new MessageReader(bytes)
  const section = reader.section(0)
  return reader.broken ? undefined : section
}

function writeSection(out: number[], section: ViciSection): void {
  for (const [name, value] of Object.entries(section)) {
    if (typeof value === 'string') {
      out.push(element.keyValue)
      writeName(out, name)
      writeValue(out, value)
    } else if (isList(value)) {
      out.push(element.listStart)
      writeName(out, name)
      for (const item of value) {
        out.push(element.listItem)
        writeValue(out, item)
      }
      out.push(element.listEnd)
    } else {
      out.push(element.sectionStart)
      writeName(out, name)
      writeSection(out, value)
      out.push(element.sectionEnd)
    }
  }
}

export const isList = (value: ViciValue | undefined): value is readonly string[] => Array.isArray(value)

export const isSection = (value: ViciValue | undefined): value is ViciSection =>
  typeof value === 'object' && !isList(value)

function writeName(out: number[], name: string): void {
  if (name.length > longestName) throw new RangeError(`a name of ${name.length} bytes`)
  out.push(name.length)
  writeBytes(out, name)
}

function writeValue(out: number[], value: string): void {
  if (value.length > longestValue) throw new RangeError(`a value of ${value.length} bytes`)
  out.push(value.length >>> 8, value.length & 255)
  writeBytes(out, value)
}

function writeBytes(out: number[], text: string): void {
  for (let at = 0; at < text.length; at++) {
    const byte = text.charCodeAt(at)
    if (byte > 255) throw new RangeError(`not a byte: ${text.charAt(at)}`)
    out.push(byte)
  }
}

/** Deeper nesting than any message of charon's has is an attack on our stack. */
const deepest = 16

class MessageReader {
  readonly #bytes: Uint8Array
  #at = 0
  broken = false

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
  }

  /** To the end of the message at depth 0, else to the end of the section. */
  section(depth: number): ViciSection {
    // No prototype: a name may be any text.
    const section: Record<string, ViciValue> = Object.create(null)
    while (!this.broken) {
      if (this.#at === this.#bytes.length && depth === 0) return section
      const kind = this.#take(1)
      if (kind === element.sectionEnd && depth > 0) return section
      const name = this.#text(this.#take(1))
      if (kind === element.keyValue) section[name] = this.#text(this.#take(2))
      else if (kind === element.listStart) section[name] = this.#list()
      else if (kind === element.sectionStart && depth < deepest) section[name] = this.section(depth + 1)
      else this.broken = true
    }
    return section
  }

  #list(): readonly string[] {
    const items: string[] = []
    while (!this.broken) {
      const kind = this.#take(1)
      if (kind === element.listEnd) break
      if (kind === element.listItem) items.push(this.#text(this.#take(2)))
      else this.broken = true
    }
    return items
  }

  /** An unsigned number of one or two bytes, the higher first. */
  #take(size: 1 | 2): number {
    const end = this.#at + size
    if (end > this.#bytes.length) this.broken = true
    let value = 0
    while (this.#at < end) value = value * 256 + (this.#bytes[this.#at++] ?? 0)
    return value
  }

  #text(length: number): string {
    const end = this.#at + length
    if (end > this.#bytes.length) this.broken = true
    let text = ''
    while (this.#at < end) text += String.fromCharCode(this.#bytes[this.#at++] ?? 0)
    return text
  }
}
