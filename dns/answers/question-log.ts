/**
 * Questions of single containers, written down while somebody looks: one line for each, with what it got. Whoever
 * asks very fast is written down in part, and how many are missing is said. Pure.
 */
import type { Environment } from '../../model/environment.ts'
import { type Ipv4, parseIpv4 } from '../../model/ip.ts'
import type { Clock } from '../../model/ports.ts'
import { headerLength, nameOf, type Query, readReply } from '../codec/message.ts'
import { addressText, rcodeText, typeText } from '../codec/words.ts'
import { sourcesOf } from '../zone/views.ts'
import type { Result } from './results.ts'
import { containerHere, notHere } from './whose.ts'

export interface Asked {
  /** Milliseconds since the epoch. */
  readonly at: number
  readonly from: Ipv4
  readonly name: string
  readonly type: string
  readonly transport: 'udp' | 'tcp'
  readonly result: Result
  readonly rcode: string
  /** Addresses and types of the answer's records, in their order. */
  readonly answers: readonly string[]
  /** Milliseconds. */
  readonly took: number
  /** Questions before this one that were not written down. */
  readonly missed: number
}

/** Lines in a second. */
const most = 500

/** In the DNS thread: whose questions are written down. */
export class QuestionLog {
  readonly #clock: Clock
  readonly #say: (asked: Asked) => void
  #watched: ReadonlySet<Ipv4> = new Set()
  #second = 0
  #count = 0
  #missed = 0

  constructor(clock: Clock, say: (asked: Asked) => void) {
    this.#clock = clock
    this.#say = say
  }

  watch(addresses: readonly Ipv4[]): void {
    this.#watched = new Set(addresses)
  }

  watches(address: Ipv4): boolean {
    return this.#watched.size > 0 && this.#watched.has(address)
  }

  /** Begins with a question; what comes back is called with its answer. */
  begin(
    query: Query,
    from: Ipv4,
    transport: Asked['transport'],
  ): (answer: Uint8Array, result: Result) => void {
    const [at, began] = [this.#clock.now(), this.#clock.boot()]
    const name = nameOf(query)
    // Those of a batch are reused after it.
    const asked = { id: query.id, question: query.bytes.slice(headerLength, query.end) }
    return (answer, result) => {
      if (!this.#isFree()) return
      const took = this.#clock.boot() - began
      const said = { at, from, name, type: typeText(query.type), transport, result }
      this.#say({ ...said, ...answerOf(answer, asked), took, missed: this.#missed })
      this.#missed = 0
    }
  }

  #isFree(): boolean {
    const second = Math.floor(this.#clock.boot() / 1000)
    if (second !== this.#second) this.#count = 0
    this.#second = second
    this.#count += 1
    if (this.#count <= most) return true
    this.#missed += 1
    return false
  }
}

function answerOf(
  answer: Uint8Array,
  asked: Parameters<typeof readReply>[1],
): Pick<Asked, 'rcode' | 'answers'> {
  const reply = readReply(answer, asked)
  const rcode = reply?.rcode ?? (answer[3] ?? 0) & 15
  const answers = (reply?.answers ?? []).map(({ type, dataAt, dataLength }) => {
    return addressText(type, answer.subarray(dataAt, dataAt + dataLength)) ?? typeText(type)
  })
  return { rcode: rcodeText(rcode), answers }
}

export interface Follower {
  /** A container of this host by name, id or address; or any address. */
  readonly which: string
  readonly push: (asked: Asked) => void
}

/** The addresses that a container of this host asks from; an address is one by itself. Empty for nobody. */
export function addressesOf(environment: Environment, which: string): readonly Ipv4[] {
  const container = containerHere(environment, which)
  if (container !== undefined) return sourcesOf(environment, container)
  const address = parseIpv4(which)
  return address === undefined ? [] : [address]
}

/** For whom `addressesOf` finds nothing. */
export const whyNotFollowed = (environment: Environment, which: string): string =>
  containerHere(environment, which) === undefined ? notHere(environment, which) : `${which} has no address`
