/**
 * From signed bytes in the store to a snapshot: what a member has signed and its head lists counts, whatever
 * order it comes in. Whoever can write to the store, but has no certificate, changes nothing, and is seen.
 */
import { type Test, test } from 'tap'
import { Fold } from '../../../daemon/records/fold.ts'
import { utf8 } from '../../../model/bytes.ts'
import type { Cidr } from '../../../model/ip.ts'
import { instant, minutes } from '../../../model/time.ts'
import { hostIdOf } from '../../../pki/envelope.ts'
import { headRecordOf, openHead } from '../../../pki/head.ts'
import type { Trust } from '../../../pki/trust.ts'
import type { Entry, Update } from '../../../store/store.ts'
import { authorityFor, began, keys, Member } from '../../support/members.ts'
import { FakeClock, MemoryLog, MemoryMeter, SeededRandom } from '../../support/ports.ts'
import { container, ip, settings } from '../../support/records.ts'

const view = { fresh: true, reachability: new Map() }
const block = (text: string): string => keys.block(text as Cidr)
const put = (...entries: readonly Entry[]): Update => ({
  is: 'events',
  revision: 2,
  changes: entries.map((entry) => ({ is: 'put', entry })),
})
const snapshot = (...entries: readonly Entry[]) => ({ is: 'snapshot', revision: 1, entries }) as const

/** Two hosts; the first one has a block and a container in it, and looks at nothing: the reader is a third. */
function worldOf(t: Test) {
  const { ca, trust } = authorityFor(t)
  const [one, two] = [new Member(t, 'h1', ca), new Member(t, 'h2', ca)]
  const reader = new Member(t, 'reader', ca)
  const clock = new FakeClock(began)
  let trusted: Trust = trust
  const fresh = () => {
    const meter = new MemoryMeter()
    const fold = new Fold(
      { log: new MemoryLog(), meter, trust: () => trusted, now: () => clock.now(), isLive: () => false },
      { keys, self: reader.id, settings },
    )
    return {
      fold,
      rejected: () => [...meter.values.values()].reduce((sum, value) => sum + value, 0),
      address: () => fold.environment(view).containers.get(web.id)?.address,
    }
  }
  const web = container('web', { host: one.id, address: ip('10.42.0.2') })
  const webKey = keys.container(one.id, web.id)
  const hostOne = one.host()
  const claim = one.claims(block('10.42.0.0/26'))
  const webEntry = one.says(webKey, web)
  const headOne = one.head()
  const all = [hostOne, claim, webEntry, headOne, two.host(), two.head()]
  const set = (next: Partial<Trust>): void => {
    trusted = { ...trusted, ...next }
  }
  return { ca, one, two, reader, clock, fresh, web, webKey, webEntry, hostOne, claim, headOne, all, set }
}

test('whatever order they come in', (t) => {
  const { fresh, all, webEntry } = worldOf(t)
  const random = new SeededRandom(3)
  for (let round = 0; round < 20; round++) {
    const { fold, address } = fresh()
    const shuffled = [...all].sort(() => random.below(3) - 1)
    for (const entry of shuffled) fold.apply(put(entry))
    t.equal(address(), ip('10.42.0.2'))
    t.strictSame(fold.refused(), [])
  }
  const { fold, address, rejected } = fresh()
  fold.apply(snapshot(...all))
  const environment = fold.environment(view)
  t.equal(address(), ip('10.42.0.2'))
  fold.apply({ is: 'events', revision: 9, changes: [{ is: 'delete', key: webEntry.key, revision: 9 }] })
  t.equal(fold.environment(view).containers.size, 0)
  t.equal(environment.containers.size, 1, 'a snapshot never changes')
  t.equal(rejected(), 0)
  t.end()
})

