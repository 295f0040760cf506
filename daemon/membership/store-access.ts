/**
 * How a host comes to the store: handed from the one that lets it in to the one that joins, and overruled by
 * what the operator wrote there.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { JoinAnswer } from '../../model/admission.ts'
import { DroverError } from '../../model/errors.ts'
import { replacePrivate } from '../../pki/private-file.ts'
import type { Config } from '../config/resolve.ts'
import type { Membership, StoreAccess } from './membership.ts'

/** What the operator wrote into this machine's configuration wins. */
export function withAccess(config: Config, { access }: Pick<Membership, 'access'>): Config {
  if (access === undefined) return config
  const { store } = config
  return {
    ...config,
    store: {
      ...store,
      ca: store.ca ?? access.ca ?? undefined,
      user: store.user ?? access.user ?? undefined,
      password: store.password ?? access.password ?? undefined,
    },
  }
}

/** How another host comes to the store that this one uses; undefined for an embedded one. */
export function accessFor(config: Config, url: string): JoinAnswer['store'] | undefined {
  if (url === 'embedded') return undefined
  const { ca, user = null, password = null } = config.store
  return { url, user, password, ca: ca === undefined ? null : readFileSync(ca, 'utf8') }
}

/** Keeps what the other host told. */
export function accessOf(config: Config, { ca, user, password }: JoinAnswer['store']): StoreAccess {
  if (ca === null) return { user, password, ca: null }
  const path = join(config.state, 'store-ca.pem')
  replacePrivate(
    path,
    ca,
    (file, why, cause) => new DroverError('STATE_UNUSABLE', `${file}: ${why}`, { cause }),
  )
  return { user, password, ca: path }
}
