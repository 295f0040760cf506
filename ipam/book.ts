/**
 * Who has which address of this host, and which blocks are its own: the ledger in memory. Pure; never throws.
 * It changes only by `apply`, from the same changes that the ledger has written before, so that reading the
 * ledger after a crash gives the same book.
 */
import { type Cidr, formatIpv4, type Ipv4 } from '../model/ip.ts'
import type { ContainerId, HostId } from '../model/records.ts'
import type { Instant } from '../model/time.ts'
import { Block } from './blocks.ts'
import { blockAround, isBlock, isInside, type Space } from './space.ts'

/** What an address is used for. */
export type Use =
  | {
      readonly is: 'container'
      readonly container: ContainerId
      /** Held by a key of its own in the store, outside the own blocks. */
      readonly pin: boolean
      readonly stoppedAt: Instant | null
      /** What stood between the container and what it asked for. */
      readonly problem: string
    }
  /** The host's own managed address. */
  | { readonly is: 'host' }
  /** Pinned by a container of another host, and confirmed. */
  | { readonly is: 'lent'; readonly host: HostId; readonly container: ContainerId | null }
  | { readonly is: 'resting'; readonly until: Instant; readonly pin: boolean }

/** `returning`: on its way back to the store, never used again until it is claimed anew. */
export type BlockState = 'owned' | 'returning'

export type Change =
  | { readonly of: 'address'; readonly address: Ipv4; readonly use: Use | undefined }
  | { readonly of: 'block'; readonly cidr: Cidr; readonly state: BlockState | undefined }

export interface Held {
  readonly address: Ipv4
  readonly use: Use & { readonly is: 'container' }
}

/** How much of what there is. */
export interface BookFigures {
  /** The host's own address. */
  readonly managed: Ipv4 | undefined
  readonly blocks: readonly Cidr[]
  readonly held: number
  readonly free: number
  readonly resting: number
  readonly lent: number
}

export class Book {
  readonly #space: Space
  readonly #uses = new Map<Ipv4, Use>()
  readonly #byContainer = new Map<ContainerId, Ipv4>()
  readonly #blocks = new Map<Cidr, { state: BlockState; readonly block: Block }>()
  #host: Ipv4 | undefined

  constructor(space: Space) {
    this.#space = space
  }

  get uses(): ReadonlyMap<Ipv4, Use> {
    return this.#uses
  }

  /** The host's own managed address. */
  get host(): Ipv4 | undefined {
    return this.#host
  }

  blocks(state: BlockState): readonly Block[] {
    return [...this.#blocks.values()].filter((entry) => entry.state === state).map(({ block }) => block)
  }

  stateOf(cidr: Cidr): BlockState | undefined {
    return this.#blocks.get(cidr)?.state
  }

  heldBy(container: ContainerId): Held | undefined {
    const address = this.#byContainer.get(container)
    const use = address === undefined ? undefined : this.#uses.get(address)
    return address !== undefined && use?.is === 'container' ? { address, use } : undefined
  }

  /** Every address that a container has. */
  held(): readonly Held[] {
    return [...this.#byContainer.keys()].flatMap((container) => this.heldBy(container) ?? [])
  }

  /** Addresses of one block that are used for anything. */
  usesIn(cidr: Cidr): readonly (readonly [Ipv4, Use])[] {
    return [...this.#uses].filter(([address]) => blockAround(this.#space, address) === cidr)
  }

  /** Free addresses in all own blocks. */
  free(): number {
    return this.blocks('owned').reduce((sum, block) => sum + block.free, 0)
  }

  /** Whether an address lies in an own block and nobody has it. */
  isFree(address: Ipv4): boolean {
    const entry = this.#blocks.get(blockAround(this.#space, address))
    return entry?.state === 'owned' && entry.block.isFree(address)
  }

  next(): Ipv4 | undefined {
    for (const entry of this.#blocks.values()) {
      const address = entry.state === 'owned' ? entry.block.next() : undefined
      if (address !== undefined) return address
    }
    return undefined
  }

  apply(changes: readonly Change[]): void {
    for (const change of changes) {
      if (change.of === 'address') this.#setUse(change.address, change.use)
      else this.#setBlock(change.cidr, change.state)
    }
  }

  #setUse(address: Ipv4, use: Use | undefined): void {
    const before = this.#uses.get(address)
    if (before?.is === 'container' && this.#byContainer.get(before.container) === address)
      this.#byContainer.delete(before.container)
    if (before?.is === 'host' && this.#host === address) this.#host = undefined
    const block = this.#blocks.get(blockAround(this.#space, address))?.block
    if (use === undefined) {
      this.#uses.delete(address)
      block?.release(address)
      return
    }
    this.#uses.set(address, use)
    block?.use(address)
    if (use.is === 'container') this.#byContainer.set(use.container, address)
    if (use.is === 'host') this.#host = address
  }

  #setBlock(cidr: Cidr, state: BlockState | undefined): void {
    if (!isBlock(this.#space, cidr)) return
    const entry = this.#blocks.get(cidr)
    if (state === undefined) this.#blocks.delete(cidr)
    else if (entry !== undefined) entry.state = state
    else {
      const block = new Block(cidr, this.#space)
      for (const [address] of this.usesIn(cidr)) block.use(address)
      this.#blocks.set(cidr, { state, block })
    }
  }

  figures(): BookFigures {
    const uses = [...this.#uses.values()]
    const count = (is: Use['is']): number => uses.filter((use) => use.is === is).length
    return {
      managed: this.#host,
      blocks: this.blocks('owned').map(({ cidr }) => cidr),
      held: count('container'),
      free: this.free(),
      resting: count('resting'),
      lent: count('lent'),
    }
  }

  /** What is wrong with the book; empty when nothing is. */
  checkInvariants(): readonly string[] {
    const wrong = [...this.#blocks.values()].flatMap(({ block }) => block.checkInvariants())
    const holders = new Set<ContainerId>()
    for (const [address, use] of this.#uses) {
      const name = formatIpv4(address)
      const own = this.#blocks.get(blockAround(this.#space, address))
      const pinned = (use.is === 'container' || use.is === 'resting') && use.pin
      if (!isInside(this.#space, address)) wrong.push(`${name} lies outside the subnet`)
      if (own?.block.isFree(address)) wrong.push(`${name} is used and free`)
      if (!pinned && own === undefined) wrong.push(`${name} is used and its block is not ours`)
      if (use.is !== 'container') continue
      if (holders.has(use.container)) wrong.push(`${use.container} has two addresses`)
      holders.add(use.container)
    }
    return wrong
  }
}
