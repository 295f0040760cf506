/**
 * A typed client of the metadata service, published as `drover/metadata`: values by path, long polls as an async
 * iterable, retries with backoff. Speaks only what is in the contract, so it reads Rancher's own service as well.
 * Keeps no state between calls and checks no shapes: what the service answers is what the caller gets.
 */
import { setTimeout as pause } from 'node:timers/promises'
import { MetadataError } from './error.ts'
import { heldValue, pollQuery, type Seen } from './poll.ts'
import { delayBefore } from './retry.ts'
import type { ValueAt } from './value-at.ts'

export { MetadataError, type MetadataErrorCode } from './error.ts'
export type * from './objects.ts'
export type { ValueAt } from './value-at.ts'

export interface MetadataClientOptions {
  /** Where the service is. Default `http://rancher-metadata`. */
  readonly url?: string | URL
  /** Default `latest`. 2015-07-25 is not one of them: it has names where the types have objects. */
  readonly version?: 'latest' | '2016-07-29' | '2015-12-19'
  /** Milliseconds for one request, in addition to what a long poll may wait. Default 10,000. */
  readonly timeout?: number
  /** How often a failed request is repeated before `get` and `find` reject. Default 5. */
  readonly retries?: number
  /** Told of every failure that another try follows, with the milliseconds until then. */
  readonly onRetry?: (error: MetadataError, delay: number) => void
}

export interface CallOptions {
  /** Ends the call, which then rejects with the signal's reason. */
  readonly signal?: AbortSignal
}

export interface WatchOptions extends CallOptions {
  /** Seconds of one long poll, from 1 to 120. Default 60. */
  readonly maxWait?: number
}

/** A path below the version, each segment escaped as by `encodeURIComponent`. */
export type Path = `/${string}`

interface Reply extends Seen {
  readonly text: string
  /** Of everything that the service shows, from before this reply; undefined where nobody asked. */
  readonly version?: string
  /** A long poll that did not wait. */
  readonly hasty: boolean
}

interface Question {
  readonly signal?: AbortSignal | undefined
  /** Seconds that the service may wait. */
  readonly wait?: number
}

/** A long poll that is answered sooner than this, in milliseconds, did not wait. */
const atOnce = 500

export class MetadataClient {
  readonly #base: string
  readonly #timeout: number
  readonly #retries: number
  readonly #onRetry: (error: MetadataError, delay: number) => void

  constructor(options: MetadataClientOptions = {}) {
    const { url = 'http://rancher-metadata', version = 'latest' } = options
    this.#base = `${String(url).replace(/\/+$/, '')}/${version}`
    this.#timeout = options.timeout ?? 10_000
    this.#retries = options.retries ?? 5
    this.#onRetry = options.onRetry ?? (() => undefined)
  }

  /** The value at a path. Rejects with a MetadataError: `NOT_FOUND`, or another code after the last try. */
  async get<const P extends Path>(path: P, options: CallOptions = {}): Promise<ValueAt<P>> {
    const value = await this.find(path, options)
    if (value !== undefined) return value
    throw new MetadataError('NOT_FOUND', `nothing is at ${this.#base}${path}`)
  }

  /** Like `get`, but undefined where nothing is. */
  async find<const P extends Path>(path: P, options: CallOptions = {}): Promise<ValueAt<P> | undefined> {
    const { signal } = options
    const reply = await this.#retried(() => this.#ask(path, { signal }), this.#retries, signal)
    return reply.value as ValueAt<P> | undefined
  }

  /** The value at a path as soon as there is one: a container that just started may have to wait for itself. */
  async when<const P extends Path>(path: P, options: WatchOptions = {}): Promise<ValueAt<P>> {
    for await (const value of this.watch(path, options)) return value
    throw new MetadataError('NOT_FOUND', `nothing came to ${this.#base}${path}`)
  }

