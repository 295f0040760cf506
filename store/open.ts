/**
 * From the operator's words to a store: `embedded`, `etcd://host:2379,host:2379`, or `etcds://…` for TLS.
 * Nothing is asked of etcd yet: whether it answers is seen at the first request. Its client is loaded for who uses it
 * only: it takes 4 MiB and 60 ms.
 */
import { readFileSync } from 'node:fs'
import { DroverError, reasonOf } from '../model/errors.ts'
import type { Clock, Log } from '../model/ports.ts'
import { EmbeddedStore } from './embedded.ts'
import type { EtcdAccess, EtcdTls } from './etcd-client.ts'
import type { Store } from './store.ts'

export interface StoreOptions {
  /** `embedded` or `etcd://host:port,…`. */
  readonly url: string
  /** File of the embedded store. */
  readonly path: string
  /** Paths of PEM files. */
  readonly tls?: {
    readonly ca?: string | undefined
    readonly cert?: string | undefined
    readonly key?: string | undefined
  }
  /** What counts towards `etcds://` where `tls` names no CA. */
  readonly own?: (() => EtcdTls) | undefined
  readonly user?: string | undefined
  readonly password?: string | undefined
}

export async function openStore(
  options: StoreOptions,
  deps: { readonly clock: Clock; readonly log: Log },
): Promise<Store> {
  const place = parseStoreUrl(options.url)
  if (place.is === 'embedded') return new EmbeddedStore(deps, { path: options.path })
  const access = accessOf(options, place.tls)
  const { EtcdStore } = await import('./etcd.ts')
  return new EtcdStore(deps, { endpoints: place.endpoints, ...access })
}

type StorePlace =
  | { readonly is: 'embedded' }
  | { readonly is: 'etcd'; readonly endpoints: readonly string[]; readonly tls: boolean }

export function parseStoreUrl(url: string): StorePlace {
  if (url === 'embedded') return { is: 'embedded' }
  const [, scheme, list] = /^(etcds?):\/\/([^/]+)\/?$/.exec(url) ?? []
  if (list === undefined) throw new DroverError('STORE_URL', JSON.stringify(url))
  return { is: 'etcd', endpoints: list.split(',').map(endpointOf), tls: scheme === 'etcds' }
}

/** `host`, `host:port`, `[v6]` or `[v6]:port`; etcd's client port where none is given. */
function endpointOf(text: string): string {
  const [, host, port = '2379'] = /^(\[[0-9a-fA-F:.]+\]|[\w.-]+)(?::(\d{1,5}))?$/.exec(text) ?? []
  if (host === undefined || Number(port) < 1 || Number(port) > 65535)
    throw new DroverError('STORE_URL', `${JSON.stringify(text)} is not host:port`)
  return `${host}:${port}`
}

function accessOf({ tls = {}, own, user, password }: StoreOptions, wantsTls: boolean): EtcdAccess {
  const { ca, cert, key } = tls
  if ((cert === undefined) !== (key === undefined))
    throw new DroverError('CONFIG_INVALID', 'store.cert and store.key go together')
  if (cert !== undefined && ca === undefined)
    throw new DroverError('CONFIG_INVALID', 'store.cert needs store.ca beside it')
  const secure = wantsTls || ca !== undefined
  const named = {
    ...(ca !== undefined && { ca: pemOf(ca) }),
    ...(cert !== undefined && { cert: pemOf(cert) }),
    ...(key !== undefined && { key: pemOf(key) }),
  }
  return {
    ...(secure && { tls: ca === undefined && own !== undefined ? own : named }),
    ...(user !== undefined && { user }),
    ...(password !== undefined && { password }),
  }
}

function pemOf(path: string): Uint8Array {
  try {
    return readFileSync(path)
  } catch (thrown) {
    throw new DroverError('CONFIG_INVALID', `certificates of the store: ${reasonOf(thrown)}`, {
      cause: thrown,
    })
  }
}
