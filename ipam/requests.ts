/**
 * Addresses that containers ask for by name: taken from an own block, pinned in space that nobody owns, or asked
 * of the host whose block they lie in. What cannot be had becomes the text of a problem.
 */
import { DroverError, type ErrorCode } from '../model/errors.ts'
import { type Cidr, type Ipv4, parseIpv4 } from '../model/ip.ts'
import { printable } from '../model/names.ts'
import type { Clock } from '../model/ports.ts'
import type { ContainerId, HostId } from '../model/records.ts'
import { type Millis, millis } from '../model/time.ts'
import type { Book, Use } from './book.ts'
import type { Claims } from './claims.ts'
import type { View } from './reconcile.ts'
import { blockAround, isInside, isUsable, type Space } from './space.ts'

export type Answer =
  /** `problem` says what stood in the way of the requested address. */
  | { readonly is: 'address'; readonly address: Ipv4; readonly problem?: string }
  /** Ask again later. */
  | { readonly is: 'waiting'; readonly why: string }
  | { readonly is: 'refused'; readonly why: string }

type Attempt = { readonly is: 'problem'; readonly problem: string } | Answer

interface Ask {
  readonly container: ContainerId
  readonly revision: number
  readonly resolve: (outcome: 'granted' | 'refused') => void
}

export interface RequestsDeps {
  readonly book: Book
  readonly claims: Claims
  readonly space: Space
  readonly self: HostId
  readonly clock: Clock
  readonly view: () => View | undefined
  readonly epoch: () => number
  /** Whether a container still wants an address, and this host may give one. */
  readonly mayTake: (container: ContainerId) => boolean
  /** Journals an address as the container's. */
  readonly take: (address: Ipv4, container: ContainerId, pin: boolean) => Answer
  /** Does something with a key that nobody else is busy with; undefined when somebody is. */
  readonly reserve: <T extends object>(key: Cidr | Ipv4, work: () => Promise<T>) => Promise<T | undefined>
}

const answerWithin = millis(1_800) // two seconds are promised
const ownerWithin = millis(1_500) // leaves time for an ordinary address

export const late = Symbol('late')

export class Requests {
  readonly #deps: RequestsDeps
  readonly #asks = new Map<Ipv4, Ask>()

  constructor(deps: RequestsDeps) {
    this.#deps = deps
  }

  /** An address, or why this one cannot be had. */
  async attempt(text: string, container: ContainerId, begun: Millis): Promise<Attempt> {
    const address = parseIpv4(text)
    if (address === undefined) return refused(text, 'is not an IPv4 address')
    if (!isInside(this.#deps.space, address))
      return refused(text, `is outside the subnet ${this.#deps.space.subnet}`)
    if (!isUsable(this.#deps.space, address))
      return refused(text, 'is an end of the subnet, which nobody gets')
    const block = blockAround(this.#deps.space, address)
    const use = this.#deps.book.uses.get(address)
    if (use !== undefined) return refused(text, takenText(use))
    if (this.#deps.book.stateOf(block) === 'returning')
      return refused(text, 'lies in a block that is being given back')
    if (this.#deps.book.isFree(address)) return this.#deps.take(address, container, false)
    return await this.#pin(text, address, block, container, begun)
  }

  async #pin(
    text: string,
    address: Ipv4,
    block: Cidr,
    container: ContainerId,
    begun: Millis,
  ): Promise<Attempt> {
    const work = this.#deps.reserve(address, () => this.#pinned(text, address, block, container, begun))
    const attempt = await within(this.#deps.clock, begun, work)
    if (attempt === late) return waiting('STORE_UNAVAILABLE', `${text} cannot be claimed now`)
    return attempt ?? refused(text, 'is being asked for or given back')
  }

  /** Claims the address, or asks its owner and waits for the answer; the address is busy meanwhile. */
  async #pinned(
    text: string,
    address: Ipv4,
    block: Cidr,
    container: ContainerId,
    begun: Millis,
  ): Promise<Attempt & { readonly revision?: number }> {
    const outcome = await this.#deps.claims.pin(address, block, container, this.#deps.epoch())
    if (outcome.is === 'raced') return refused(text, 'changed hands in this moment')
    if (outcome.is === 'taken') return refused(text, `is taken by ${this.#nameOf(outcome.by)}`)
    const { revision } = outcome
    if (outcome.is === 'asked') {
      const answer = this.#answer(address, container, revision)
      const answered = await within(this.#deps.clock, begun, answer, ownerWithin)
      this.#asks.delete(address)
      const owner = `${text} belongs to the block of ${this.#nameOf(outcome.owner)}`
      if (answered === late) return { ...refused(owner, 'which has not answered'), revision }
      if (answered === 'refused') return { ...refused(owner, 'which has refused it'), revision }
    }
    const over = this.#deps.clock.boot() - begun > answerWithin
    if (over || !this.#deps.mayTake(container)) return { ...refused(text, 'came too late'), revision }
    return { ...this.#deps.take(address, container, true), revision }
  }

  /** What the owner of a block says to a request, as seen in later views. */
  #answer(address: Ipv4, container: ContainerId, revision: number): Promise<'granted' | 'refused'> {
    return new Promise((resolve) => this.#asks.set(address, { container, revision, resolve }))
  }

  #nameOf(host: HostId | undefined): string {
    if (host === undefined) return 'an unreadable record'
    if (host === this.#deps.self) return 'this host'
    return `host ${printable(this.#deps.view()?.hosts.get(host)?.record.name ?? host)}`
  }

  /** Learns from a view what owners have answered. */
  hear(view: View): void {
    for (const [address, { container, revision, resolve }] of this.#asks) {
      if (view.revision < revision) continue
      const pin = view.pins.get(address)
      const ours = pin?.host === this.#deps.self && pin.container === container
      if (!ours) resolve('refused')
      else if (pin.confirmed) resolve('granted')
    }
  }
}

/** What comes before the answer is due, or `late`; what comes later is looked after by upkeep. */
export function within<T>(
  clock: Clock,
  begun: Millis,
  work: Promise<T>,
  limit: Millis = answerWithin,
): Promise<T | typeof late> {
  const left = millis(Math.max(0, begun + limit - clock.boot()))
  return new Promise((resolve, reject) => {
    const timer = clock.after(left, () => resolve(late))
    work.then(resolve, reject).finally(() => timer.cancel())
  })
}

export const waiting = (code: ErrorCode, detail: string): Answer => ({
  is: 'waiting',
  why: new DroverError(code, detail).message,
})

const refused = (text: string, why: string): Attempt & { readonly is: 'problem' } => ({
  is: 'problem',
  problem: `requested address ${printable(text)} ${why}`,
})

function takenText(use: Use): string {
  if (use.is === 'host') return "is this host's own address"
  if (use.is === 'resting') return 'was freed a moment ago and rests'
  if (use.is === 'lent') return 'is taken by a container of another host'
  return `is taken by container ${use.container.slice(0, 12)}`
}

export const closedText =
  'this host was away from the store for too long, and has not yet seen again what it owns'
export const removedAnswer: Answer = { is: 'refused', why: 'the container was removed meanwhile' }

export const answerOf = (address: Ipv4, problem: string): Answer =>
  problem === '' ? { is: 'address', address } : { is: 'address', address, problem }
