/**
 * Reads what this host believes and, where it holds it, the key of the CA. A CA that is locked stops nothing but
 * joins and renewals, so that the daemon goes on without it and says so.
 */
import { DroverError } from '../model/errors.ts'
import type { Clock, Log } from '../model/ports.ts'
import { type Authority, loadAuthority } from '../pki/authority.ts'
import type { HostIdentity } from '../pki/identity.ts'
import type { Config } from './config/resolve.ts'
import { TrustKeeper } from './trust-keeper.ts'

export interface TrustParts {
  readonly keeper: TrustKeeper
  /** Undefined where this host does not hold it. */
  readonly authority: Authority | undefined
  /** Why the key of the CA cannot be used although it is here; empty when it can. */
  readonly problem: string
}

export function trustParts(
  config: Config,
  identity: HostIdentity,
  { clock, log }: { readonly clock: Clock; readonly log: Log },
): TrustParts {
  const keeper = TrustKeeper.open(config.state, identity, clock.now())
  try {
    return { keeper, authority: loadAuthority(config.state, config.ca.passphrase), problem: '' }
  } catch (error) {
    if (!(error instanceof DroverError)) throw error
    log.warn('joins and renewals wait', { why: error.line })
    return { keeper, authority: undefined, problem: error.line }
  }
}

/** The CA, or why there is none to use here. */
export function holding({ authority, problem }: TrustParts): Authority {
  if (authority !== undefined) return authority
  throw problem === ''
    ? new DroverError('AUTHORITY_ELSEWHERE', 'authority.json is not in the state folder')
    : new DroverError('AUTHORITY_LOCKED', problem)
}
