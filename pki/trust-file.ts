/**
 * What this host needs to be believed and to believe: its certificate, the environment's authorities, and the
 * newest list of what they revoked. One file, `trust.json`, replaced atomically: a full disk or a kill leaves
 * the old one.
 */
import { join } from 'node:path'
import { DroverError } from '../model/errors.ts'
import type { Uuid } from '../model/uuid.ts'
import { type Certificate, readCertificate } from './certificate.ts'
import { type Damaged, readPrivate, replacePrivate } from './private-file.ts'
import type { Trust } from './trust.ts'

export interface TrustFile {
  readonly environment: Uuid
  /** Of this host, PEM. */
  readonly certificate: string
  /** PEM, newest first. */
  readonly authorities: readonly string[]
  /** The newest authority as the one before it vouches for it, PEM; null when there is one only. */
  readonly cross?: string | null
  /** Number of the list that named the authorities; 0 for what this host was told when it entered. */
  readonly succession?: number
  /** That list as it was signed, so that whoever has it can put it back into the store; empty for none. */
  readonly sealed?: string
  /** Ids of removed hosts, and the number of the list that said so. */
  readonly revoked: readonly string[]
  readonly listed: number
}

const fileOf = (folder: string): string => join(folder, 'trust.json')
const damaged: Damaged = (path, why, cause) =>
  new DroverError('CERTIFICATE_DAMAGED', `${path}: ${why}`, { fields: { path }, cause })

/** Undefined when there is none. */
export function readTrustFile(folder: string): TrustFile | undefined {
  const path = fileOf(folder)
  const text = readPrivate(path, damaged)
  if (text === undefined) return undefined
  const file = parsed(text)
  if (file === undefined) throw damaged(path, 'it is cut off, or not what was written')
  return file
}

export function writeTrustFile(folder: string, file: TrustFile): void {
  replacePrivate(fileOf(folder), `${JSON.stringify(file, null, 2)}\n`, damaged)
}

export const trustOf = ({ environment, authorities, revoked }: TrustFile): Trust => ({
  environment,
  authorities: authorities.flatMap((pem): Certificate[] => {
    const certificate = readCertificate(pem)
    return certificate === undefined ? [] : [certificate]
  }),
  revoked: new Set(revoked),
})

function parsed(text: string): TrustFile | undefined {
  try {
    const file = JSON.parse(text) as Partial<TrustFile>
    const { environment, certificate, authorities, revoked, listed } = file
    const { cross = null, succession = 0, sealed = '' } = file
    if (typeof environment !== 'string' || typeof certificate !== 'string') return undefined
    if (!isTexts(authorities) || !isTexts(revoked) || typeof listed !== 'number') return undefined
    if (typeof succession !== 'number' || typeof sealed !== 'string') return undefined
    if (cross !== null && typeof cross !== 'string') return undefined
    return { environment, certificate, authorities, cross, succession, sealed, revoked, listed }
  } catch {
    return undefined
  }
}

const isTexts = (value: unknown): value is readonly string[] =>
  Array.isArray(value) && value.every((item) => typeof item === 'string')
