/**
 * The book against a fresh view of the store: what was lost, what is newly ours, and what is to be done there.
 * Pure. A key of which we know something newer than the view, or are just writing, is left alone.
 */
import type { Environment } from '../model/environment.ts'
import type { Cidr, Ipv4 } from '../model/ip.ts'
import type { Claim, ContainerId, HostId } from '../model/records.ts'
import { type Instant, later, type Millis } from '../model/time.ts'
import type { Book, Change, Use } from './book.ts'
import { blockAround, isBlock, type Space } from './space.ts'

/** What of a snapshot matters to addresses; an `Environment` is one. */
export type View = Pick<Environment, 'revision' | 'hosts' | 'blocks' | 'pins' | 'containers'>

export interface Context {
  readonly book: Book
  readonly view: View
  readonly space: Space
  readonly self: HostId
  /** Whether the view's word on a block or a pin counts. */
  readonly trusts: (key: Cidr | Ipv4) => boolean
  /** Whether the store has lost our claim and nobody else can have it: it is written again. */
  readonly isMissing: (key: Cidr | Ipv4) => boolean
  readonly now: Instant
  readonly rest: Millis
}

/** A container whose address is no longer ours: detach it first, then ask for another. */
export interface Lost {
  readonly container: ContainerId
  readonly address: Ipv4
}

export interface Reconciliation {
  readonly changes: readonly Change[]
  readonly lost: readonly Lost[]
}

export function reconcile(context: Context): Reconciliation {
  const changes: Change[] = []
  const lost: Lost[] = []
  const drop = (address: Ipv4, use: Use, next?: Use): void => {
    if (use.is === 'container') lost.push({ container: use.container, address })
    changes.push({ of: 'address', address, use: next })
  }
  const gone = lostBlocks(context)
  for (const cidr of gone) {
    for (const [address, use] of context.book.usesIn(cidr)) if (!isPinned(use)) drop(address, use)
    changes.push({ of: 'block', cidr, state: undefined })
  }
  for (const [address, use] of context.book.uses) {
    if (!context.trusts(address) || (gone.has(blockAround(context.space, address)) && !isPinned(use)))
      continue
    const next = pinnedUse(context, address, use)
    if (next !== use) drop(address, use, next)
  }
  changes.push(...newBlocks(context))
  return { changes, lost }
}

const isPinned = (use: Use): boolean => (use.is === 'container' || use.is === 'resting') && use.pin

function lostBlocks({ book, view, self, trusts, isMissing }: Context): ReadonlySet<Cidr> {
  const known = [...book.blocks('owned'), ...book.blocks('returning')].map(({ cidr }) => cidr)
  return new Set(
    known.filter((cidr) => {
      const holder = view.blocks.get(cidr)?.host
      return trusts(cidr) && holder !== self && !(holder === undefined && isMissing(cidr))
    }),
  )
}

/** What an address in use becomes by what the view says of its pin; the same use when nothing changes. */
function pinnedUse(context: Context, address: Ipv4, use: Use): Use | undefined {
  const { view, self, now, rest } = context
  const pin = view.pins.get(address)
  if (isPinned(use)) {
    if (pin === undefined && context.isMissing(address)) return use
    if (use.is === 'resting') return pin?.host === self ? use : undefined
    const ours =
      pin?.host === self && pin.confirmed && use.is === 'container' && pin.container === use.container
    return ours ? use : undefined
  }
  if (pin?.confirmed && pin.host !== self) return lentTo(use, pin)
  if (use.is !== 'lent') return use
  const wanted = pin !== undefined && pin.host === use.host && pin.container === use.container
  return wanted ? use : { is: 'resting', until: later(now, rest), pin: false }
}

function lentTo(use: Use, { host, container }: Claim): Use {
  const same = use.is === 'lent' && use.host === host && use.container === container
  return same ? use : { is: 'lent', host, container }
}

/** Blocks that the store calls ours and the book does not know, with whoever has an address in them. */
function newBlocks(context: Context): readonly Change[] {
  const { book, view, space, self, trusts } = context
  const found = [...view.blocks]
    .filter(([cidr, claim]) => claim.host === self && isBlock(space, cidr) && trusts(cidr))
    .filter(([cidr]) => book.stateOf(cidr) === undefined)
    .map(([cidr]) => cidr)
  if (found.length === 0) return []
  const fresh = new Set(found)
  const changes = new Map<Ipv4, Change>()
  for (const { id, host, address } of view.containers.values()) {
    if (host !== self || address === null || !fresh.has(blockAround(space, address))) continue
    if (book.uses.has(address) || book.heldBy(id) !== undefined) continue
    const use: Use = { is: 'container', container: id, pin: false, stoppedAt: null, problem: '' }
    changes.set(address, { of: 'address', address, use })
  }
  for (const [address, { host, container, confirmed }] of view.pins) {
    if (confirmed && host !== self && fresh.has(blockAround(space, address)))
      changes.set(address, { of: 'address', address, use: { is: 'lent', host, container } })
  }
  return [...found.map((cidr): Change => ({ of: 'block', cidr, state: 'owned' })), ...changes.values()]
}

/** What is to be done in the store. */
export interface Chores {
  /** Requests of other hosts inside our blocks. */
  readonly requests: readonly (readonly [Ipv4, Claim])[]
  /** Pins in our name that no container of ours has. */
  readonly orphans: readonly Ipv4[]
  /** Own blocks and pins that the store has lost. */
  readonly missing: readonly (Cidr | Ipv4)[]
}

export function choresOf({ book, view, space, self, trusts, isMissing }: Context): Chores {
  const requests: (readonly [Ipv4, Claim])[] = []
  const orphans: Ipv4[] = []
  for (const [address, claim] of view.pins) {
    if (!trusts(address)) continue
    const use = book.uses.get(address)
    if (claim.host === self && (use === undefined || !isPinned(use))) orphans.push(address)
    const mine = book.stateOf(blockAround(space, address)) === 'owned'
    if (claim.host !== self && !claim.confirmed && mine) requests.push([address, claim])
  }
  const blocks = book.blocks('owned').map(({ cidr }) => cidr)
  const pins = [...book.uses]
    .filter(([, use]) => use.is === 'container' && use.pin)
    .map(([address]) => address)
  const missing = [...blocks, ...pins].filter((key) => trusts(key) && isMissing(key))
  return { requests, orphans, missing }
}
