/**
 * Between the words of store.ts and etcd's: ranges, comparisons, operations, entries. Pure.
 */

import { unreachable } from '../model/errors.ts'
import type { ICompare, IEvent, IKeyValue, IRequestOp } from './etcd-client.ts'
import type { Change, Condition, Entry, Write } from './store.ts'

interface KeyRange {
  readonly key: Buffer
  readonly range_end: Buffer
}

const zero = Buffer.from([0])

/** All keys with a prefix: up to the prefix with its last byte raised (etcd API, "key ranges"). */
export function rangeOf(prefix: string): KeyRange {
  if (prefix === '') return { key: zero, range_end: zero }
  const key = Buffer.from(prefix)
  const end = Buffer.from(key)
  const last = end.length - 1
  end.writeUInt8(end.readUInt8(last) + 1, last) // UTF-8 has no byte 255
  return { key, range_end: end }
}

/** The smallest key after this one. */
export const keyAfter = (key: Buffer): Buffer => Buffer.concat([key, zero])

export function compareOf(condition: Condition): ICompare {
  switch (condition.is) {
    case 'absent':
      return { target: 'Version', result: 'Equal', key: Buffer.from(condition.key), version: 0 }
    case 'present':
      return { target: 'Version', result: 'Greater', key: Buffer.from(condition.key), version: 0 }
    case 'revision':
      return {
        target: 'Mod',
        result: 'Equal',
        key: Buffer.from(condition.key),
        mod_revision: condition.revision,
      }
    case 'empty':
      return { target: 'Version', result: 'Equal', version: 0, ...rangeOf(condition.prefix) }
    default:
      return unreachable(condition)
  }
}

export function operationOf(write: Write): IRequestOp {
  const key = Buffer.from(write.key)
  if (write.is === 'delete') return { request_delete_range: { key } }
  const { value, lease } = write
  const bytes = Buffer.from(value.buffer, value.byteOffset, value.byteLength)
  return { request_put: { key, value: bytes, ...(lease !== undefined && { lease: lease.id }) } }
}

export const entryOf = ({ key, value, mod_revision }: IKeyValue): Entry => ({
  key: key.toString(),
  value: new Uint8Array(value.buffer, value.byteOffset, value.byteLength),
  revision: Number(mod_revision),
})

export const changeOf = ({ type, kv }: IEvent): Change =>
  type === 'Put'
    ? { is: 'put', entry: entryOf(kv) }
    : { is: 'delete', key: kv.key.toString(), revision: Number(kv.mod_revision) }
