/**
 * What `drover ca` shows and does: the authorities that this host believes, a backup of the key, and the key from
 * a backup, which lets this host do what only the CA can.
 */
import { mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { DroverError, reasonOf } from '../../model/errors.ts'
import { isIpAddress } from '../../model/ip.ts'
import {
  authorityFile,
  type Exported,
  exportAuthority,
  importAuthority,
  loadAuthority,
} from '../../pki/authority.ts'
import { backupNote, noteBackup } from '../../pki/backup-note.ts'
import { loadIdentity } from '../../pki/identity.ts'
import type { Config } from '../config/resolve.ts'
import { SystemClock } from '../ports.ts'
import type { CaState } from './trust-admin.ts'
import { TrustKeeper } from './trust-keeper.ts'

export interface AuthorityView {
  readonly environment: string
  readonly fingerprint: string
  readonly until: string
  /** Whether this host holds the key. */
  readonly held: boolean
  /** Why a key that is here cannot be used; null when it can, or is elsewhere. */
  readonly problem: string | null
  /** Whether it issues certificates; false for one whose place another takes. */
  readonly issues: boolean
  /** Names of the hosts that hold the key; null where no daemon runs to tell. */
  readonly holders: readonly string[] | null
}

export interface CaView {
  readonly authorities: readonly AuthorityView[]
  readonly certificate: { readonly until: string | null; readonly problem: string | null }
  readonly removed: readonly string[]
  /** What still needs the former CA, on the host that holds it; null where no daemon runs to tell. */
  readonly needs: readonly string[] | null
  /** The newest one that was made on this host; null where it holds no key, or none was made. */
  readonly backup: BackupView | null
}

export interface BackupView {
  /** Fingerprint of the CA that it is of. */
  readonly authority: string
  readonly at: string
}

/** `state`: what the running daemon knows; undefined where none runs. */
export function caView(config: Config, state: CaState | undefined): CaView {
  const keeper = keeperOf(config)
  const held = heldBy(config)
  const own = keeper.own(new SystemClock().now())
  return {
    authorities: keeper.trust.authorities.map(({ fingerprint, notAfter }, at) => ({
      environment: keeper.trust.environment,
      fingerprint,
      until: new Date(notAfter).toISOString(),
      held: held.is === 'locked' || held.fingerprints.includes(fingerprint),
      problem: held.is === 'locked' ? held.why : null,
      issues: at === 0,
      holders:
        state?.holders.filter(({ authority }) => authority === fingerprint).map(({ name }) => name) ?? null,
    })),
    certificate: {
      until: own.is === 'good' ? new Date(own.certificate.notAfter).toISOString() : null,
      problem: own.is === 'bad' ? own.why : null,
    },
    removed: [...keeper.trust.revoked].sort(),
    needs: state?.needs ?? null,
    backup: held.is === 'open' && held.fingerprints.length === 0 ? null : backupView(config.state),
  }
}

function backupView(folder: string): BackupView | null {
  const note = backupNote(folder)
  return note === undefined ? null : { authority: note.authority, at: new Date(note.at).toISOString() }
}

/** Writes a backup, and notes of which CA it is; `unnoted`: why that could not be noted. */
export function exportCa(
  config: Pick<Config, 'state'>,
  file: string,
): Exported & { readonly unnoted: string | undefined } {
  const exported = exportAuthority(config.state, file)
  try {
    noteBackup(config.state, { authority: exported.fingerprint, at: new SystemClock().now() })
    return { ...exported, unnoted: undefined }
  } catch (error) {
    return { ...exported, unnoted: reasonOf(error) }
  }
}

/** Key, certificate and CA for a member of an etcd, as files in a folder. */
export function issueServer(config: Config, folder: string, addresses: readonly string[]): void {
  const wrong = addresses.find((address) => !isIpAddress(address))
  if (wrong !== undefined || addresses.length === 0)
    throw new DroverError('USAGE', `${wrong ?? 'nothing'} is no IP address: --address 192.0.2.1,127.0.0.1`)
  const authority = loadAuthority(config.state, config.ca.passphrase)
  if (authority === undefined) throw new DroverError('AUTHORITY_ELSEWHERE', authorityFile(config.state))
  const { key, cert } = authority.issueServer(addresses, new SystemClock().now())
  const believed = authority.certificate.pem + (authority.former?.certificate.pem ?? '')
  const files = { 'ca.pem': believed, 'server.pem': cert, 'server-key.pem': key }
  try {
    mkdirSync(folder, { recursive: true })
    for (const [name, text] of Object.entries(files))
      writeFileSync(join(folder, name), text, { mode: 0o600, flag: 'wx' })
  } catch (cause) {
    throw new DroverError('USAGE', `${folder}: ${reasonOf(cause)}`, { cause })
  }
}

/** Takes the key from a backup of this environment's CA. */
export function importCa(config: Config, file: string): { readonly fingerprint: string } {
  return takeAuthority(config, keeperOf(config), textOf(file))
}

/** Puts the file of the CA here, unless the one that issues now is here already. */
export function takeAuthority(
  config: Pick<Config, 'state' | 'ca'>,
  keeper: TrustKeeper,
  text: string,
): { readonly fingerprint: string } {
  const newest = keeper.newest?.fingerprint
  if (statSync(authorityFile(config.state), { throwIfNoEntry: false }) !== undefined) {
    const standing = heldBy(config)
    if (standing.is === 'locked' || standing.fingerprints[0] === newest)
      throw new DroverError('NOT_NOW', `${authorityFile(config.state)} is there already`)
  }
  const { certificate } = importAuthority(config.state, text, {
    passphrase: config.ca.passphrase,
    accepts: ({ environment, certificate: { fingerprint } }) =>
      environment.uuid === keeper.trust.environment && fingerprint === newest,
  })
  return { fingerprint: certificate.fingerprint }
}

type Held =
  /** Newest first; none where the key is elsewhere. */
  | { readonly is: 'open'; readonly fingerprints: readonly string[] }
  | { readonly is: 'locked'; readonly why: string }

function heldBy(config: Pick<Config, 'state' | 'ca'>): Held {
  try {
    const authority = loadAuthority(config.state, config.ca.passphrase)
    const held = [authority?.certificate, authority?.former?.certificate]
    return { is: 'open', fingerprints: held.flatMap((one) => one?.fingerprint ?? []) }
  } catch (error) {
    return { is: 'locked', why: error instanceof DroverError ? error.line : reasonOf(error) }
  }
}

function keeperOf(config: Config): TrustKeeper {
  const identity = loadIdentity(config.state)
  if (identity === undefined) throw new DroverError('ENVIRONMENT_MISSING', config.state)
  return TrustKeeper.open(config.state, identity, new SystemClock().now())
}

function textOf(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (cause) {
    throw new DroverError('USAGE', `${file}: ${reasonOf(cause)}`, { cause })
  }
}