test('a stranger with full access to the store changes nothing, and is seen', (t) => {
  const { ca, one, two, fresh, all, web, webKey, webEntry, hostOne, headOne } = worldOf(t)
  const { ca: other } = authorityFor(t)
  const stranger = new Member(t, 'evil', other)
  const bare = new Member(t, 'bare', ca, { certificate: '' })
  const stolen = new Member(t, 'stolen', ca, { certificate: one.record.certificate })
  const forged = { ...web, address: ip('10.42.0.9') }
  const attempts: Record<string, Entry[]> = {
    'a host with a certificate of another CA': [stranger.host(), stranger.head()],
    'a host without a certificate': [bare.host(), bare.head()],
    "a host with another host's certificate": [stolen.host(), stolen.head()],
    'the record of a host, by another key': [
      stranger.sealed(one.hostKey, { ...one.record, signingKey: stranger.identity.signingKey }),
    ],
    'an unsigned record of a host': [{ key: one.hostKey, value: utf8('{"name":"evil"}'), revision: 2 }],
    'a container, by another key': [stranger.sealed(webKey, forged)],
    'a container, by another member': [two.sealed(webKey, forged)],
    'a container under the key of another host': [{ ...webEntry, key: keys.container(two.id, web.id) }],
    'an altered container': [
      {
        ...webEntry,
        value: utf8(new TextDecoder().decode(webEntry.value).replace('10.42.0.2', '10.42.0.9')),
      },
    ],
    'a block in the name of another host': [two.sealed(block('10.42.0.0/26'), { host: one.id, epoch: 9 })],
    'the block of another host': [stranger.sealed(block('10.42.0.0/26'), { host: stranger.id, epoch: 9 })],
    'an address inside the block of another host': [
      two.says(keys.pin(ip('10.42.0.2')), { host: one.id, epoch: 9, container: web.id, confirmed: true }),
      two.head(),
    ],
    'a list of another host': [stranger.sealed(keys.head(one.id), headRecordOf(one.id, [], began))],
    garbage: [{ key: `${keys.prefix}nonsense/1`, value: utf8('x'), revision: 2 }],
  }
  for (const [what, entries] of Object.entries(attempts)) {
    const { fold, address } = fresh()
    fold.apply(snapshot(...all))
    const before = fold.environment(view)
    fold.apply(put(...entries))
    t.strictSame(fold.environment(view), { ...before, revision: 2 }, what)
    t.ok(
      fold.refused().some(({ key }) => entries.some((entry) => entry.key === key)),
      `${what}: seen`,
    )
    const kept = all.filter(({ key }) => !entries.some((entry) => entry.key === key))
    fold.apply(snapshot(...kept, ...entries))
    t.equal(address(), ip('10.42.0.2'), `${what}: also in a snapshot`)
    t.equal(fold.environment(view).hosts.size, 2)
    const { fold: late } = fresh()
    late.apply(snapshot(...kept, ...entries))
    t.notOk(
      [...late.environment(view).hosts.values()].some(({ record }) => /evil|bare|stolen/.test(record.name)),
    )
    t.not(
      late.environment(view).containers.get(web.id)?.address,
      ip('10.42.0.9'),
      `${what}: for a new reader`,
    )
  }
  t.ok(hostOne && headOne)
  t.end()
})

test('old bytes that are put back change nothing', (t) => {
  const { one, fresh, all, web, webKey, webEntry, hostOne, headOne, claim } = worldOf(t)
  const moved = one.says(webKey, { ...web, address: ip('10.42.0.7') })
  const elsewhere = one.host({ endpoint: { address: '192.0.2.77', wireguard: 51820 } })
  const newHead = one.head()
  const { fold, address } = fresh()
  fold.apply(snapshot(...all))
  fold.apply(put(moved, elsewhere, newHead))
  const endpoint = () => fold.environment(view).hosts.get(one.id)?.record.endpoint.address
  for (const old of [webEntry, hostOne, headOne]) {
    fold.apply(put(old))
    t.equal(address(), ip('10.42.0.7'))
    t.equal(endpoint(), '192.0.2.77')
    t.ok(
      fold.refused().some(({ key }) => key === old.key),
      'and it is seen',
    )
  }
  fold.apply(put(webEntry, hostOne, headOne, claim))
  t.equal(address(), ip('10.42.0.7'), 'all of them together, with their list')
  fold.apply(snapshot(...all))
  t.equal(address(), ip('10.42.0.7'), 'also by a snapshot')

  const { fold: again, address: then } = fresh()
  again.recall(fold.floors, [])
  again.apply(snapshot(...all))
  t.not(then(), ip('10.42.0.2'), 'nor after a restart: the counters are remembered')
  again.apply(put(moved, elsewhere, newHead))
  t.equal(then(), ip('10.42.0.7'))

  one.live.delete(webKey)
  const without = one.head()
  fold.apply({
    is: 'events',
    revision: 5,
    changes: [
      { is: 'delete', key: webKey, revision: 5 },
      { is: 'put', entry: without },
    ],
  })
  t.equal(fold.environment(view).containers.size, 0, 'removed')
  fold.apply(put(moved))
  fold.apply(put(webEntry))
  t.equal(fold.environment(view).containers.size, 0, 'resurrection')
  t.end()
})

