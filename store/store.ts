/**
 * Shared truth. One interface, three implementations (memory, embedded, etcd), one compliance suite.
 * A store that cannot be reached rejects with STORE_UNAVAILABLE; it never hangs longer than its own deadline.
 */
export interface Entry {
  readonly key: string
  readonly value: Uint8Array
  /** The store's revision at which the key was last written. */
  readonly revision: number
}

export interface Listing {
  readonly revision: number
  readonly entries: readonly Entry[]
}

export type Condition =
  | { readonly key: string; readonly is: 'absent' }
  | { readonly key: string; readonly is: 'present' }
  | { readonly key: string; readonly is: 'revision'; readonly revision: number }
  /** No key at all under the prefix. */
  | { readonly prefix: string; readonly is: 'empty' }

export type Write =
  | { readonly is: 'put'; readonly key: string; readonly value: Uint8Array; readonly lease?: Lease }
  | { readonly is: 'delete'; readonly key: string }

export type Outcome =
  | { readonly is: 'done'; readonly revision: number }
  | { readonly is: 'refused'; readonly revision: number }

/** A promise to be alive. Keys written with it vanish when it ends. */
export interface Lease {
  readonly id: string
  /** Prolongs it once by its full length; false when the store has already ended it. */
  keepAlive(): Promise<boolean>
  revoke(): Promise<void>
}

export type Change =
  | { readonly is: 'put'; readonly entry: Entry }
  | { readonly is: 'delete'; readonly key: string; readonly revision: number }

/**
 * What a watch yields. After compaction, reconnect or restart the consumer simply gets a snapshot.
 * `stale` says that the store has been out of reach since then; the next `snapshot` or `events` ends it
 * (also when nothing changed: then with an empty list of changes).
 */
export type Update =
  | { readonly is: 'snapshot'; readonly revision: number; readonly entries: readonly Entry[] }
  | { readonly is: 'events'; readonly revision: number; readonly changes: readonly Change[] }
  | { readonly is: 'stale' }

export interface WatchOptions {
  /** Continue after this revision; without it the first update is a snapshot. */
  readonly after?: number
  readonly signal: AbortSignal
}

export interface Store {
  get(key: string): Promise<Entry | undefined>
  list(prefix: string): Promise<Listing>
  /** All conditions hold and all writes happen at one revision, or nothing happens. */
  transact(conditions: readonly Condition[], writes: readonly Write[]): Promise<Outcome>
  /** A lease of `ttl` seconds. */
  grant(ttl: number): Promise<Lease>
  /** Never ends by itself before `signal` aborts, and never dies silently. */
  watch(prefix: string, options: WatchOptions): AsyncIterable<Update>
  close(): Promise<void>
}
