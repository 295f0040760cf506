/**
 * Numbers within a service: given by a scheduler, or the lowest free one that then stays.
 */
import { test } from 'tap'
import { indexOf } from '../../../daemon/containers/numbering.ts'
import type { Wish } from '../../../model/engine.ts'
import { instant } from '../../../model/time.ts'
import { container, containerId, environment } from '../../support/records.ts'

const wish: Wish = {
  managed: true,
  environment: 'default',
  stack: 'shop',
  service: 'web',
  sidekick: null,
  index: null,
  requestedAddresses: [],
  dns: true,
  dnsPriority: 'first',
  problems: [],
}
const web = (name: string, index: number, createdAt: number) =>
  container(name, { stack: 'shop', service: 'web', index, createdAt: instant(createdAt) })
const mine = { id: containerId('mine'), createdAt: instant(50) }

test('index of a container', (t) => {
  t.equal(indexOf(mine, { ...wish, index: 7 }, undefined), 7, 'a scheduler has numbered it')
  t.equal(indexOf(mine, { ...wish, service: null }, undefined), 1, 'no service')
  t.equal(
    indexOf(mine, wish, environment({ containers: [web('a', 1, 1), web('c', 3, 3)] })),
    2,
    'lowest free',
  )
  t.equal(indexOf(mine, wish, environment({ containers: [web('mine', 5, 50), web('a', 1, 1)] })), 5, 'kept')
  const other = container('db', { stack: 'shop', service: 'db', index: 1 })
  t.equal(indexOf(mine, wish, environment({ containers: [other] })), 1, 'another service does not count')
  t.end()
})

test('of two equal ones the later moves', (t) => {
  const both = [web('mine', 1, 50), web('a', 1, 1)]
  t.equal(indexOf(mine, wish, environment({ containers: both })), 2)
  t.equal(
    indexOf({ id: containerId('a'), createdAt: instant(1) }, wish, environment({ containers: both })),
    1,
  )
  t.end()
})
