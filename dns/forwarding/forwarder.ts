/**
 * Asks the upstreams what is not ours: the cache first, equal questions once, the healthiest upstream first and the
 * next beside it when it is slow. Sockets are behind `Exchange`.
 */
import type { Clock, Random } from '../../model/ports.ts'
import { type Millis, millis, seconds } from '../../model/time.ts'
import { flags, headerLength, questionKey, type Reply, rcodes, readReply, types } from '../codec/message.ts'
import type { Name } from '../codec/name.ts'
import { type Explanation, questionBytes, questionFor } from '../codec/writer.ts'
import { Cache, type CacheLimits, refreshAt, type Stored, storedReply } from './cache.ts'
import { hedge } from './hedge.ts'
import { Loops } from './loops.ts'
import { mixedCase } from './mixed-case.ts'
import { UpstreamCookies } from './upstream-cookies.ts'
import type { Upstream, UpstreamStatus, Upstreams } from './upstreams.ts'

export interface Exchange {
  /**
   * Sends one question and resolves with the first answer that `read` accepts; rejects when that cannot be had or
   * `signal` aborts. Each question comes from a port of its own.
   */
  ask(upstream: Upstream, message: Uint8Array, how: Asking): Promise<Reply>
}

export interface Asking {
  readonly transport: 'udp' | 'tcp'
  readonly read: (bytes: Uint8Array) => Reply | undefined
  readonly signal: AbortSignal
}

export interface ForeignQuestion {
  /** Question section: name, type, class. */
  readonly question: Uint8Array
  readonly secure: boolean
  readonly checkingDisabled: boolean
}

export type Outcome =
  | { readonly is: 'reply'; readonly stored: Stored; readonly explanation?: Explanation }
  | { readonly is: 'failed'; readonly explanation: Explanation }

export interface ForwarderOptions {
  readonly cache: CacheLimits
  /** Questions under way at one time. */
  readonly concurrency: number
}

/** A little under the 5 s after which resolvers of C libraries repeat themselves. */
const deadline = millis(4500)
/** One upstream, one attempt. */
const attemptTime = seconds(2)
/** What a name of ours may be kept waiting for the world's opinion. */
const patience = millis(500)
/** An upstream that had this long and was overtaken is slow. */
const fair = millis(100)
const udpSize = 1232 // DNS flag day 2020

/** RFC 8767 5: a client waits no longer for something newer than what we have. */
const stalePatience = millis(1800)
/** RFC 9520 3.2: nobody is asked again at once after all have failed. */
const failureTime = seconds(1)
const maxFailures = 10_000

// RFC 8914 4.
const stale = { code: 3, text: 'no upstream resolver answers: this is an old answer' }
const nobodyToAsk = { code: 0, text: 'no upstream resolver is known' }
const nobodyAnswers = { code: 22, text: 'no upstream resolver answers' }
const tooMany = { code: 0, text: 'too many questions under way' }

