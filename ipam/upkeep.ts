/**
 * What is done in the store besides answering: blocks claimed, kept in reserve and given back, requests of other
 * hosts answered, pins given up, the claims of dead hosts taken back. One round at a time; whatever a round
 * cannot do, because the store is away, the next one does.
 */
import { mayPass, reasonOf } from '../model/errors.ts'
import { type Cidr, formatIpv4, type Ipv4 } from '../model/ip.ts'
import type { Keys } from '../model/keys.ts'
import type { Clock, Log, Meter } from '../model/ports.ts'
import type { Claim, HostId } from '../model/records.ts'
import type { Millis } from '../model/time.ts'
import type { Book, Change } from './book.ts'
import type { Claims } from './claims.ts'
import { type Chores, type Context, choresOf, type View } from './reconcile.ts'
import { blockAround, candidates, firstUsable, type Space } from './space.ts'

export type Claiming = 'claimed' | 'full' | 'contended' | 'away'

export interface UpkeepDeps {
  readonly book: Book
  readonly claims: Claims
  readonly space: Space
  readonly keys: Keys
  readonly self: HostId
  readonly rest: Millis
  readonly clock: Clock
  readonly log: Log
  readonly meter: Meter
  /** The present view; undefined while nothing may be done in the store. */
  readonly situation: () => { readonly context: Context; readonly epoch: number } | undefined
  readonly write: (changes: readonly Change[]) => void
  readonly reserve: <T extends object>(key: Cidr | Ipv4, work: () => Promise<T>) => Promise<T | undefined>
  /** Whether a host has been dead for the whole grace. */
  readonly isOver: (host: HostId) => boolean
}

const tries = 8 // blocks tried in one go before another round

export class Upkeep {
  readonly #deps: UpkeepDeps
  #round: Promise<void> | undefined
  #again = false
  #claiming: Promise<Claiming> | undefined
  /** Boot time at which an address has rested: the wall clock may jump. */
  readonly #rested = new Map<Ipv4, number>()

  constructor(deps: UpkeepDeps) {
    this.#deps = deps
    const uses = [...deps.book.uses]
    this.noteRests(uses.map(([address, use]): Change => ({ of: 'address', address, use })))
  }

  /** Learns from changes of the book which addresses rest, and until when. */
  noteRests(changes: readonly Change[]): void {
    const { clock, rest } = this.#deps
    for (const change of changes) {
      if (change.of !== 'address') continue
      if (change.use?.is !== 'resting') this.#rested.delete(change.address)
      else {
        const left = Math.min(Math.max(0, change.use.until - clock.now()), rest)
        this.#rested.set(change.address, clock.boot() + left)
      }
    }
  }

  /** Starts a round, or another one after the present one. */
  run(): void {
    this.#again = true
    this.#round ??= this.#rounds()
      .catch((error: unknown) => this.#failed(error))
      .finally(() => {
        this.#round = undefined
      })
  }

  async settled(): Promise<void> {
    while (this.#round !== undefined || this.#claiming !== undefined)
      await Promise.all([this.#round, this.#claiming])
  }

  /** Claims another block; at most one claim is under way. */
  claim(): Promise<Claiming> {
    this.#claiming ??= this.#claimOne()
      .catch((error: unknown): Claiming => {
        this.#failed(error)
        return 'away'
      })
      .finally(() => {
        this.#claiming = undefined
      })
    return this.#claiming
  }

  #failed(error: unknown): void {
    this.#deps.meter.count('drover_address_upkeep_failures_total')
    if (mayPass(error)) return
    this.#deps.log.error('upkeep of addresses failed', { err: reasonOf(error) })
  }

  async #rounds(): Promise<void> {
    while (this.#again) {
      this.#again = false
      this.#endRests()
      this.#takeOwn()
      const situation = this.#deps.situation()
      if (situation === undefined) continue
      const { context } = situation
      const chores = choresOf(context)
      for (const key of chores.missing) await this.#rewrite(key, situation.epoch)
      for (const [address, claim] of chores.requests) await this.#reply(address, claim)
      await this.#giveBack(chores)
      await this.#takeBack(context.view)
      await this.#balance(context.view)
    }
  }

  /** Addresses that have rested are free; pinned ones only once their key is gone. */
  #endRests(): void {
    const { book, clock, write } = this.#deps
    const over = [...this.#rested].filter(([, until]) => clock.boot() >= until).map(([address]) => address)
    const free = over.filter((address) => {
      const use = book.uses.get(address)
      return use?.is === 'resting' && !use.pin
    })
    write(free.map((address): Change => ({ of: 'address', address, use: undefined })))
  }

  /** The host's own address: the first usable one of its first block. */
  #takeOwn(): void {
    const { book, space, write } = this.#deps
    if (book.host !== undefined) return
    for (const { cidr } of book.blocks('owned')) {
      const address = firstUsable(space, cidr)
      if (address === undefined || !book.isFree(address)) continue
      write([{ of: 'address', address, use: { is: 'host' } }])
      return
    }
  }

  /** A claim that the store has lost: it was restored from a backup, or somebody took the key out. */
  async #rewrite(key: Cidr | Ipv4, epoch: number): Promise<void> {
    const { book, claims, space, reserve, log } = this.#deps
    const use = typeof key === 'number' ? book.uses.get(key) : undefined
    if (typeof key === 'string') await reserve(key, () => claims.rewriteBlock(key, epoch))
    else if (use?.is === 'container')
      await reserve(key, () => claims.pin(key, blockAround(space, key), use.container, epoch))
    log.warn('a claim that the store has lost is written again', { block: claimText(key) })
  }

