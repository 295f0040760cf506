/**
 * What the daemon's thread and the metadata thread tell each other.
 */
import type { Delta } from './delta.ts'

export type ToWorker =
  | { readonly is: 'delta'; readonly delta: Delta }
  | { readonly is: 'stats' }
  | { readonly is: 'close' }

export interface MetadataStats {
  /** The revision of the store that answers are made from; 0 before the first. */
  readonly revision: number
  /** The `version` that clients see. */
  readonly version: string
  readonly requests: number
  /** Answers of 400 and above. */
  readonly refused: number
  /** Long polls that wait now. */
  readonly waiting: number
}

export type FromWorker =
  | { readonly is: 'listening'; readonly port: number }
  | { readonly is: 'refused'; readonly why: string }
  | { readonly is: 'stats'; readonly stats: MetadataStats }
  /** A snapshot could not be shown; the one before it stays. */
  | { readonly is: 'failed'; readonly revision: number; readonly err: unknown }

export interface WorkerOptions {
  readonly address: string
  readonly port: number
}