export class Forwarder {
  readonly #deps: {
    readonly clock: Clock
    readonly random: Random
    readonly exchange: Exchange
    readonly upstreams: Upstreams
  }
  readonly #options: ForwarderOptions
  readonly #cache: Cache
  readonly #open = new Map<string, Promise<Outcome>>()
  readonly #loops: Loops
  readonly #cookies: UpstreamCookies
  readonly #failures = new Map<string, { readonly until: Millis; readonly outcome: Outcome }>()

  constructor(
    deps: { clock: Clock; random: Random; exchange: Exchange; upstreams: Upstreams },
    options: ForwarderOptions,
  ) {
    this.#deps = deps
    this.#options = options
    this.#cache = new Cache(options.cache)
    this.#loops = new Loops(deps.random)
    this.#cookies = new UpstreamCookies(deps.random)
  }

  get cached(): number {
    return this.#cache.size
  }

  status(): readonly UpstreamStatus[] {
    return this.#deps.upstreams.status()
  }

  now(): Millis {
    return this.#deps.clock.boot()
  }

  /** Whether waiting for an upstream makes sense. */
  hopeful(): boolean {
    return this.#deps.upstreams.hopeful()
  }

  /** Other upstreams may give other answers. */
  use(list: readonly Upstream[]): void {
    this.#deps.upstreams.use(list)
    this.#cache.clear()
    this.#failures.clear()
  }

  /** Asks each upstream something that comes back to us if it forwards to us. */
  probeLoops(): void {
    const upstreams = this.#deps.upstreams.status()
    for (const [name, upstream] of this.#loops.namesFor(upstreams)) {
      const question = questionBytes(name, types.TXT)
      const asked = { question, secure: false, checkingDisabled: false }
      const attempt = () => this.#attempt(upstream, asked, new AbortController().signal)
      // What it answers does not matter; one that is silent twice is known to be down before anybody waits for it.
      attempt()
        .catch(attempt)
        .catch(() => {})
    }
  }

  /** Whether a question is one of ours that came back; whoever sent it is not asked any more. */
  cameBack(name: Name): boolean {
    const upstream = this.#loops.upstreamOf(name)
    if (upstream !== undefined) this.#deps.upstreams.leadsBack(upstream)
    return upstream !== undefined
  }

  /** What is known without asking; asked for near its end, it is fetched anew beside. */
  known(asked: ForeignQuestion): Stored | undefined {
    const stored = this.#cache.find(cacheKey(asked), this.now())
    if (stored !== undefined && this.now() >= refreshAt(stored)) void this.#askOnce(asked)
    return stored
  }

  /** Never rejects. What is old is given when nothing newer is to be had in time. */
  ask(asked: ForeignQuestion): Promise<Outcome> {
    const old = this.#cache.findStale(cacheKey(asked), this.now())
    const fetched = this.#askOnce(asked)
    if (old === undefined) return fetched
    const better: Outcome = { is: 'reply', stored: old, explanation: stale }
    if (!this.hopeful()) return Promise.resolve(better)
    return this.#within(stalePatience, fetched, better).then((outcome) => {
      const useful = outcome.is === 'reply' && isFinal(outcome.stored.reply)
      return useful ? outcome : better
    })
  }

  /** Asks the upstreams, once for equal questions. */
  #askOnce(asked: ForeignQuestion): Promise<Outcome> {
    const key = cacheKey(asked)
    const open = this.#open.get(key)
    if (open !== undefined) return open
    const failure = this.#failures.get(key)
    if (failure !== undefined && this.now() < failure.until) return Promise.resolve(failure.outcome)
    if (this.#open.size >= this.#options.concurrency)
      return Promise.resolve({ is: 'failed', explanation: tooMany })
    const outcome = this.#resolve(asked, key)
      .then((found) => this.#noteFailure(key, found))
      .finally(() => this.#open.delete(key))
    this.#open.set(key, outcome)
    return outcome
  }

  #noteFailure(key: string, outcome: Outcome): Outcome {
    this.#failures.delete(key)
    if (outcome.is === 'reply' && isFinal(outcome.stored.reply)) return outcome
    if (this.#failures.size >= maxFailures) this.#failures.clear()
    this.#failures.set(key, { until: millis(this.now() + failureTime), outcome })
    return outcome
  }

  /** As `ask`, for somebody who knows another answer and does not wait long for this one. */
  askFor(asked: ForeignQuestion): Promise<Outcome> {
    return this.#within(patience, this.ask(asked), { is: 'failed', explanation: nobodyAnswers })
  }

  #within(time: Millis, asking: Promise<Outcome>, otherwise: Outcome): Promise<Outcome> {
    return new Promise((resolve) => {
      const impatient = this.#deps.clock.after(time, () => resolve(otherwise))
      void asking.then((outcome) => {
        impatient.cancel()
        resolve(outcome)
      })
    })
  }

  async #resolve(asked: ForeignQuestion, key: string): Promise<Outcome> {
    const { attempts, probes } = this.#deps.upstreams.plan(this.now())
    if (attempts.length === 0) return { is: 'failed', explanation: nobodyToAsk }
    const trials = attempts.map(({ upstream, after }) => ({
      after,
      run: (signal: AbortSignal) => this.#attempt(upstream, asked, signal),
    }))
    // Their failing is noted and otherwise of no interest.
    for (const probe of probes) this.#attempt(probe, asked, new AbortController().signal).catch(() => {})
    const reply = await hedge(this.#deps.clock, trials, { deadline, isGood: isFinal })
    if (reply === undefined) return { is: 'failed', explanation: nobodyAnswers }
    const stored = storedReply(reply, headerLength + asked.question.length, this.now())
    this.#cache.keep(key, stored)
    return { is: 'reply', stored }
  }

  /** One upstream: again without EDNS if it does not know that, over TCP if the answer was cut. */
  async #attempt(upstream: Upstream, asked: ForeignQuestion, signal: AbortSignal): Promise<Reply> {
    const { clock, upstreams } = this.#deps
    const began = clock.boot()
    const limit = new AbortController()
    const timer = clock.after(attemptTime, () => limit.abort())
    const either = AbortSignal.any([signal, limit.signal])
    try {
      let reply = await this.#exchange(upstream, asked, { transport: 'udp', signal: either })
      if (reply.rcode === rcodes.FORMERR && upstreams.takesEdns(upstream)) {
        upstreams.chokedOnEdns(upstream)
        reply = await this.#exchange(upstream, asked, { transport: 'udp', signal: either })
      }
      // It has just given the cookie that it wants to see.
      if (reply.rcode === rcodes.BADCOOKIE)
        reply = await this.#exchange(upstream, asked, { transport: 'udp', signal: either })
      upstreams.answered(upstream, millis(clock.boot() - began))
      if (this.#suffices(upstream, reply)) return reply
      // Other letters, or no cookie, are a forger's or a careless server's: over TCP it is not the former.
      const sure = await this.#exchange(upstream, asked, { transport: 'tcp', signal: either })
      if (!sure.exact) upstreams.changedCase(upstream)
      if (this.#cookies.judge(upstream, sure.cookie) === 'missing') this.#cookies.forget(upstream)
      return sure
    } catch (error) {
      this.#failed(upstream, millis(clock.boot() - began), signal)
      throw error
    } finally {
      timer.cancel()
    }
  }

  /** Whether a datagram is whole and by whom it seems to be. */
  #suffices(upstream: Upstream, reply: Reply): boolean {
    if ((reply.flags & flags.TC) !== 0 || reply.rcode === rcodes.BADCOOKIE) return false
    if (!reply.exact && this.#deps.upstreams.keepsCase(upstream)) return false
    return this.#cookies.judge(upstream, reply.cookie) === 'good'
  }

  /** One that was overtaken soon after it was asked has done nothing wrong. */
  #failed(upstream: Upstream, took: Millis, signal: AbortSignal): void {
    if (!signal.aborted || took >= fair) this.#deps.upstreams.silent(upstream, this.now())
  }

  #exchange(
    upstream: Upstream,
    asked: ForeignQuestion,
    how: { transport: 'udp' | 'tcp'; signal: AbortSignal },
  ): Promise<Reply> {
    const [high = 0, low = 0] = this.#deps.random.bytes(2)
    const id = high * 256 + low
    const takesEdns = this.#deps.upstreams.takesEdns(upstream)
    const edns = takesEdns ? { edns: { size: udpSize, cookie: this.#cookies.shown(upstream) } } : {}
    const keeps = this.#deps.upstreams.keepsCase(upstream)
    const question = keeps ? mixedCase(asked.question, this.#deps.random) : asked.question
    const message = questionFor(question, { ...asked, id, ...edns })
    const expected = { id, question }
    const read = (bytes: Uint8Array): Reply | undefined => {
      const reply = readReply(bytes, expected)
      const forged = reply !== undefined && this.#cookies.judge(upstream, reply.cookie) === 'forged'
      return forged ? undefined : reply
    }
    return this.#deps.exchange.ask(upstream, message, { ...how, read })
  }
}

/** The others may know better than one that says SERVFAIL or REFUSED. */
const isFinal = ({ rcode }: Reply): boolean => rcode === rcodes.NOERROR || rcode === rcodes.NXDOMAIN

/** What changes the answer; who asks does not. */
const cacheKey = ({ question, secure, checkingDisabled }: ForeignQuestion): string =>
  `${secure ? 's' : '-'}${checkingDisabled ? 'c' : '-'}${questionKey(question)}`
