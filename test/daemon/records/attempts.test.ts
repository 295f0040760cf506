/**
 * Who tried what, counted; and what a fold notes of records that do not count and of the clocks of other hosts.
 */
import { test } from 'tap'
import { Attempts } from '../../../daemon/records/attempts.ts'
import { Fold } from '../../../daemon/records/fold.ts'
import { utf8 } from '../../../model/bytes.ts'
import type { Cidr } from '../../../model/ip.ts'
import { instant, later, minutes, seconds } from '../../../model/time.ts'
import { authorityFor, began, keys, Member } from '../../support/members.ts'
import { FakeClock, MemoryLog, MemoryMeter } from '../../support/ports.ts'
import { settings } from '../../support/records.ts'

test('the same thing by the same one is one line', (t) => {
  const attempts = new Attempts()
  attempts.note('a', 'block', instant(1))
  attempts.note('b', 'block', instant(2))
  attempts.note('a', 'block', instant(3))
  t.strictSame(attempts.list(), [
    { who: 'b', what: 'block', times: 1, first: 2, last: 2 },
    { who: 'a', what: 'block', times: 2, first: 1, last: 3 },
  ])
  for (let n = 0; n < 1000; n++) attempts.note(`x${n}`, 'y'.repeat(5000), instant(n))
  const list = attempts.list()
  t.equal(list.length, 100, 'whoever writes how much')
  t.ok(list.every(({ what }) => what.length <= 200))
  t.end()
})

test('a fold notes who signed what does not count, and how far clocks are apart', (t) => {
  const { ca, trust } = authorityFor(t)
  const [one, evil] = [new Member(t, 'h1', ca), new Member(t, 'evil', authorityFor(t).ca)]
  const clock = new FakeClock(began)
  const fold = new Fold(
    {
      log: new MemoryLog(),
      meter: new MemoryMeter(),
      trust: () => trust,
      now: () => clock.now(),
      isLive: () => false,
    },
    { keys, self: one.id, settings },
  )
  const block = keys.block('10.42.0.0/26' as Cidr)
  fold.apply({ is: 'snapshot', revision: 1, entries: [one.host(), one.head(later(began, seconds(-40)))] })
  t.strictSame(fold.attempts, [])
  t.strictSame(fold.headTimes.get(one.id), { signed: began - 40_000, seen: began, watched: false })

  const entries = [
    { key: `${keys.prefix}nonsense`, value: utf8('x'), revision: 2 },
    { key: block, value: utf8('x'), revision: 2 },
    evil.host(),
    { ...evil.host(), key: one.hostKey },
  ]
  const changes = entries.map((entry) => ({ is: 'put' as const, entry }))
  fold.apply({ is: 'events', revision: 2, changes })
  clock.advance(minutes(1))
  fold.apply({ is: 'events', revision: 3, changes: changes.slice(-1) })
  t.match(fold.attempts, [
    { who: '', what: 'unknown: unknown key', times: 1 },
    { who: '', what: 'block: not an envelope' },
    { who: evil.id, what: /^host: the certificate/, times: 1 },
    { who: evil.id, what: 'host: signed by another host', times: 2, first: began, last: began + 60_000 },
  ])

  const head = one.head(later(clock.now(), seconds(95)))
  fold.apply({ is: 'events', revision: 4, changes: [{ is: 'put', entry: head }] })
  const times = fold.headTimes.get(one.id)
  t.match(times, { watched: true })
  t.equal((times?.signed ?? 0) - (times?.seen ?? 0), 95_000)
  t.end()
})
