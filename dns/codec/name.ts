/**
 * Domain names as text: lower case, dots between labels, no dot at the end, '' for the root. Bytes that could be
 * mistaken are written as `\DDD` (RFC 1035 5.1), so that two different names never have the same text.
 */
export type Name = string

/** RFC 1035 2.3.4. */
const maxWire = 255
const maxLabel = 63

const isPlain = (byte: number): boolean => byte > 0x20 && byte < 0x7f && byte !== 0x2e && byte !== 0x5c

const lower = (byte: number): number => (byte >= 0x41 && byte <= 0x5a ? byte + 0x20 : byte)

function labelText(bytes: Uint8Array, from: number, to: number): string {
  let text = ''
  for (let at = from; at < to; at++) {
    const byte = lower(bytes[at] ?? 0)
    text += isPlain(byte) ? String.fromCharCode(byte) : `\\${String(byte).padStart(3, '0')}`
  }
  return text
}

export interface ReadName {
  readonly name: Name
  /** Where reading goes on after the name. */
  readonly next: number
}

/** A name at an offset, compression followed (RFC 1035 4.1.4): pointers only go back, so there is no loop. */
export function readName(bytes: Uint8Array, start: number): ReadName | undefined {
  const labels: string[] = []
  let at = start
  let limit = start
  let next = -1
  for (let length = 1; length <= maxWire; ) {
    const size = bytes[at]
    if (size === undefined) return undefined
    if (size === 0) return { name: labels.join('.'), next: next < 0 ? at + 1 : next }
    if (size >= 0xc0) {
      const low = bytes[at + 1]
      if (low === undefined) return undefined
      if (next < 0) next = at + 2
      at = ((size & 0x3f) << 8) | low
      if (at >= limit) return undefined
      limit = at
    } else {
      if (size > maxLabel || at + 1 + size > bytes.length) return undefined
      labels.push(labelText(bytes, at + 1, at + 1 + size))
      at += 1 + size
      length += 1 + size
    }
  }
  return undefined
}

/** Where a name ends, without reading it; undefined when it runs out of the message. */
export function skipName(bytes: Uint8Array, start: number): number | undefined {
  for (let at = start; ; ) {
    const size = bytes[at]
    if (size === undefined || at - start > maxWire) return undefined
    if (size === 0) return at + 1
    if (size >= 0xc0) return at + 2 <= bytes.length ? at + 2 : undefined
    if (size > maxLabel) return undefined
    at += 1 + size
  }
}

/** The bytes of a label's text. */
function labelBytes(label: string): number[] {
  const bytes: number[] = []
  for (let at = 0; at < label.length; at++) {
    if (label.charCodeAt(at) === 0x5c) {
      bytes.push(Number(label.slice(at + 1, at + 4)) & 255)
      at += 3
    } else bytes.push(label.charCodeAt(at) & 255)
  }
  return bytes
}

export const labelsOf = (name: Name): readonly string[] => (name === '' ? [] : name.split('.'))

/** Labels in wire form, each with its length before it and without the root at the end. */
export const wireLabels = (name: Name): readonly Uint8Array[] =>
  labelsOf(name).map((label) => {
    const bytes = labelBytes(label)
    return Uint8Array.from([bytes.length, ...bytes])
  })

/** Characters of a name without its last dot: its first length and the root take an octet each. */
export const longestName = maxWire - 2

/** A name from configuration or a record, with or without its last dot; undefined when no message can carry it. */
export function parseName(text: string): Name | undefined {
  const name = text.toLowerCase().replace(/\.$/, '')
  if (name === '' || name.length > longestName) return undefined
  return name.split('.').every((label) => /^[a-z0-9_-]{1,63}$/.test(label)) ? name : undefined
}

/** Whether a name is the zone's own or one below it. */
export const isWithin = (name: Name, zone: Name): boolean =>
  zone === '' || name === zone || (name.endsWith(zone) && name[name.length - zone.length - 1] === '.')

/** The name without its first label. */
export function parentOf(name: Name): Name {
  const dot = name.indexOf('.')
  return dot < 0 ? '' : name.slice(dot + 1)
}

/** The one label that a name has before a domain; undefined when it is no child of it. */
export function labelBelow(name: Name, domain: Name): string | undefined {
  const dot = name.indexOf('.')
  return dot === name.length - domain.length - 1 && name.endsWith(domain) ? name.slice(0, dot) : undefined
}
