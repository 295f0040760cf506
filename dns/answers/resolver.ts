/**
 * One question in, one answer out, bytes both: who asks, what the zone says, what Docker's networks say, what the
 * upstreams say, in this order. Local answers come at once, the others as promises. No sockets, and never an
 * exception for what a client or an upstream sent.
 */
import type { Ipv4 } from '../../model/ip.ts'
import { answeredCookie, type CookieDeps } from '../codec/cookies.ts'
import { idleTime } from '../codec/frames.ts'
import { flags, isInternet, nameOf, type Query, rcodes, readQuery, types } from '../codec/message.ts'
import { isWithin, type Name } from '../codec/name.ts'
import { type Body, bodyOf, type Explanation, questionBytes, refusal, sizeLimit } from '../codec/writer.ts'
import { answersAt, bodyAt, keptOf, type Stored } from '../forwarding/cache.ts'
import type { Forwarder, Outcome } from '../forwarding/forwarder.ts'
import type { Forwarders } from '../forwarding/forwarders.ts'
import { reverseRoot } from '../zone/reverse.ts'
import type { Asker, Zone } from '../zone/targets.ts'
import { everybody } from '../zone/views.ts'
import { Asking, type Told, Turns } from './asking.ts'
import { ipv4Bytes, type Local, localTtl } from './authority.ts'
import type { CompiledAnswers } from './compiled.ts'
import type { EngineNames } from './engine-names.ts'
import { Perspectives } from './perspectives.ts'
import type { QuestionLog } from './question-log.ts'
import { noResults, type Result } from './results.ts'
import { type SearchMode, turnOf } from './search.ts'
import { AnswerTable } from './table.ts'

export interface ResolverOptions {
  readonly search: SearchMode
  /** The domain that is ours also while there is no zone yet. */
  readonly domain: Name
}

export type Answer = Uint8Array | Promise<Uint8Array> | undefined

const empty = (rcode: number): Body => bodyOf('', { rcode })
const notImplemented = empty(rcodes.NOTIMP)
const badVersion = empty(rcodes.BADVERS)
const refused = empty(rcodes.REFUSED)
const serverFailure = empty(rcodes.SERVFAIL)

const notReady: Explanation = { code: 14, text: 'the environment is not known yet' } // RFC 8914 4.15

export interface ResolverDeps {
  readonly forwarders: Forwarders
  readonly compiled: CompiledAnswers
  readonly cookies: CookieDeps
  readonly log: QuestionLog
}

export class Resolver {
  readonly #forwarders: Forwarders
  readonly #compiled: CompiledAnswers
  readonly #cookies: CookieDeps
  readonly #log: QuestionLog
  readonly #options: ResolverOptions
  readonly #results = noResults()
  #table: AnswerTable | undefined
  #engine: EngineNames | undefined
  readonly #turns = new Turns()

  readonly #perspectives = new Perspectives()

  /** What is known for good goes into `compiled`, for whoever looks there first. */
  constructor(deps: ResolverDeps, options: ResolverOptions) {
    this.#cookies = deps.cookies
    this.#log = deps.log
    this.#forwarders = deps.forwarders
    this.#compiled = deps.compiled
    this.#options = options
  }

  get results(): Readonly<Record<Result, number>> {
    return this.#results
  }

  /** `touched` are the names that are not what they were in the zone before; without them all is new. */
  apply(zone: Zone, touched?: readonly Name[]): void {
    const before = this.#table?.zone
    this.#table = new AnswerTable(zone, this.#options.search)
    this.#perspectives.see(zone.askers, this.#engine)
    this.#forwarders.keep(zone.views.values())
    const same = before?.domain === zone.domain && before.subnet === zone.subnet
    if (same && touched !== undefined) this.#compiled.change(zone.revision, touched)
    else this.#compiled.changeAll(zone.revision)
  }

  applyNetworks(names: EngineNames): void {
    this.#engine = names
    const zone = this.#table?.zone
    this.#perspectives.see(zone?.askers, names)
    this.#compiled.changeAll(zone?.revision ?? 0)
  }

  /** Other upstreams: what the old ones said is not to be given any more. */
  use(list: Parameters<Forwarder['use']>[0]): void {
    this.#forwarders.host.use(list)
    this.#compiled.changeAll(this.#table?.zone.revision ?? 0)
  }

