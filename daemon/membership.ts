/**
 * What `drover init` or `drover join` decided for this machine: which environment, where its store is, what all hosts agree on.
 * One JSON file in the state folder, replaced atomically; nothing else in the folder says that the machine is a
 * member.
 */
import { closeSync, fsyncSync, mkdirSync, openSync, readFileSync, renameSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { DroverError, reasonOf } from '../model/errors.ts'
import { decodeRecord, encodeRecord, type Settings, settingsSchema } from '../model/records.ts'

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

/** Undefined where the machine is no member yet. */
export function readMembership(state: string): Membership | undefined {
  let text: string
  try {
    text = readFileSync(fileOf(state), 'utf8')
  } catch (cause) {
    if ((cause as { code?: string }).code === 'ENOENT') return undefined
    throw new DroverError('STATE_UNUSABLE', `${fileOf(state)}: ${reasonOf(cause)}`, { cause })
  }
  try {
    const { environment, store, settings, access } = JSON.parse(text) as {
      environment: string
      store: string
      settings: unknown
      access?: StoreAccess
    }
    const decoded = decodeRecord(settingsSchema, JSON.stringify(settings))
    if (typeof environment === 'string' && typeof store === 'string' && decoded.is === 'ok') {
      return { environment, store, settings: decoded.value, ...(access === undefined ? {} : { access }) }
    }
  } catch {
    // Falls through to the one error for a file that is not what we wrote.
  }
  throw new DroverError('STATE_UNUSABLE', `${fileOf(state)} is damaged`)
}

export function writeMembership(state: string, membership: Membership): void {
  const file = fileOf(state)
  mkdirSync(state, { recursive: true, mode: 0o700 })
  const handle = openSync(`${file}.new`, 'w', 0o600)
  writeSync(
    handle,
    `${JSON.stringify({ ...membership, settings: JSON.parse(encodeRecord(membership.settings)) }, null, 2)}\n`,
  )
  fsyncSync(handle)
  closeSync(handle)
  renameSync(`${file}.new`, file)
  const folder = openSync(state, 'r')
  fsyncSync(folder)
  closeSync(folder)
}
