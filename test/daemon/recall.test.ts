/**
 * A daemon that starts again: what its disk remembers, and a store that agrees with it, alarm nobody; somebody who
 * puts old bytes back is seen as before.
 */
import { test } from 'tap'
import { Fold } from '../../daemon/records/fold.ts'
import type { Entry, Update } from '../../store/store.ts'
import { authorityFor, began, keys, Member } from '../support/members.ts'
import { FakeClock, MemoryLog, MemoryMeter } from '../support/ports.ts'
import { container, ip, settings } from '../support/records.ts'

const put = (...entries: readonly Entry[]): Update => ({
  is: 'events',
  revision: 2,
  changes: entries.map((entry) => ({ is: 'put', entry })),
})
const snapshot = (...entries: readonly Entry[]) => ({ is: 'snapshot', revision: 1, entries }) as const

test("what was read from disk is nobody's attempt", (t) => {
  const { ca, trust } = authorityFor(t)
  const [one, two, reader] = ['h1', 'h2', 'reader'].map((name) => new Member(t, name, ca))
  if (one === undefined || two === undefined || reader === undefined) throw new TypeError('no members')
  const clock = new FakeClock(began)
  const deps = { log: new MemoryLog(), meter: new MemoryMeter(), trust: () => trust, now: () => clock.now() }
  const fresh = () => new Fold({ ...deps, isLive: () => false }, { keys, self: reader.id, settings })
  const web = container('web', { host: one.id, address: ip('10.42.0.2') })
  const webKey = keys.container(one.id, web.id)
  const webEntry = one.says(webKey, web)
  const listed = [one.host(), two.host(), webEntry]
  const all = [...listed, one.head(), two.head()]
  const before = fresh()
  before.apply(snapshot(...all))

  const fold = fresh()
  fold.recall(before.floors, all)
  // Heads are signed again every minute, so they are newer than what they list.
  fold.apply(snapshot(...listed, one.head(), two.head()))
  t.strictSame(fold.refused(), [])
  t.strictSame(fold.attempts, [])

  one.live.delete(webKey)
  fold.apply(put(one.head()))
  fold.apply(put(webEntry))
  t.match(fold.attempts, [{ who: one.id, what: 'container: older than the newest list of its host' }])
  t.end()
})
