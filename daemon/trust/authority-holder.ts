/**
 * The key of the CA on this host, where it is here: read, replaced, and given to who may use it. A key that is
 * locked, or of a CA whose place another has taken, stops nothing but joins, renewals and removals.
 */
import { DroverError } from '../../model/errors.ts'
import type { Log } from '../../model/ports.ts'
import type { Instant } from '../../model/time.ts'
import { type Authority, dropFormer, loadAuthority, rollAuthority } from '../../pki/authority.ts'
import { type BackupNote, backupNote } from '../../pki/backup-note.ts'
import type { Config } from '../config/resolve.ts'
import type { TrustKeeper } from './trust-keeper.ts'

const outdated = 'the key in authority.json is of a CA whose place another has taken'

export class AuthorityHolder {
  readonly #config: Pick<Config, 'state' | 'ca'>
  readonly #keeper: TrustKeeper
  readonly #log: Log
  #held: Authority | undefined
  #locked = ''

  constructor(config: Pick<Config, 'state' | 'ca'>, keeper: TrustKeeper, log: Log) {
    this.#config = config
    this.#keeper = keeper
    this.#log = log
    this.reload()
  }

  /** The key that may be used here; undefined where there is none. */
  get authority(): Authority | undefined {
    return this.#held !== undefined && this.#counts(this.#held) ? this.#held : undefined
  }

  /** Why a key that is here cannot be used; empty when it can, or is elsewhere. */
  get problem(): string {
    if (this.#held === undefined) return this.#locked
    return this.#counts(this.#held) ? '' : new DroverError('AUTHORITY_OUTDATED', outdated).line
  }

  /** The CA, or why there is none to use here. */
  holding(): Authority {
    const { authority } = this
    if (authority !== undefined) return authority
    if (this.#held !== undefined) throw new DroverError('AUTHORITY_OUTDATED', outdated)
    throw this.#locked === ''
      ? new DroverError('AUTHORITY_ELSEWHERE', 'authority.json is not in the state folder')
      : new DroverError('AUTHORITY_LOCKED', this.#locked)
  }

  /** The newest backup that was made here, where a roll has made it worth nothing. */
  get outdatedBackup(): BackupNote | undefined {
    const note = this.authority === undefined ? undefined : backupNote(this.#config.state)
    return note?.authority === this.authority?.certificate.fingerprint ? undefined : note
  }

  /** Reads the file anew: somebody gave this host the key. */
  reload(): void {
    this.#locked = ''
    try {
      this.#held = loadAuthority(this.#config.state, this.#config.ca.passphrase)
    } catch (error) {
      if (!(error instanceof DroverError)) throw error
      this.#held = undefined
      this.#locked = error.line
      this.#log.warn('joins and renewals wait', { why: error.line })
    }
  }

  /** Makes the CA that takes the present one's place. */
  roll(now: Instant): void {
    this.#held = rollAuthority(this.#config.state, { passphrase: this.#config.ca.passphrase, now })
  }

  /** Forgets the key of the former CA. */
  drop(): void {
    this.#held = dropFormer(this.#config.state, this.#config.ca.passphrase)
  }

  /** Also one that is ahead of what this host believes: killed in the middle of a roll. */
  #counts({ certificate, former }: Authority): boolean {
    const newest = this.#keeper.newest?.fingerprint
    return certificate.fingerprint === newest || former?.certificate.fingerprint === newest
  }
}
