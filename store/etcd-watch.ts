/**
 * A watch on etcd that never dies silently. The stream is asked for a sign every second, and beside it a read
 * that needs a majority of the members, so that a member cut off from the others counts as gone too. What gives
 * no sign for three seconds is thrown away and redialled every second, at the next endpoint.
 */
import { DroverError } from '../model/errors.ts'
import { type Clock, type Log, sleep, type Timer } from '../model/ports.ts'
import { millis } from '../model/time.ts'
import type { Channel } from './channel.ts'
import { type EtcdClient, type IWatchResponse, isCompacted, type WatchStream } from './etcd-client.ts'
import { changeOf, rangeOf } from './etcd-format.ts'
import { listing } from './etcd-list.ts'
import type { EtcdPool } from './etcd-pool.ts'
import { EtcdWitness } from './etcd-witness.ts'
import type { Update } from './store.ts'

interface Deps {
  readonly clock: Clock
  readonly log: Log
  readonly pool: EtcdPool
  readonly channel: Channel
}

const pingEvery = millis(1000)
const redialEvery = millis(1000)
const silence = millis(3000)
const answerLimit = millis(2000)

/** How a stream ended: a snapshot is needed to go on, or the endpoint is no good, or nobody reads any more. */
type Ending = 'history lost' | 'stopped' | DroverError

export class EtcdWatch {
  readonly #deps: Deps
  readonly #prefix: string
  /** Everything up to this revision was delivered. */
  #position: number | undefined
  readonly #witness = new EtcdWitness()
  #stale = false
  #failure: DroverError | undefined
  #staleTimer: Timer

  constructor(deps: Deps, prefix: string, after: number | undefined) {
    this.#deps = deps
    this.#prefix = prefix
    this.#position = after
    this.#staleTimer = this.#staleLater()
  }

  /** Pushes updates into the channel until `signal` aborts; never rejects. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, pool } = this.#deps
    while (!signal.aborted) {
      const began = clock.boot()
      const client = pool.client()
      const ending = await this.#follow(client, signal)
      if (ending === 'history lost') this.#position = undefined
      if (!(ending instanceof DroverError)) continue
      this.#failure = ending
      pool.failed(client)
      const wait = millis(redialEvery - (clock.boot() - began))
      if (wait > 0) await sleep(clock, wait, signal).catch(() => {})
    }
    this.#staleTimer.cancel()
  }

  async #follow(client: EtcdClient, signal: AbortSignal): Promise<Ending> {
    try {
      if (this.#position === undefined) await this.#snapshot(client)
      else if (!(await this.#witness.stands(client, answerLimit))) return 'history lost'
      return signal.aborted ? 'stopped' : await this.#stream(client, signal)
    } catch (thrown) {
      if (isCompacted(thrown)) return 'history lost'
      if (thrown instanceof DroverError) return thrown
      throw thrown
    }
  }

  async #snapshot(client: EtcdClient): Promise<void> {
    const found = await listing(client, this.#prefix, answerLimit)
    this.#position = found.revision
    this.#deliver({ is: 'snapshot', ...found })
  }

  /** Resolves when the stream is over, for whatever reason. */
  #stream(client: EtcdClient, signal: AbortSignal): Promise<Ending> {
    return new Promise((resolve) => {
      let stream: WatchStream | undefined
      const timers = new AbortController()
      const end = (ending: Ending) => {
        timers.abort()
        signal.removeEventListener('abort', abort)
        stream?.cancel()
        resolve(ending)
      }
      const abort = () => end('stopped')
      signal.addEventListener('abort', abort, { once: true })
      const heard = this.#watchSilence(timers.signal, () => end(silent(client)))
      const received = (response: IWatchResponse) => {
        if (timers.signal.aborted) return
        heard()
        const ending = this.#accept(client, response)
        if (ending !== undefined) end(ending)
      }
      client
        .watch({ received, ended: end })
        .then((opened) => {
          stream = opened
          if (timers.signal.aborted) return opened.cancel()
          opened.send(this.#request())
          return this.#ping(client, opened, timers.signal)
        })
        .catch(end)
    })
  }

  #request() {
    const start_revision = String(this.#known + 1)
    return { create_request: { ...rangeOf(this.#prefix), start_revision } }
  }

  /** Calls `give up` when the returned function was not called for too long. */
  #watchSilence(signal: AbortSignal, giveUp: () => void): () => void {
    const { clock } = this.#deps
    let timer = clock.after(silence, giveUp)
    signal.addEventListener('abort', () => timer.cancel(), { once: true })
    return () => {
      timer.cancel()
      if (!signal.aborted) timer = clock.after(silence, giveUp)
    }
  }

  /** Rejects when the endpoint cannot answer for the whole of etcd. */
  async #ping(client: EtcdClient, stream: WatchStream, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const key = Buffer.from(this.#prefix || '\0')
      const answer = await client.range({ key, count_only: true }, answerLimit)
      if (signal.aborted) return
      if (Number(answer.header.revision) < this.#known) throw this.#wentBack(client)
      if (this.#stale) this.#deliver({ is: 'events', revision: this.#known, changes: [] })
      this.#reached()
      stream.send({ progress_request: {} })
      await sleep(this.#deps.clock, pingEvery, signal).catch(() => {})
    }
  }

  /** Why the stream cannot go on from where we are; undefined when it can. */
  #accept(client: EtcdClient, response: IWatchResponse): Ending | undefined {
    const revision = Number(response.header.revision)
    if (response.canceled) {
      if (response.compact_revision !== '0') return 'history lost'
      return new DroverError('STORE_UNAVAILABLE', `${client.endpoint}: ${response.cancel_reason}`)
    }
    if (response.created && revision < this.#known) return this.#wentBack(client)
    if (response.events.length === 0) return undefined
    this.#position = revision
    this.#deliver({ is: 'events', revision, changes: response.events.map(changeOf) })
    return undefined
  }

  get #known(): number {
    return this.#position ?? 0
  }

  /** The endpoint lags behind the others, or etcd was restored from a backup: only a snapshot tells. */
  #wentBack(client: EtcdClient): DroverError {
    this.#position = undefined
    return new DroverError('STORE_UNAVAILABLE', `${client.endpoint}: its history went back`)
  }

  #deliver(update: Update): void {
    if (this.#stale) this.#deps.log.info('the store answers again')
    this.#stale = false
    this.#reached()
    this.#witness.seen(update)
    this.#deps.channel.push(update)
  }

  #reached(): void {
    this.#staleTimer.cancel()
    this.#staleTimer = this.#staleLater()
  }

  #staleLater(): Timer {
    return this.#deps.clock.after(silence, () => {
      if (this.#stale) return
      this.#stale = true
      this.#deps.log.warn('the store does not answer', { err: this.#failure?.message })
      this.#deps.channel.push({ is: 'stale' })
    })
  }
}

const silent = (client: EtcdClient): DroverError =>
  new DroverError('STORE_UNAVAILABLE', `${client.endpoint}: silent`, {
    fields: { endpoint: client.endpoint },
  })