test('what a restored store has lost goes on until it is said again', (t) => {
  const { one, two, reader, clock, fresh, all, webEntry } = worldOf(t)
  const { fold, address } = fresh()
  const own = [reader.host(), reader.head()]
  fold.apply({ ...snapshot(...all, ...own), revision: 5 })
  t.equal(address(), ip('10.42.0.2'))
  const [hostAgain, claimAgain] = [one.host(), one.claims(block('10.42.0.0/26'))]
  const blocks = () => fold.environment(view).blocks.size
  // Claims are written by themselves: the head that lists the new one may be there before it.
  fold.apply(snapshot(hostAgain, one.head()))
  t.equal(fold.wentBack, true, 'without the head of this host')
  t.equal(blocks(), 1)
  t.equal(address(), ip('10.42.0.2'))
  fold.apply(put(claimAgain, webEntry, two.host(), two.head(), ...own))
  t.equal(fold.bridgedUntil, undefined, 'all is said again')
  t.equal(fold.wentBack, false)

  const claimLast = one.claims(block('10.42.0.0/26'))
  fold.apply(snapshot(hostAgain, one.head(), webEntry, ...own))
  t.equal(blocks(), 1, 'by its revision alone')
  clock.advance(minutes(1))
  t.equal(blocks(), 0, 'not for ever')
  fold.apply(put(claimLast))
  t.equal(address(), ip('10.42.0.2'))
  t.end()
})

test('a host speaks only for addresses that it holds', (t) => {
  const { one, two, fresh, all, web } = worldOf(t)
  const thief = container('thief', { host: two.id, address: ip('10.42.0.2') })
  const entries = [two.says(keys.container(two.id, thief.id), thief), two.head()]
  const { fold, address } = fresh()
  fold.apply(snapshot(...all, ...entries))
  t.equal(fold.environment(view).containers.get(thief.id)?.address, null, 'in the block of another')
  t.equal(address(), ip('10.42.0.2'))
  fold.apply(put(two.host({ managed: ip('10.42.0.1') }), two.head()))
  t.equal(fold.environment(view).hosts.get(two.id)?.record.managed, null, 'nor is it its own address')
  const pin = one.says(keys.pin(ip('10.42.0.9')), {
    host: two.id,
    epoch: 2,
    container: thief.id,
    confirmed: true,
  })
  const there = two.says(keys.container(two.id, thief.id), { ...thief, address: ip('10.42.0.9') })
  fold.apply(put(pin, one.head(), there, two.head()))
  t.equal(fold.environment(view).containers.get(thief.id)?.address, ip('10.42.0.9'), 'what the owner lent it')
  for (const odd of ['10.42.0.0/16', '10.42.64.0/25', '10.43.0.0/26', '0.0.0.0/0'])
    fold.apply(put(two.claims(block(odd)), two.head()))
  t.equal(fold.environment(view).blocks.size, 1, 'no block but one of the subnet')
  t.ok(web)
  t.end()
})

test('of two claims the higher epoch wins', (t) => {
  const { one, two, fresh, all } = worldOf(t)
  const { fold } = fresh()
  const holder = () => fold.environment(view).blocks.get('10.42.0.0/26' as Cidr)?.host
  fold.apply(snapshot(...all))
  fold.apply(put(two.claims(block('10.42.0.0/26'), 1), two.head()))
  t.equal(holder(), one.id)
  fold.apply(put(two.claims(block('10.42.0.0/26'), 2), two.head()))
  t.equal(holder(), two.id)
  t.end()
})

test('certificates end, are renewed, and are revoked', (t) => {
  const { ca, one, two, clock, fresh, all, set, web } = worldOf(t)
  const { fold } = fresh()
  fold.apply(snapshot(...all))
  t.equal(fold.environment(view).hosts.size, 2)
  clock.advance(minutes(31 * 24 * 60))
  const late = fold.environment(view)
  t.equal(late.hosts.size, 0)
  t.equal(late.containers.size + late.blocks.size, 0)
  t.match(fold.strangers(), [{ code: 'CERTIFICATE_EXPIRED' }, { code: 'CERTIFICATE_EXPIRED' }])
  t.match(fold.refused()[0]?.why, /has expired/)
  const renewed = ca.issueHost(one.id, one.identity.signingKey, clock.now()).pem
  fold.apply(put(one.host({ certificate: renewed }), one.head()))
  t.equal(fold.environment(view).containers.get(web.id)?.name, 'web')
  set({ revoked: new Set([one.id]) })
  t.equal(fold.environment(view).hosts.size, 0, 'revoked')
  t.match(
    fold
      .refused()
      .map(({ why }) => why)
      .join(),
    /is revoked/,
  )
  const again = ca.issueHost(one.id, one.identity.signingKey, clock.now()).pem
  fold.apply(put(one.host({ certificate: again }), one.head()))
  t.equal(fold.environment(view).hosts.size, 0, 'no certificate brings it back')
  const next = new Member(t, 'h3', ca, {
    certificate: '',
  })
  const good = ca.issueHost(next.id, next.identity.signingKey, clock.now()).pem
  const free = block('10.42.0.0/26')
  fold.apply({
    is: 'events',
    revision: 7,
    changes: [
      { is: 'delete', key: free, revision: 6 },
      { is: 'put', entry: next.claims(free) },
      { is: 'put', entry: next.host({ certificate: good }) },
      { is: 'put', entry: next.head() },
    ],
  })
  fold.apply(put(one.claims(free, 99), one.head()))
  t.equal(
    fold.environment(view).blocks.get('10.42.0.0/26' as Cidr)?.host,
    next.id,
    'nor takes it a block back',
  )
  t.ok(two)
  t.end()
})

