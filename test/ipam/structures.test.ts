/** The pure parts of ipam/, one rule at a time. */
import { test } from 'tap'
import { Book, type Change, type Use } from '../../ipam/book.ts'
import { noPinInside } from '../../ipam/exclusion.ts'
import { Fence, Silences } from '../../ipam/fence.ts'
import { entriesOf, recover, renewalEntry } from '../../ipam/journal.ts'
import { type Context, choresOf, reconcile, type View } from '../../ipam/reconcile.ts'
import { spaceOf } from '../../ipam/space.ts'
import { type Cidr, cidrOf, type Ipv4, ipv4At, parseCidr, parseIpv4 } from '../../model/ip.ts'
import { keysOf } from '../../model/keys.ts'
import { type Claim, decodeRecord, type HostId, settingsSchema } from '../../model/records.ts'
import { instant, millis, seconds } from '../../model/time.ts'
import { containerId, host, hostId } from '../support/records.ts'

const raise = (text: string): never => {
  throw new TypeError(text)
}
const ip = (text: string): Ipv4 => parseIpv4(text) ?? raise(text)
const net = (text: string): Cidr => parseCidr(text) ?? raise(text)
const space = spaceOf({ subnet: net('10.42.0.0/25'), blockBits: 28 })
const [first, second] = [net('10.42.0.0/28'), net('10.42.0.16/28')]
const [web, db] = [containerId('web'), containerId('db')]
const [self, other] = [hostId('self'), hostId('other')]

const used = (container = web, over: Partial<Use & { is: 'container' }> = {}): Use => ({
  is: 'container',
  container,
  pin: false,
  stoppedAt: null,
  problem: '',
  ...over,
})
const own = (cidr: Cidr): Change => ({ of: 'block', cidr, state: 'owned' })
const at = (address: string, use: Use | undefined): Change => ({ of: 'address', address: ip(address), use })

function bookOf(...changes: readonly Change[]): Book {
  const book = new Book(space)
  book.apply(changes)
  return book
}

test('the book', async (t) => {
  const book = bookOf(own(first), at('10.42.0.1', { is: 'host' }), at('10.42.0.2', used()))
  t.equal(book.host, ip('10.42.0.1'))
  t.equal(book.heldBy(web)?.address, ip('10.42.0.2'))
  t.equal(book.free(), 13, 'sixteen, less the end of the subnet, the host and one container')
  t.notOk(book.isFree(ip('10.42.0.0')), 'an end of the subnet')
  t.notOk(book.isFree(ip('10.42.0.20')), 'a block that is not ours')
  book.apply([at('10.42.0.2', undefined)])
  t.equal(book.heldBy(web), undefined)
  t.equal(book.next(), ip('10.42.0.3'), 'what was freed is the last to come back')
  book.apply([{ of: 'block', cidr: first, state: 'returning' }])
  t.equal(book.next(), undefined, 'nothing is given from a block on its way back')
  t.strictSame(book.checkInvariants(), [])
  t.strictSame(
    bookOf(at('10.42.0.40', used(web, { pin: true }))).checkInvariants(),
    [],
    'a pin needs no block',
  )
  t.match(bookOf(at('10.42.0.40', used())).checkInvariants(), [/its block is not ours/])
  t.match(bookOf(own(first), at('10.42.0.2', used()), at('10.42.0.3', used())).checkInvariants(), [
    /has two addresses/,
  ])
})

test('the journal gives back what it was given, and names what it cannot read', async (t) => {
  const changes: readonly Change[] = [
    { of: 'block', cidr: second, state: 'returning' },
    own(first),
    at('10.42.0.1', { is: 'host' }),
    at('10.42.0.2', used(web, { stoppedAt: instant(5), problem: 'none' })),
    at('10.42.0.3', { is: 'lent', host: other, container: db }),
    at('10.42.0.4', { is: 'resting', until: instant(9), pin: true }),
  ]
  const lines = new Map<string, string>()
  for (const [key, value] of entriesOf(changes)) if (value !== undefined) lines.set(key, value)
  for (const [key, value] of renewalEntry({ boot: millis(3), wall: instant(4) }, 'this boot'))
    lines.set(key, value)
  const { changes: found, renewed, unreadable } = recover(lines, 'this boot')
  t.strictSame(
    new Set(found.map((one) => JSON.stringify(one))),
    new Set(changes.map((one) => JSON.stringify(one))),
  )
  t.strictSame(renewed, { boot: 3, wall: 4 })
  t.equal(recover(lines, 'another boot').renewed, undefined, 'another run of the kernel says nothing')
  t.strictSame(unreadable, [])
  t.equal(entriesOf([at('10.42.0.2', undefined)]).get('ipam/address/10.42.0.2'), undefined)
  const bad = ['ipam/address/10.42.0.9', 'ipam/address/x', 'ipam/block/10.42.0.0/28']
  const garbage = recover(
    new Map([...bad.map((key) => [key, '{"is":'] as const), ['ipam/renewed', '[]']]),
    '',
  )
  t.strictSame(garbage, { changes: [], renewed: undefined, unreadable: bad })
})

