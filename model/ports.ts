/**
 * What pure code may ask of the world. Implementations are made by composition roots and by tests.
 */
import type { Instant, Millis } from './time.ts'

export interface Timer {
  cancel(): void
}

export interface Clock {
  /** Wall time. */
  now(): Instant
  /** Time since some fixed point, never going back; keeps counting while the machine is suspended. */
  boot(): Millis
  /** Runs `action` once after `delay`; the timer does not keep the process alive. */
  after(delay: Millis, action: () => void): Timer
}

export interface Random {
  bytes(length: number): Uint8Array
}

/** Field names are listed in docs/logging.md; messages are constant sentences. */
export type LogFields = Readonly<Record<string, unknown>>

export interface Log {
  debug(message: string, fields?: LogFields): void
  info(message: string, fields?: LogFields): void
  warn(message: string, fields?: LogFields): void
  error(message: string, fields?: LogFields): void
  child(fields: LogFields): Log
}

export type Labels = Readonly<Record<string, string>>

export interface Meter {
  /** Adds to a counter of docs/metrics.md. */
  count(name: string, by?: number, labels?: Labels): void
  /** Sets a gauge of docs/metrics.md. */
  gauge(name: string, value: number, labels?: Labels): void
  /** Records one value, in seconds, of a histogram of docs/metrics.md. */
  observe(name: string, seconds: number, labels?: Labels): void
}

/** Sleeps on a clock; rejects when `signal` aborts. */
export function sleep(clock: Clock, delay: Millis, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason)
    const stop = (): void => {
      timer.cancel()
      reject(signal?.reason)
    }
    const timer = clock.after(delay, () => {
      signal?.removeEventListener('abort', stop)
      resolve()
    })
    signal?.addEventListener('abort', stop, { once: true })
  })
}

/** Wraps the body of a record for one key of the store in a signed envelope of this host. */
export interface Sealer {
  seal(key: string, body: object): Uint8Array
}

/** A sealer that keeps account of the claims of this host. */
export interface ClaimSealer extends Sealer {
  /** What was sealed last for the key did not get into the store, or is given up. */
  unseal(key: string): void
  /** Keys of claims that this host holds and the store has lost: they are to be written again. */
  missing(): ReadonlySet<string>
}

/** Durable facts of one host, read at start and written with fsync before they are acted on. */
export interface Ledger {
  entries(): ReadonlyMap<string, string>
  /** All changes or none; `undefined` deletes. Returns when they are on disk. */
  write(changes: ReadonlyMap<string, string | undefined>): void
  close(): void
}