  /** A number that is equal for askers that get the same answers; -1 for one whose questions are written down. */
  perspectiveOf(from: Ipv4): number {
    return this.#log.watches(from) ? -1 : this.#perspectives.of(from)
  }

  /** Counts a question that was answered out of what is compiled. */
  answeredElsewhere(result: 'local' | 'cached'): void {
    this.#results[result] += 1
  }

  /** The answer for a datagram or a TCP message; undefined for what deserves none. */
  respond(bytes: Uint8Array, from: Ipv4, transport: 'udp' | 'tcp'): Answer {
    const reading = readQuery(bytes)
    if (reading.is === 'drop') {
      this.#results.dropped += 1
      return undefined
    }
    if (reading.is === 'refuse') {
      this.#results.refused += 1
      return refusal(bytes, reading.rcode)
    }
    const perspective = this.#perspectives.of(from)
    const asking = new Asking(reading.query, {
      told: this.#toldOf(reading.query, from, transport),
      limit: sizeLimit(reading.query, transport),
      turns: this.#turns,
      perspective,
      forwarder: this.#forwarderFor(from),
      ...(this.#log.watches(from) ? { log: this.#log.begin(reading.query, from, transport) } : {}),
    })
    const error = errorOf(reading.query)
    if (error !== undefined) return this.#end(asking, 'refused', error)
    return this.#answer(asking, from)
  }

  #toldOf({ edns }: Query, from: Ipv4, transport: 'udp' | 'tcp'): Told {
    const shown = edns?.cookie
    // Over UDP the option is to be ignored (RFC 7828 3.3.2).
    const stays = transport === 'tcp' && edns?.keepalive === true
    return {
      ...(shown === undefined ? {} : { cookie: answeredCookie(this.#cookies, shown, from) }),
      ...(stays ? { keepalive: idleTime } : {}),
    }
  }

  #forwarderFor(from: Ipv4): Forwarder {
    const table = this.#table
    const asker = table?.zone.askers.get(from)
    return asker === undefined || table === undefined
      ? this.#forwarders.host
      : this.#forwarders.of(table.viewOf(asker.view).upstreams)
  }

  #answer(asking: Asking, from: Ipv4): Answer {
    const table = this.#table
    if (table === undefined) return this.#withoutZone(asking)
    const asker = table.zone.askers.get(from)
    const verdict = table.verdict(asking.query, asker?.view ?? everybody)
    if (verdict.is === 'answer' || verdict.is === 'chase') return this.#local(asking, verdict)
    const engine = this.#fromEngine(asking.query, from, asker)
    if (engine !== undefined) {
      const finished = { ...finishedOf(engine), serialAt: -1, lasting: true }
      this.#compiled.keep(asking.question, asking.perspective, finished)
      return this.#end(asking, 'engine', engine)
    }
    if (verdict.is === 'unknown') return this.#local(asking, verdict.otherwise)
    return verdict.fallback === undefined ? this.#forward(asking) : this.#forwardOr(asking, verdict.fallback)
  }

  /** A name of ours must not leak to an upstream, which would say that there is none. */
  #withoutZone(asking: Asking): Answer {
    if (!mayBeOurs(nameOf(asking.query), this.#options.domain)) return this.#forward(asking)
    return this.#end(asking, 'failed', serverFailure, notReady)
  }

  #local(asking: Asking, verdict: Local): Answer {
    if (verdict.is !== 'answer') return this.#chase(asking.kept(), verdict)
    const { body, lasting } = verdict
    const serialAt = body.authority === 1 ? body.tail.length - serialFromEnd : -1
    this.#compiled.keep(asking.question, asking.perspective, { ...finishedOf(body), serialAt, lasting })
    return this.#end(asking, 'local', body)
  }

  #fromEngine(query: Query, address: Ipv4, asker: Asker | undefined): Body | undefined {
    if (this.#engine === undefined) return undefined
    const name = nameOf(query)
    const addresses = this.#engine.lookup(name, { address, container: asker?.container })
    if (addresses === undefined) return undefined
    const given = query.type === types.A ? addresses : []
    const answers = given.map((one) => ({ name, type: types.A, ttl: localTtl, data: [ipv4Bytes(one)] }))
    return bodyOf(name, { answers })
  }

  #forward(asking: Asking): Answer {
    if (asking.query.type === types.TXT && this.#forwarders.cameBack(nameOf(asking.query)))
      return this.#end(asking, 'refused', refused)
    const asked = asking.foreign
    const known = asking.forwarder.known(asked)
    if (known !== undefined) return this.#cached(asking, known)
    const kept = asking.kept()
    return asking.forwarder.ask(kept.foreign).then((outcome) => this.#relay(kept, outcome))
  }

  #cached(asking: Asking, known: Stored): Uint8Array {
    const body = bodyAt(known, asking.forwarder.now(), asking.authentic)
    if (!asking.authentic && (asking.query.flags & flags.CD) === 0) {
      const kept = keptOf(known)
      const finished = { ...finishedOf(body), serialAt: -1, lasting: true, kept }
      this.#compiled.keep(asking.question, asking.perspective, finished)
    }
    return this.#end(asking, 'cached', body)
  }

  #relay(asking: Asking, outcome: Outcome): Uint8Array {
    if (outcome.is === 'failed') return this.#end(asking, 'failed', serverFailure, outcome.explanation)
    const body = bodyAt(outcome.stored, asking.forwarder.now(), asking.authentic)
    return this.#end(asking, 'forwarded', body, outcome.explanation)
  }

