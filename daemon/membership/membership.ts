/**
 * What `drover init` or `drover join` decided for this machine: which environment, where its store is, what all hosts agree on.
 * One JSON file in the state folder, replaced atomically; nothing else in the folder says that the machine is a
 * member.
 */
import { join } from 'node:path'
import { DroverError } from '../../model/errors.ts'
import { decodeRecord, encodeRecord, type Settings, settingsSchema } from '../../model/records.ts'
import { type Damaged, readPrivate, replacePrivate } from '../../pki/private-file.ts'

export interface Membership {
  readonly environment: string
  /** `embedded` or `etcd://…`. */
  readonly store: string
  readonly settings: Settings
  /** How to come in there, where the configuration does not say; from the host that let this one in. */
  readonly access?: StoreAccess
}

export interface StoreAccess {
  readonly user: string | null
  readonly password: string | null
  /** Path of a PEM file. */
  readonly ca: string | null
}

const fileOf = (state: string): string => join(state, 'membership.json')
const damaged: Damaged = (path, why, cause) =>
  new DroverError('STATE_UNUSABLE', `${path}: ${why}`, { fields: { path }, cause })

/** Undefined where the machine is no member yet. */
export function readMembership(state: string): Membership | undefined {
  const path = fileOf(state)
  const text = readPrivate(path, damaged)
  if (text === undefined) return undefined
  const membership = parsed(text)
  if (membership === undefined) throw damaged(path, 'it is cut off, or not what was written')
  return membership
}

export function writeMembership(state: string, membership: Membership): void {
  const settings: unknown = JSON.parse(encodeRecord(membership.settings))
  replacePrivate(fileOf(state), `${JSON.stringify({ ...membership, settings }, null, 2)}\n`, damaged)
}

function parsed(text: string): Membership | undefined {
  try {
    const { environment, store, settings, access } = JSON.parse(text) as Partial<Membership>
    const decoded = decodeRecord(settingsSchema, JSON.stringify(settings))
    if (typeof environment !== 'string' || typeof store !== 'string' || decoded.is === 'bad') return undefined
    return { environment, store, settings: decoded.value, ...(access === undefined ? {} : { access }) }
  } catch {
    return undefined
  }
}
