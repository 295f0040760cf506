/**
 * A question under way, with what its answer must respect: how long it may be, whose turn it is to be first, what the
 * client is told besides. Pure.
 */
import { flags, headerLength, type Query } from '../codec/message.ts'
import { type Body, type Explanation, type Finishing, finish } from '../codec/writer.ts'
import type { ForeignQuestion, Forwarder } from '../forwarding/forwarder.ts'
import type { QuestionLog } from './question-log.ts'

export interface AskingOptions {
  readonly limit: number
  readonly turns: Turns
  readonly perspective: number
  readonly forwarder: Forwarder
  readonly log?: ReturnType<QuestionLog['begin']>
  readonly told: Told
}

/** What an answer says besides, whatever it is. */
export type Told = Pick<Finishing, 'cookie' | 'keepalive'>

/** One question under way, with what its answer must respect. */
export class Asking {
  readonly query: Query
  readonly perspective: number
  readonly #how: AskingOptions

  constructor(query: Query, how: AskingOptions) {
    this.query = query
    this.perspective = how.perspective
    this.#how = how
  }

  get forwarder(): Forwarder {
    return this.#how.forwarder
  }

  /** To be told of the answer; undefined for most. */
  get log(): AskingOptions['log'] {
    return this.#how.log
  }

  /** The bytes of the question section. */
  get question(): Uint8Array {
    return this.query.bytes.subarray(headerLength, this.query.end)
  }

  /** Whether the client wants to hear that an upstream has validated (RFC 6840 5.7). */
  get authentic(): boolean {
    return this.query.edns?.secure === true || (this.query.flags & flags.AD) !== 0
  }

  /** The same with bytes of its own: those of a batch are reused after it. */
  kept(): Asking {
    return new Asking({ ...this.query, bytes: this.query.bytes.slice() }, this.#how)
  }

  /** As the upstreams are asked. */
  get foreign(): ForeignQuestion {
    return {
      question: this.question,
      secure: this.query.edns?.secure === true,
      checkingDisabled: (this.query.flags & flags.CD) !== 0,
    }
  }

  finish(body: Body, explanation?: Explanation): Uint8Array {
    const explained = explanation === undefined ? {} : { explanation }
    const { limit, turns, told } = this.#how
    return finish(this.query, body, { limit, turn: turns.next(body), ...explained, ...told })
  }
}

/**
 * Counts for each answer by itself: one counter for all would give a client that asks for A and AAAA together
 * always the same first address.
 */
export class Turns {
  readonly #turns = new WeakMap<Body, number>()

  next(body: Body): number {
    if (body.rotating < 2) return 0
    const turn = (this.#turns.get(body) ?? -1) + 1
    this.#turns.set(body, turn)
    return turn
  }
}
