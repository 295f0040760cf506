/**
 * Moving the embedded store into another one while the daemon runs: copies, verifies, and only then notes down that
 * this host's store is the other.
 */
import { DroverError } from '../model/errors.ts'
import { keysOf } from '../model/keys.ts'
import type { Clock, Log } from '../model/ports.ts'
import { copyStore } from '../store/move.ts'
import type { Store } from '../store/store.ts'
import { storeOf } from './compose.ts'
import type { Config } from './config/resolve.ts'
import { type Membership, writeMembership } from './membership/membership.ts'

interface Moved {
  readonly membership: Membership
  /** How many there are. */
  readonly keys: number
}

export interface StoreMove {
  /** Nobody may write to the store meanwhile. */
  run(): Promise<Moved>
  close(): Promise<void>
}

/** Rejects with NOT_NOW where there is nothing to move. */
export async function storeMove(
  deps: { readonly clock: Clock; readonly log: Log },
  config: Config,
  membership: Membership,
  url: string,
): Promise<StoreMove> {
  if (membership.store !== 'embedded')
    throw new DroverError('NOT_NOW', `the store is ${membership.store}; only an embedded one can be moved`)
  if (config.store.url !== undefined)
    throw new DroverError('NOT_NOW', 'store.url is set in the configuration and would win; remove it first')
  const target = await storeOf(url, config, deps)
  return {
    run: async () => {
      const moved = await copyInto(target, { deps, config, membership, url })
      deps.log.info('the store has moved', { to: url, keys: moved.keys })
      return moved
    },
    close: () => target.close(),
  }
}

export interface CopyGiven {
  readonly deps: { readonly clock: Clock; readonly log: Log }
  readonly config: Config
  readonly membership: Membership
  /** Of the target. */
  readonly url: string
}

/** Copies and verifies; then the membership on disk names the other store. */
export async function copyInto(target: Store, { deps, config, membership, url }: CopyGiven): Promise<Moved> {
  const source = await storeOf(membership.store, config, deps)
  const { prefix } = keysOf(membership.environment)
  const keys = await copyStore(source, target, prefix).finally(() => source.close())
  const moved = { ...membership, store: url }
  writeMembership(config.state, moved)
  return { membership: moved, keys }
}
