/**
 * A host that is cut off three times for half a minute: its names leave, and are back by themselves.
 */
import { test } from 'tap'
import { cutRounds } from '../../lab/cut.ts'
import { labFor, labNeeds } from '../support/lab.ts'

test('a host that is cut off', labNeeds(), async (t) => {
  const lab = await labFor(t, { what: 'cut', hosts: 2, store: 'etcd' })
  const rounds = await cutRounds(lab, { times: 3, say: (line) => t.comment(line) })
  t.equal(rounds.length, 3)
  for (const { left } of rounds) t.ok(left < 30_000, 'the names left while it was cut off')
})