test('lists of numbers', (t) => {
  const random = new SeededRandom(7)
  const { one } = worldOf(t)
  for (const size of [0, 1, 2, 1000]) {
    const numbers = new Set(Array.from({ length: size }, () => random.below(2 ** 31)))
    const record = headRecordOf(one.id, numbers, began)
    const opened = openHead(JSON.stringify(record), one.id)
    t.strictSame(opened.is === 'ok' ? [...opened.value.live].sort() : [], [...numbers].sort())
    t.ok(record.live.length < 10 + 8 * size)
  }
  for (const live of [' ', '1  2', '-1', '1.5', 'A', '1 '])
    t.equal(openHead(JSON.stringify({ host: one.id, time: 1, live }), one.id).is, 'bad', live)
  t.equal(openHead(JSON.stringify(headRecordOf(one.id, [1], began)), hostIdOf('')).is, 'bad')
  t.end()
})

test('a thousand changes of containers cost well under a second', (t) => {
  const { one, fresh, all, web } = worldOf(t)
  const many = Array.from({ length: 1000 }, (_, at) =>
    container(`c${at}`, { host: one.id, labels: web.labels }),
  )
  const { fold } = fresh()
  fold.apply(snapshot(...all))
  const began = performance.now()
  const entries = many.map((each) => one.says(keys.container(one.id, each.id), each))
  const signed = performance.now()
  for (let at = 0; at < entries.length; at += 100) fold.apply(put(...entries.slice(at, at + 100), one.head()))
  const size = fold.environment(view).containers.size
  t.comment(
    `signed in ${Math.round(signed - began)} ms, taken in ${Math.round(performance.now() - signed)} ms`,
  )
  t.equal(size, 1001)
  t.end()
})

test('random garbage never throws', (t) => {
  const { one, two, fresh, all, webEntry } = worldOf(t)
  const { fold, address } = fresh()
  fold.apply(snapshot(...all))
  const random = new SeededRandom(11)
  const names = [
    one.hostKey,
    webEntry.key,
    keys.settings,
    keys.alive(two.id),
    keys.head(one.id),
    `${keys.prefix}blocks/x`,
    keys.prefix,
  ]
  for (let at = 0; at < 2000; at++) {
    const key = names[random.below(names.length)] ?? ''
    const value =
      random.below(2) === 0
        ? random.bytes(random.below(300))
        : webEntry.value.slice(0, random.below(webEntry.value.length))
    fold.apply(put({ key, value, revision: at }))
  }
  t.equal(address(), ip('10.42.0.2'), 'and changes nothing')
  t.end()
})

test('whose containers count', (t) => {
  const { two, fresh, all, reader } = worldOf(t)
  const { fold } = fresh()
  const alive = two.sealed(keys.alive(two.id), { host: two.id, since: 1 })
  fold.apply(snapshot(...all, reader.host(), reader.head(), alive))
  const present = (fresh: boolean, reachability: 'answers' | 'silent' | 'unknown') => {
    const probed = new Map([...fold.environment(view).hosts.keys()].map((id) => [id, reachability] as const))
    return fold.environment({ fresh, reachability: probed }).hosts.get(two.id)?.present
  }
  t.equal(present(true, 'unknown'), true)
  t.equal(present(true, 'silent'), false, 'probes decide')
  t.equal(present(false, 'answers'), true, 'cut off from the store, not from peers')
  t.equal(present(false, 'silent'), true, 'we are the ones cut off: keep everything')
  const renewed = two.sealed(keys.alive(two.id), { host: two.id, since: 2 })
  fold.apply(put(renewed))
  fold.apply(put(alive))
  t.equal(fold.environment(view).hosts.get(two.id)?.alive?.since, instant(2), 'an old alive key is old bytes')
  fold.apply({ is: 'events', revision: 2, changes: [{ is: 'delete', key: alive.key, revision: 2 }] })
  t.equal(present(true, 'unknown'), false, 'no alive key, nothing known')
  t.equal(present(true, 'answers'), true)
  t.equal(fold.environment(view).hosts.get(reader.id)?.present, true, 'always ourselves')
  t.end()
})
