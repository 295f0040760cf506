/**
 * What this host believes, and what it can do for those who believe the CA.
 */
import type { Clock, Log } from '../../model/ports.ts'
import type { HostIdentity } from '../../pki/identity.ts'
import type { Config } from '../config/resolve.ts'
import { AuthorityHolder } from './authority-holder.ts'
import { TrustKeeper } from './trust-keeper.ts'

export interface TrustParts {
  readonly keeper: TrustKeeper
  readonly holder: AuthorityHolder
}

export function trustParts(
  config: Config,
  identity: HostIdentity,
  { clock, log }: { readonly clock: Clock; readonly log: Log },
): TrustParts {
  const keeper = TrustKeeper.open(config.state, identity, clock.now())
  return { keeper, holder: new AuthorityHolder(config, keeper, log) }
}