const moment = (boot: number, wall = boot) => ({ boot: seconds(boot), wall: instant(1e12 + wall * 1000) })

test('the fence closes after half the grace and opens only with a renewal that a view confirms', async (t) => {
  const fence = new Fence(seconds(60))
  t.notOk(fence.isOpen(moment(0)))
  fence.confirm(8, moment(0))
  t.notOk(fence.isOpen(moment(0)), 'a view alone says nothing')
  fence.renewed(moment(0), 9, moment(1))
  t.notOk(fence.isOpen(moment(1)), 'nor does one from before the alive key')
  fence.confirm(9, moment(1))
  t.ok(fence.isOpen(moment(29)))
  t.notOk(fence.isOpen(moment(30)))
  fence.renewed(moment(31), 12, moment(31))
  t.notOk(fence.isOpen(moment(31)), 'once closed it stays closed')
  fence.confirm(12, moment(31))
  t.ok(fence.isOpen(moment(32)))
  t.notOk(fence.isOpen(moment(33, 90)), 'the wall clock counts when it is further')
})

test('the fence is opened by a view and a renewal in either order', async (t) => {
  const shown = (then: (fence: Fence) => void): boolean => {
    const fence = new Fence(seconds(60))
    fence.renewed(moment(0), 9, moment(0))
    fence.confirm(12, moment(1))
    t.notOk(fence.isOpen(moment(40)))
    then(fence)
    return fence.isOpen(moment(41))
  }
  t.ok(
    shown((fence) => fence.renewed(moment(40), 9, moment(40))),
    'the key stood all the time, so that what the view showed still holds',
  )
  t.ok(shown((fence) => fence.renewed(moment(40), 12, moment(40))))
  t.notOk(
    shown((fence) => fence.renewed(moment(40), 13, moment(40))),
    'the view is older than the key',
  )
  t.notOk(
    shown((fence) => fence.renewed(moment(40), 8, moment(40))),
    'the store was restored: the view is of another history',
  )
  t.notOk(
    shown((fence) => {
      fence.doubt()
      fence.renewed(moment(40), 9, moment(40))
    }),
    'the newest view was old, or without the key',
  )
})

test('what the ledger remembers of a renewal', async (t) => {
  const restored = (now: ReturnType<typeof moment>): boolean => {
    const fence = new Fence(seconds(60))
    fence.restore(moment(100), now)
    return fence.isOpen(now)
  }
  t.ok(restored(moment(110)), 'the daemon was started again')
  t.notOk(restored(moment(130)), 'too late')
  t.notOk(restored(moment(5, 110)), 'the machine was booted since')
  t.notOk(restored(moment(110, 105)), 'the clock was set back: it says too little')
  t.notOk(restored(moment(100, 3700)), 'or forth')
})

test('the silence of others', async (t) => {
  const silences = new Silences(seconds(60), seconds(5))
  const dead = new Map([[other, host('other', { alive: undefined, reachability: 'unknown' })]])
  const look = (boot: number, hosts: View['hosts'] = dead, fresh = true): boolean => {
    silences.look(hosts, [other], fresh, seconds(boot))
    return silences.isOver(other, seconds(boot))
  }
  const listen = (from: number, to: number): boolean => {
    let over = false
    for (let boot = from; boot <= to; boot += 5) over = look(boot)
    return over
  }
  t.notOk(listen(0, 55))
  t.ok(look(60))
  t.notOk(silences.isOver(other, seconds(66)), 'who has not looked for a while knows nothing')
  t.notOk(look(70), 'and counts anew')
  t.ok(listen(75, 130))
  t.notOk(look(131, dead, false), 'without a fresh view nothing is known')
  t.notOk(listen(131, 186))
  t.notOk(look(187, new Map([[other, host('other', { alive: undefined, reachability: 'answers' })]])))
  t.notOk(listen(188, 243))
})