  /** The world first; ours when it does not know the name, or when nobody there can be asked. */
  #forwardOr(now: Asking, fallback: Local): Answer {
    const asking = now.kept()
    const asked = asking.foreign
    const known = asking.forwarder.known(asked)
    if (known === undefined && !asking.forwarder.hopeful()) {
      void asking.forwarder.ask(asked)
      return this.#local(asking, fallback)
    }
    const outcome: Promise<Outcome> =
      known === undefined ? asking.forwarder.askFor(asked) : Promise.resolve({ is: 'reply', stored: known })
    return outcome.then((found) => {
      const exists = found.is === 'reply' && found.stored.reply.rcode === rcodes.NOERROR
      return exists
        ? this.#relay(asking, found)
        : (this.#local(asking, fallback) ?? this.#end(asking, 'failed', serverFailure))
    })
  }

  /** Our CNAMEs, then what the upstreams say of where they lead; its rcode is the answer's (RFC 6604). */
  async #chase(asking: Asking, { chain, target }: Local & { is: 'chase' }): Promise<Uint8Array> {
    const { query } = asking
    const asked = { ...asking.foreign, question: questionBytes(target, query.type) }
    const known = asking.forwarder.known(asked)
    const outcome: Outcome =
      known === undefined ? await asking.forwarder.ask(asked) : { is: 'reply', stored: known }
    const name = nameOf(query)
    if (outcome.is === 'failed') {
      const body = bodyOf(name, { flags: flags.AA | flags.RA, rcode: rcodes.SERVFAIL, answers: chain })
      return this.#end(asking, 'local', body, outcome.explanation)
    }
    const found = answersAt(outcome.stored, asking.forwarder.now())
    const { rcode } = outcome.stored.reply
    const body = bodyOf(name, { flags: flags.AA | flags.RA, rcode, answers: [...chain, ...found] })
    return this.#end(asking, 'local', body)
  }

  #end(asking: Asking, result: Result, body: Body, explanation?: Explanation): Uint8Array {
    this.#results[result] += 1
    const answer = asking.finish(body, explanation)
    asking.log?.(answer, result)
    return answer
  }
}

/** Where the serial stands in a SOA record without anything behind it. */
const serialFromEnd = 20

const finishedOf = (body: Body) => ({ ...body, flags: body.flags | (body.rcode & 15) })

/** As far as that can be told without a zone. */
const mayBeOurs = (name: Name, domain: Name): boolean =>
  isWithin(name, domain) || isWithin(name, reverseRoot) || turnOf(name, 'safe') === 'local'

function errorOf(query: Query): Body | undefined {
  if ((query.edns?.version ?? 0) > 0) return badVersion
  return isInternet(query) ? undefined : notImplemented
}
