/**
 * A projection that goes from snapshot to snapshot: it tells what changed, and comes to the zone of the last one.
 */

import { test } from 'tap'
import { ZoneCopy } from '../../dns/zone/changes.ts'
import { differences } from '../../dns/zone/differences.ts'
import { ZoneProjection } from '../../dns/zone/projection.ts'
import type { Entries } from '../../dns/zone/targets.ts'
import type { Environment } from '../../model/environment.ts'
import type { ContainerId, ContainerRecord } from '../../model/records.ts'
import { SeededRandom } from '../support/ports.ts'
import {
  containerIdOf,
  containerRecordOf,
  declaredOf,
  environmentOf,
  hostIdOf,
  hostOf,
  hostRecordOf,
  ip,
} from '../support/snapshots.ts'
import { entriesOf, takenIn, zoneOf } from '../support/zone-of.ts'

const service = ip('169.254.169.250')

test('changes', (t) => {
  const web = (n: number) =>
    containerRecordOf(n, { stack: 'shop', service: 'web', name: `web-${n}`, address: ip(`10.42.0.${n}`) })
  const many = (count: number) =>
    Array.from({ length: count }, (_, at) =>
      containerRecordOf(at + 10, {
        stack: 'shop',
        service: `s${at % 7}`,
        name: `many-${at}`,
        index: Math.floor(at / 7),
        address: ip(`10.42.${at >> 8}.${at & 255}`),
        exposed: at % 7 === 0 ? ['80/tcp'] : [],
      }),
    )
  const environments: Environment[] = [
    environmentOf({ containers: [web(1), web(2)] }),
    environmentOf({ containers: [web(1), web(2), web(3)], revision: 2 }),
    environmentOf({
      containers: [web(3)],
      revision: 3,
      services: [declaredOf({ stack: 'shop', name: 'x', kind: 'externalService', hostname: 'a.b' })],
    }),
    environmentOf({ revision: 4 }),
    // More than one piece, out of nothing and back to it.
    environmentOf({ containers: many(2500), revision: 5 }),
    environmentOf({ containers: many(2499), revision: 6 }),
    environmentOf({ containers: many(3), revision: 7 }),
  ]
  const projection = new ZoneProjection({ service })
  const kept = new ZoneCopy()
  for (const environment of environments) {
    const zone = zoneOf(environment, { service })
    const { zone: copy } = takenIn(kept, projection.update(environment))
    t.strictSame(
      new Map(entriesOf(copy.names).sort()),
      new Map(entriesOf(zone.names).sort()),
      `revision ${zone.revision}`,
    )
    t.strictSame(
      { ...copy, names: 0, views: [...copy.views].sort() },
      { ...zone, names: 0, views: [...zone.views].sort() },
    )
  }
  const fresh = new ZoneProjection({ service })
  const sizes = environments.map((environment) => entriesOf(fresh.update(environment).names.set).length)
  t.equal(sizes[1], 2, 'the service and the new container')
  t.end()
})

test('whatever changes, the zone is that of the last snapshot alone', (t) => {
  const random = new SeededRandom(7)
  const any = (below: number): number => random.below(below)
  // Names of containers that are names of stacks too; names, services and addresses that several have.
  const record = (n: number) => {
    const shares = any(4) === 0
    return containerRecordOf(n, {
      name: any(4) === 0 ? `stack${any(3)}` : `c${any(12)}`,
      stack: any(5) === 0 ? null : `${any(2) === 0 ? 'S' : 's'}tack${any(3)}`,
      service: `web${any(3)}`,
      sidekick: any(6) === 0 ? 'log' : null,
      index: any(4),
      address: shares || any(6) === 0 ? null : ip(`10.42.${any(2)}.${n}`),
      networkFrom: shares ? containerIdOf(any(16)) : null,
      host: hostIdOf(1 + any(3)),
      health: any(3) === 0 ? 'unhealthy' : 'none',
      state: any(5) === 0 ? 'exited' : 'running',
      exposed: any(4) === 0 ? ['80/tcp'] : [],
      links: any(4) === 0 ? { web: `c${any(12)}` } : {},
    })
  }
  const projection = new ZoneProjection({ service })
  const kept = new ZoneCopy()
  let containers = new Map<ContainerId, ContainerRecord>()
  for (let revision = 1; revision <= 300; revision++) {
    const moved = [...containers.values()]
    if (any(20) === 0) moved.sort(() => any(3) - 1)
    for (let left = any(30) === 0 ? moved.length : any(3); left > 0; left--)
      moved.splice(any(moved.length), 1)
    const next = [...moved, ...Array.from({ length: any(4) }, () => record(any(16)))]
    containers = new Map(next.map((one) => [one.id, one]))
    const hosts = [1, 2, 3].map((n) => hostOf(hostRecordOf(n), { present: n === 1 || any(4) > 0 }))
    const environment = environmentOf({ containers: [...containers.values()], hosts, revision })
    const { zone } = takenIn(kept, projection.update(environment))
    const { names, pointers, askers, views } = zoneOf(environment, { service })
    const sorted = (entries: Entries<unknown, unknown>) => entriesOf(entries).sort()
    t.strictSame(
      [zone.names, zone.pointers, zone.askers, zone.views].map(sorted),
      [names, pointers, askers, views].map(sorted),
      `revision ${revision}`,
    )
  }
  t.end()
})

test('a link to a container that comes later, on another host', (t) => {
  const asker = containerRecordOf(1, { name: 'asker', address: ip('10.42.0.1'), links: { db: 'late' } })
  const late = containerRecordOf(2, { name: 'late', address: ip('10.42.0.2'), host: hostIdOf(2) })
  const projection = new ZoneProjection({ service })
  const linked = (...containers: ContainerRecord[]): boolean => {
    projection.update(environmentOf({ containers }))
    return [...(projection.zone?.views.values() ?? [])].some(({ names }) => names.has('db.rancher.internal'))
  }
  t.same([linked(asker), linked(asker, late), linked(asker)], [false, true, false])
  t.end()
})

test('what differs between two maps', (t) => {
  const of = (...entries: [string, number][]) => new Map(entries)
  const old = of(['a', 1], ['b', 2], ['c', 3])
  const differing = (after: Map<string, number>) => [...differences(old, after)].sort().join('')
  t.equal(differing(old), '')
  t.equal(differing(of(['a', 1], ['b', 2], ['c', 3])), '')
  t.equal(differing(of(['a', 1], ['b', 4], ['c', 3])), 'b')
  t.equal(differing(of(['b', 2], ['c', 3])), 'a', 'gone at the beginning')
  t.equal(differing(of(['a', 1], ['b', 2])), 'c', 'gone at the end')
  t.equal(differing(of(['x', 1], ['a', 1], ['b', 2], ['c', 3], ['y', 1])), 'xy')
  t.equal(differing(of(['c', 3], ['a', 1], ['b', 2])), '', 'another order')
  t.equal(differing(of(['c', 3], ['a', 9])), 'ab')
  t.equal(differing(new Map()), 'abc')
  t.equal([...differences(new Map(), old)].join(''), 'abc')
  t.end()
})