  async #reply(address: Ipv4, wanted: Claim): Promise<void> {
    const { book, claims, space, reserve, write } = this.#deps
    const { host, container } = wanted
    const use = book.uses.get(address)
    const known = use?.is === 'lent' && use.host === host && use.container === container
    if (!known && !book.isFree(address)) {
      await claims.refuse(address, wanted)
      return
    }
    if (!known) write([{ of: 'address', address, use: { is: 'lent', host, container } }])
    await reserve(address, () => claims.grant(address, blockAround(space, address), wanted))
  }

  async #giveBack({ orphans }: Chores): Promise<void> {
    const { book, claims, clock, reserve, write } = this.#deps
    for (const address of orphans) await reserve(address, () => claims.dropPin(address))
    for (const [address, until] of [...this.#rested]) {
      const use = book.uses.get(address)
      if (clock.boot() < until || use?.is !== 'resting' || !use.pin) continue
      const outcome = await reserve(address, () => claims.dropPin(address))
      if (outcome?.is === 'gone') write([{ of: 'address', address, use: undefined }])
    }
    for (const { cidr } of book.blocks('returning')) {
      const outcome = await reserve(cidr, () => claims.dropBlock(cidr))
      if (outcome?.is === 'gone') write([{ of: 'block', cidr, state: undefined }])
    }
  }

  async #takeBack({ blocks, pins }: View): Promise<void> {
    const { claims, isOver, keys, log, meter, self } = this.#deps
    const found = [
      ...[...blocks].map(([cidr, { host }]) => ({ key: keys.block(cidr), host, what: cidr as string })),
      ...[...pins].map(([ip, { host }]) => ({ key: keys.pin(ip), host, what: formatIpv4(ip) })),
    ]
    for (const { key, host, what } of found) {
      if (host === self || !isOver(host) || !(await claims.takeBack(key, host, isOver))) continue
      meter.count('drover_addresses_taken_back_total')
      log.warn('a dead host lost its claim', { host, block: what })
    }
  }

  /** Keeps a quarter of a block in reserve, and no more than one empty block beside it. */
  async #balance(view: View): Promise<void> {
    const { book, space, write } = this.#deps
    const reserve = Math.max(1, Math.floor(space.blockSize / 4))
    if (book.host === undefined || (book.free() < reserve && this.#maySpare(view))) {
      if ((await this.claim()) === 'claimed') this.#takeOwn()
      return
    }
    const empty = book
      .blocks('owned')
      .find(({ cidr, free }) => book.usesIn(cidr).length === 0 && book.free() - free >= 2 * reserve)
    if (empty === undefined) return
    write([{ of: 'block', cidr: empty.cidr, state: 'returning' }])
    this.#again = true
  }

  /** A spare block is taken only while every host without one can still have one. */
  #maySpare({ blocks, hosts }: View): boolean {
    const owners = new Set([...blocks.values()].map(({ host }) => host))
    const without = [...hosts.keys()].filter((host) => !owners.has(host)).length
    return this.#deps.space.blockCount - blocks.size > without
  }

  async #claimOne(): Promise<Claiming> {
    const { book, claims, reserve, self, situation, space, write } = this.#deps
    const now = situation()
    if (now === undefined) return 'away'
    const { view } = now.context
    const pinned = new Set([...view.pins.keys()].map((address) => blockAround(space, address)))
    const isTaken = (cidr: Cidr): boolean =>
      view.blocks.has(cidr) || pinned.has(cidr) || book.stateOf(cidr) !== undefined
    let tried = 0
    for (const cidr of candidates(space, self, isTaken)) {
      if (tried++ === tries) return 'contended'
      const claimed = await reserve(cidr, async () => {
        const outcome = await claims.claimBlock(cidr, now.epoch)
        // While the key is still reserved, so that no older view can call the new block lost.
        if (outcome.is === 'done') write([{ of: 'block', cidr, state: 'owned' }])
        return outcome
      })
      if (claimed?.is === 'done') return 'claimed'
    }
    return tried === 0 ? 'full' : 'contended'
  }
}

const claimText = (key: Cidr | Ipv4): string => (typeof key === 'number' ? formatIpv4(key) : key)
