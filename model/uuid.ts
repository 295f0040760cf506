/**
 * UUIDv5 (RFC 9562 5.5): what Rancher's scheduler would have numbered is derived from names,
 * so that every host derives the same.
 */
import { createHash } from 'node:crypto'
import type { Branded } from './brand.ts'

export type Uuid = Branded<string, 'Uuid'>

const namespace = Buffer.from('4f1d3a8e0d9c5c1b8a5e6a1f7d2b9c30', 'hex')

/** The UUID of a path of names, such as `service`, environment, stack, service. */
export function uuidOf(...path: readonly string[]): Uuid {
  const digest = createHash('sha1').update(namespace).update(path.join('\0')).digest().subarray(0, 16)
  digest.writeUInt8((digest.readUInt8(6) & 0x0f) | 0x50, 6)
  digest.writeUInt8((digest.readUInt8(8) & 0x3f) | 0x80, 8)
  return uuidText(digest)
}

/** 16 bytes in the usual text form. */
export function uuidText(bytes: Uint8Array): Uuid {
  const text = Buffer.from(bytes).toString('hex')
  return [0, 8, 12, 16, 20].map((from, at) => text.slice(from, [8, 12, 16, 20, 32][at])).join('-') as Uuid
}