  /**
   * The value at a path, now and after every change, by long polls that the change itself ends. Nothing comes while
   * nothing is at the path. Failures are retried for ever; `break` ends it, or the signal, whose reason it throws.
   */
  async *watch<const P extends Path>(path: P, options: WatchOptions = {}): AsyncGenerator<ValueAt<P>, void> {
    const { signal, maxWait = 60 } = options
    let seen: Reply | undefined
    for (let hasty = 0; ; ) {
      const former = seen
      const next = (): Promise<Reply> => this.#next(path, former, { signal, wait: maxWait })
      const reply = await this.#retried(next, Number.POSITIVE_INFINITY, signal)
      const isNews = reply.text !== seen?.text
      seen = reply
      if (isNews && reply.value !== undefined) yield reply.value as ValueAt<P>
      // A service that does not wait is not asked in a tight loop.
      hasty = reply.hasty && !isNews ? hasty + 1 : 0
      if (hasty > 0) await rest(delayBefore(hasty, Math.random()), signal)
    }
  }

  /** What is at the path after a change, or at the end of one long poll. */
  async #next(path: Path, seen: Reply | undefined, { signal, wait = 60 }: Question): Promise<Reply> {
    if (seen === undefined) return this.#ask(path, { signal })
    const held = heldValue(seen)
    if (held !== undefined) return this.#ask(`${path}${pollQuery(held, wait)}`, { signal, wait })
    const known = seen.version
    const asked =
      known === undefined
        ? await this.#ask('/version', { signal })
        : await this.#ask(`/version${pollQuery(known, wait)}`, { signal, wait })
    const version = String(asked.value)
    return { ...(await this.#ask(path, { signal })), version, hasty: asked.hasty }
  }

  async #retried<T>(action: () => Promise<T>, retries: number, signal: AbortSignal | undefined): Promise<T> {
    for (let failures = 1; ; failures += 1) {
      signal?.throwIfAborted()
      try {
        return await action()
      } catch (error) {
        if (!(error instanceof MetadataError) || !error.temporary || failures > retries) throw error
        const delay = delayBefore(failures, Math.random())
        this.#onRetry(error, delay)
        await rest(delay, signal)
      }
    }
  }

  /** One request. What is not there is a reply without a value. */
  async #ask(target: string, { signal, wait }: Question): Promise<Reply> {
    const url = `${this.#base}${target}`
    const limit = AbortSignal.timeout(this.#timeout + (wait ?? 0) * 1000)
    const began = performance.now()
    try {
      const response = await fetch(url, {
        headers: { accept: 'application/json' },
        signal: signal === undefined ? limit : AbortSignal.any([signal, limit]),
      })
      const text = await response.text()
      const hasty = wait !== undefined && performance.now() - began < Math.min(atOnce, wait * 1000)
      return { text, value: contentOf(url, response.status, text), etag: response.headers.get('etag'), hasty }
    } catch (error) {
      if (error instanceof MetadataError) throw error
      signal?.throwIfAborted()
      if (limit.aborted) throw new MetadataError('TIMEOUT', `no answer in time from ${url}`, { cause: error })
      throw new MetadataError('UNREACHABLE', `${url} cannot be reached`, { cause: error })
    }
  }
}

/** Undefined where nothing is. */
function contentOf(url: string, status: number, text: string): unknown {
  if (status === 408 || status === 429 || status >= 500) {
    throw new MetadataError('BUSY', `${url} answers ${status}`)
  }
  const value = parsed(text)
  if (status === 200 && value !== undefined) return value
  const { message } = Object(value) as { readonly message?: unknown }
  if (status === 404 && message === 'Invalid version') {
    throw new MetadataError('NOT_READY', `${url} has nothing to show yet`)
  }
  if (status === 404 && typeof message === 'string') return undefined
  throw new MetadataError('UNEXPECTED', `${url} answers ${status}, which is not the metadata service`)
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

async function rest(delay: number, signal: AbortSignal | undefined): Promise<void> {
  await pause(delay, undefined, signal === undefined ? {} : { signal }).catch((error: unknown) => {
    signal?.throwIfAborted()
    throw error
  })
}
