/**
 * Moving the embedded store into another one while the daemon runs: copies, verifies, and only then notes down that
 * this host's store is the other.
 */
import { DroverError } from '../model/errors.ts'
import { keysOf } from '../model/keys.ts'
import type { Clock, Log } from '../model/ports.ts'
import { copyStore } from '../store/move.ts'
import { storeOf } from './compose.ts'
import type { Config } from './config/resolve.ts'
import { type Membership, writeMembership } from './membership.ts'

export interface StoreMove {
  /** Nobody may write to the store meanwhile. */
  run(): Promise<{ readonly membership: Membership; readonly keys: number }>
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
      const source = await storeOf(membership.store, config, deps)
      const { prefix } = keysOf(membership.environment)
      const keys = await copyStore(source, target, prefix).finally(() => source.close())
      const moved = { ...membership, store: url }
      writeMembership(config.state, moved)
      deps.log.info('the store has moved', { to: url, keys })
      return { membership: moved, keys }
    },
    close: () => target.close(),
  }
}
