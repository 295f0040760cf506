/**
 * Netlink attributes as bytes and back: length, type, payload, padded to four bytes, in host order (little-endian,
 * as on every machine that Drover runs on). A length that lies ends the reading. Pure.
 */
import { concat } from '../model/bytes.ts'

/** One that is read: its payload shares the memory of what it was read from. */
export interface Attribute {
  readonly type: number
  readonly payload: Uint8Array
}

const headSize = 4
const nestedFlag = 0x8000
/** Without the flags for nesting and byte order. */
const typeMask = 0x3fff
const longest = 0xffff

export function attribute(type: number, payload: Uint8Array): Uint8Array {
  const length = headSize + payload.length
  if (length > longest) throw new RangeError('a netlink attribute holds at most 65,531 bytes')
  const bytes = new Uint8Array((length + 3) & ~3)
  const view = new DataView(bytes.buffer)
  view.setUint16(0, length, true)
  view.setUint16(2, type, true)
  bytes.set(payload, headSize)
  return bytes
}

export const nested = (type: number, inner: readonly Uint8Array[]): Uint8Array =>
  attribute(type | nestedFlag, concat(...inner))

/** A list: nested attributes of type 0. */
export const listed = (type: number, items: readonly (readonly Uint8Array[])[]): Uint8Array =>
  nested(
    type,
    items.map((item) => nested(0, item)),
  )

export function attributesIn(bytes: Uint8Array): readonly Attribute[] {
  const view = viewOf(bytes)
  const found: Attribute[] = []
  for (let at = 0; at + headSize <= bytes.length; ) {
    const length = view.getUint16(at, true)
    if (length < headSize || at + length > bytes.length) break
    found.push({
      type: view.getUint16(at + 2, true) & typeMask,
      payload: bytes.subarray(at + headSize, at + length),
    })
    at += (length + 3) & ~3
  }
  return found
}

/** By type; of several with one type the last. */
export const attributeMap = (bytes: Uint8Array): ReadonlyMap<number, Uint8Array> =>
  new Map(attributesIn(bytes).map(({ type, payload }) => [type, payload]))

const viewOf = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)

/** An unsigned number of 1, 2, 4 or 8 bytes, as exact as a double is. */
export function unsigned(value: number, size: 1 | 2 | 4): Uint8Array {
  const bytes = new Uint8Array(4)
  new DataView(bytes.buffer).setUint32(0, value, true)
  return bytes.subarray(0, size)
}

/** 0 for what is not there. */
export function unsignedIn(payload: Uint8Array | undefined): number {
  return payload?.reduce((sum, byte, at) => sum + byte * 2 ** (8 * at), 0) ?? 0
}

/** Text with the zero that ends it. */
export const textBytes = (text: string): Uint8Array => new TextEncoder().encode(`${text}\0`)
