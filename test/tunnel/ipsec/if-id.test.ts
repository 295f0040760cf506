import { test } from 'tap'
import type { HostId } from '../../../model/records.ts'
import { ifIdsOf, xfrmInterfaceOf } from '../../../tunnel/ipsec/if-id.ts'
import { hostIdOf } from '../../support/snapshots.ts'

const hosts = (count: number): readonly HostId[] => Array.from({ length: count }, (_, at) => hostIdOf(at + 1))

test('a peer keeps its number whoever else comes and goes', (t) => {
  const few = ifIdsOf('default', hosts(3))
  const many = ifIdsOf('default', [...hosts(500)].reverse())
  for (const host of hosts(3)) t.equal(many.get(host), few.get(host))
  t.end()
})

test('numbers are different, never 0, and others in another environment', (t) => {
  const numbers = [...ifIdsOf('default', hosts(5000)).values()]
  t.equal(new Set(numbers).size, 5000)
  t.ok(numbers.every((number) => Number.isInteger(number) && number > 0 && number < 2 ** 32))
  const other = new Set<number>(ifIdsOf('other', hosts(5000)).values())
  t.ok(numbers.filter((number) => other.has(number)).length < 3)
  t.end()
})

test('the name of an interface fits', (t) => {
  for (const ifId of ifIdsOf('default', hosts(100)).values())
    t.match(xfrmInterfaceOf(ifId), /^drx[0-9a-f]{8}$/)
  t.end()
})