const claim = (by: HostId, over: Partial<Claim> = {}): Claim => ({
  host: by,
  epoch: 1,
  container: null,
  confirmed: true,
  ...over,
})

interface Shown {
  readonly blocks?: readonly (readonly [Cidr, Claim])[]
  readonly pins?: readonly (readonly [string, Claim])[]
}

function contextOf(
  book: Book,
  { blocks = [], pins = [] }: Shown,
  trusts: Context['trusts'] = () => true,
  isMissing: Context['isMissing'] = () => false,
): Context {
  const pinned = new Map(pins.map(([text, one]) => [ip(text), one] as const))
  const view: View = {
    revision: 1,
    hosts: new Map(),
    blocks: new Map(blocks),
    pins: pinned,
    containers: new Map(),
  }
  return { book, view, space, self, trusts, isMissing, now: instant(0), rest: seconds(5) }
}

test('the book against a view', async (t) => {
  const book = bookOf(own(first), at('10.42.0.2', used()), at('10.42.0.40', used(db, { pin: true })))
  const pins = [['10.42.0.40', claim(self, { container: db })]] as const
  const same = reconcile(contextOf(book, { blocks: [[first, claim(self)]], pins }))
  t.strictSame(same, { changes: [], lost: [] })
  const lost = reconcile(contextOf(book, { blocks: [[first, claim(other)]], pins }))
  t.strictSame(lost.lost, [{ container: web, address: ip('10.42.0.2') }], 'the block went to another host')
  book.apply(lost.changes)
  t.strictSame(book.checkInvariants(), [])
  const restored = contextOf(
    bookOf(own(first), at('10.42.0.2', used())),
    {},
    () => true,
    () => true,
  )
  t.strictSame(reconcile(restored), { changes: [], lost: [] }, 'the store has lost it, nobody else has it')
  t.strictSame(choresOf(restored).missing, [first], 'and it is written again')
  const unpinned = reconcile(contextOf(book, {}))
  t.strictSame(unpinned.lost, [{ container: db, address: ip('10.42.0.40') }], 'a pin went')
  const older = reconcile(contextOf(bookOf(own(first), at('10.42.0.2', used())), {}, () => false))
  t.strictSame(older, { changes: [], lost: [] }, 'a view that is older than our own write says nothing')
  const found = reconcile(
    contextOf(bookOf(), {
      blocks: [[first, claim(self)]],
      pins: [['10.42.0.5', claim(other, { container: db })]],
    }),
  )
  const anew = bookOf(...found.changes)
  t.equal(anew.stateOf(first), 'owned', 'a block whose claim had no answer')
  t.match(anew.uses.get(ip('10.42.0.5')), { is: 'lent', host: other }, 'with what others have pinned in it')
})

test('what is to be done in the store', async (t) => {
  const book = bookOf(own(first))
  const wanted = claim(other, { container: db, confirmed: false })
  const chores = choresOf(
    contextOf(book, {
      blocks: [[first, claim(self)]],
      pins: [
        ['10.42.0.5', wanted],
        ['10.42.0.50', claim(self, { container: web })],
        ['10.42.0.51', wanted],
      ],
    }),
  )
  t.strictSame(chores, { requests: [[ip('10.42.0.5'), wanted]], orphans: [ip('10.42.0.50')], missing: [] })
})

test('every block that the settings allow is claimed in one transaction of etcd', async (t) => {
  const keys = keysOf('x')
  const base = { name: 'x', uuid: '00000000-0000-0000-0000-000000000000', domain: 'x', createdAt: 0 }
  for (let bits = 8; bits <= 30; bits++) {
    const settings = JSON.stringify({ ...base, subnet: '10.0.0.0/8', blockBits: bits })
    const decoded = decodeRecord(settingsSchema, settings)
    const { first, blockSize, blockCount } = spaceOf({ subnet: net('10.0.0.0/8'), blockBits: bits })
    let most = 0
    for (let index = 0; index < Math.min(blockCount, 40); index++)
      most = Math.max(most, noPinInside(keys, cidrOf(ipv4At(first, index * blockSize), bits)).length)
    t.equal(decoded.is === 'ok', most + 1 <= 128, `/${bits} needs ${most + 1} conditions`)
  }
  const whole = decodeRecord(
    settingsSchema,
    JSON.stringify({ ...base, subnet: '10.42.0.0/25', blockBits: 24 }),
  )
  t.match(whole, { is: 'bad', why: /blockBits: blocks of \/9, \/17 and \/25/ })
})
