/**
 * What the daemon's thread and the metadata thread tell each other.
 */
import type { Cidr } from '../model/ip.ts'
import type { Delta } from './delta.ts'
import type { ServerStats } from './server.ts'
import type { Scope } from './view.ts'

export type ToWorker =
  | { readonly is: 'delta'; readonly delta: Delta }
  | { readonly is: 'stats' }
  | { readonly is: 'close' }

export interface MetadataStats extends ServerStats {
  /** The revision of the store that answers are made from; 0 before the first. */
  readonly revision: number
  /** The `version` that clients see. */
  readonly version: string
}

export type FromWorker =
  /** `fd`: the socket, for a successor to inherit. */
  | { readonly is: 'listening'; readonly port: number; readonly fd: number }
  | { readonly is: 'refused'; readonly why: string }
  | { readonly is: 'stats'; readonly stats: MetadataStats }
  /** A snapshot could not be shown; the one before it stays. */
  | { readonly is: 'failed'; readonly revision: number; readonly err: unknown }

export interface WorkerOptions {
  readonly address: string
  readonly port: number
  /** A socket that a predecessor has bound to this address and port. */
  readonly inherited?: number | undefined
  /** Connections that one address may have open. */
  readonly connections: number
  /** Proxies whose X-Forwarded-For counts. */
  readonly trustedProxies: readonly Cidr[]
  /** What a container sees of the environment. */
  readonly scope: Scope
}
