/**
 * The projection from a snapshot to a tree: what our records become, who asks, what changes the version, and that
 * unchanged parts stay the same objects.
 */
import { test } from 'tap'
import { type Asker, askersOf } from '../../metadata/asker.ts'
import { changedBy, deltaOf } from '../../metadata/delta.ts'
import { Pieces } from '../../metadata/pieces.ts'
import { treeOf } from '../../metadata/tree.ts'
import { type Dict, isDict, isList, type Value } from '../../metadata/value.ts'
import type { Environment } from '../../model/environment.ts'
import { instant } from '../../model/time.ts'
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

const host: Asker = { is: 'host' }
const rootOf = (environment: Environment, pieces = new Pieces()): Dict =>
  treeOf(environment, pieces).root('v3', host)

const listOf = (dict: Dict, key: string): readonly Dict[] => {
  const value: Value = dict[key] ?? null
  return isList(value) ? value.filter(isDict) : []
}
const named = (dict: Dict, key: string): readonly Value[] => listOf(dict, key).map(({ name }) => name ?? null)

const web = { stack: 'shop', service: 'Web' }

test('states, health and what is not exported', async (t) => {
  const states = ['created', 'running', 'paused', 'restarting', 'removing', 'exited', 'dead'] as const
  const root = rootOf(
    environmentOf({ containers: states.map((state, at) => containerRecordOf(at, { name: state, state })) }),
  )
  t.strictSame(
    listOf(root, 'containers').map(({ name, state }) => `${name}=${state}`),
    ['created=stopped', 'exited=stopped', 'paused=running', 'restarting=restarting', 'running=running'],
  )
  const healths = ['none', 'starting', 'healthy', 'unhealthy'] as const
  const sick = rootOf(
    environmentOf({
      containers: healths.map((health, at) => containerRecordOf(at, { health, name: `h${at}` })),
    }),
  )
  t.strictSame(
    listOf(sick, 'containers').map((each) => each.health_state),
    [null, 'initializing', 'healthy', 'unhealthy'],
  )
})

test('ports', async (t) => {
  const ports = ['0.0.0.0:80:8080/tcp', ':::80:8080/tcp', '81:81/udp', '192.0.2.9:82:82/tcp', 'rubbish']
  const environment = environmentOf({ containers: [containerRecordOf(1, { ...web, ports })] })
  const tree = treeOf(environment, new Pieces())
  const of = (version: 'v2' | 'v3') => listOf(tree.root(version, host), 'containers')[0]?.ports
  t.strictSame(of('v3'), ['0.0.0.0:80:8080/tcp', '0.0.0.0:81:81/udp', '192.0.2.9:82:82/tcp'])
  t.strictSame(of('v2'), ['192.0.2.1:80:8080/tcp', '192.0.2.1:81:81/udp', '192.0.2.9:82:82/tcp'])
  t.strictSame(listOf(tree.root('v3', host), 'services')[0]?.ports, [
    '192.0.2.9:82:82/tcp',
    '80:8080/tcp',
    '81:81/udp',
  ])
})

test('services, sidekicks, aliases and what was declared', async (t) => {
  const environment = environmentOf({
    containers: [
      containerRecordOf(1, { ...web, name: 'w1', index: 1, labels: { a: 'b', only: '1' } }),
      containerRecordOf(2, { ...web, name: 'w2', index: 3, labels: { a: 'b', only: '2' } }),
      containerRecordOf(3, { ...web, name: 'side', sidekick: 'Log', networkFrom: containerIdOf(1) }),
    ],
    services: [
      declaredOf({ stack: 'shop', name: 'Web', metadata: { colour: 'red' }, links: { 'shop/DB': 'Db' } }),
      declaredOf({ stack: 'shop', name: 'Alias', kind: 'dnsService', targets: ['shop/Web'] }),
      declaredOf({ stack: 'out', name: 'api', kind: 'externalService', externalIps: ['198.51.100.7'] }),
    ],
  })
  const root = rootOf(environment)
  t.strictSame(named(root, 'services'), ['api', 'alias', 'log', 'web'])
  const [api, alias, log, service] = listOf(root, 'services')
  t.match(api, { kind: 'externalService', external_ips: ['198.51.100.7'], create_index: null, scale: 1 })
  t.match(alias, { kind: 'dnsService', links: { 'shop/web': 'Web' } })
  t.match(service, { labels: { a: 'b' }, metadata: { colour: 'red' }, links: { 'shop/db': 'Db' }, scale: 2 })
  t.match(service, { create_index: 3, sidekicks: ['log'], primary_service_name: 'web' })
  t.strictSame(service?.labels, { a: 'b' })
  t.equal(log?.uuid, service?.uuid)
  t.match(log, { primary_service_name: 'web', sidekicks: ['log'], create_index: 3 })
  const side = listOf(root, 'containers').find(({ name }) => name === 'side')
  t.equal(side?.network_from_container_uuid, environment.containers.get(containerIdOf(1))?.uuid)
})

test('absurd names are told apart', async (t) => {
  const names = [
    { stack: 'a\0b', service: 'c', sidekick: null },
    { stack: 'a', service: 'b\0c', sidekick: null },
    { stack: 'a', service: 'b', sidekick: 'c' },
    { stack: 'a', service: 'b/c', sidekick: null },
    { stack: '__proto__', service: 'constructor', sidekick: '' },
    { stack: 'x'.repeat(4096), service: '\ud800', sidekick: null },
  ]
  const containers = names.map((name, at) => containerRecordOf(at, name))
  const root = rootOf(environmentOf({ containers }))
  for (const [at, { stack, service, sidekick }] of names.entries()) {
    const shown = listOf(root, 'containers').find(({ uuid }) => uuid === containers[at]?.uuid)
    t.match(shown, { stack_name: stack.toLowerCase(), service_name: sidekick ?? service })
  }
})

test('links of containers are uuids; unknown ones are left out', async (t) => {
  const links = { db: 'data', gone: 'nobody' }
  const containers = [containerRecordOf(1, { links }), containerRecordOf(2, { name: 'data' })]
  const root = rootOf(environmentOf({ containers }))
  t.strictSame(listOf(root, 'containers')[0]?.links, { db: containers[1]?.uuid })
})

test('of two containers with one name the older is shown, and both see themselves', async (t) => {
  const older = containerRecordOf(1, { name: 'same', createdAt: instant(1), host: hostIdOf(2) })
  const younger = containerRecordOf(2, { name: 'same', createdAt: instant(2) })
  for (const containers of [
    [older, younger],
    [younger, older],
  ]) {
    const environment = environmentOf({ containers })
    const tree = treeOf(environment, new Pieces())
    t.strictSame(
      listOf(tree.root('v3', host), 'containers').map(({ uuid }) => uuid),
      [older.uuid],
    )
    const { self } = tree.root('v3', { is: 'container', record: younger })
    t.match(self, { container: { uuid: younger.uuid }, host: { uuid: hostIdOf(1) } })
  }
})

test('containers of a host that does not count are left out, the host is shown as away', async (t) => {
  const away = hostOf(hostRecordOf(2), { present: false })
  const containers = [
    containerRecordOf(1, { name: 'here' }),
    containerRecordOf(2, { name: 'there', host: hostIdOf(2) }),
  ]
  const root = rootOf(environmentOf({ hosts: [hostOf(hostRecordOf(1)), away], containers }))
  t.strictSame(named(root, 'containers'), ['here'])
  t.strictSame(
    listOf(root, 'hosts').map(({ agent_state }) => agent_state),
    ['active', 'disconnected'],
  )
})

test('who asks', async (t) => {
  const mine = ['172.17.0.2']
  const containers = [
    containerRecordOf(1, { address: ip('10.42.0.10'), engineAddresses: mine }),
    containerRecordOf(2, { address: ip('10.42.0.11'), engineAddresses: ['172.18.0.2'] }),
    containerRecordOf(3, { address: null, engineAddresses: ['172.18.0.2'] }),
    containerRecordOf(4, { address: ip('10.42.0.10'), networkFrom: containerIdOf(1) }),
    containerRecordOf(5, { address: ip('10.42.1.10'), engineAddresses: ['172.17.0.3'], host: hostIdOf(2) }),
    containerRecordOf(6, { address: null, engineAddresses: ['172.17.0.4'], state: 'exited' }),
    containerRecordOf(7, { address: ip('10.42.0.17'), state: 'exited' }),
    containerRecordOf(8, { address: ip('10.42.0.18') }),
    containerRecordOf(9, { address: ip('10.42.0.18') }),
  ]
  const askers = askersOf(environmentOf({ containers }), (address) => address === '172.17.0.1')
  const who = (address: string, forwarded = false): string => {
    const asker = askers.at({ address, forwarded })
    return asker.is === 'container' ? asker.record.name : asker.is
  }
  t.equal(who('10.42.0.10'), 'container-1', 'the owner of a shared namespace')
  t.equal(who('::ffff:10.42.0.10'), 'container-1')
  t.equal(who('172.17.0.2'), 'container-1')
  t.equal(who('172.18.0.2'), 'ambiguous', 'one address on two networks of the engine')
  t.equal(who('10.42.1.10'), 'host', 'a container of another host asks over there')
  t.equal(who('10.42.1.10', true), 'container-5', 'unless a trusted proxy speaks for it')
  t.equal(who('172.17.0.3', true), 'host', 'whose engine address means nothing here all the same')
  t.equal(who('172.17.0.3'), 'host', 'an engine address of another host means nothing here')
  t.equal(who('172.17.0.4'), 'host', 'a stopped container does not ask')
  t.equal(who('10.42.0.17'), 'container-7')
  t.equal(who('10.42.0.18'), 'ambiguous')
  t.equal(who('172.17.0.1'), 'host')
  t.equal(who('203.0.113.9'), 'host')
  t.equal(who(''), 'host')
  const root = treeOf(environmentOf({ containers }), new Pieces()).root('v3', { is: 'ambiguous' })
  t.notOk(Object.hasOwn(root, 'self'), 'nobody is better than somebody else')
})

test('the version changes with the content and only then', async (t) => {
  const one = containerRecordOf(1, web)
  const versionOf = (environment: Environment, pieces = new Pieces()): string =>
    treeOf(environment, pieces).version
  const kept = new Pieces()
  const first = versionOf(environmentOf({ containers: [one] }), kept)
  t.equal(
    versionOf(
      environmentOf({ revision: 99, containers: [{ ...one, problems: ['x'], since: instant(5) }] }),
      kept,
    ),
    first,
  )
  t.equal(versionOf(environmentOf({ containers: [one] })), first, 'also without anything kept')
  const changes = [
    environmentOf({ containers: [{ ...one, state: 'exited' }] }),
    environmentOf({ containers: [{ ...one, labels: { a: 'b' } }] }),
    environmentOf({ containers: [] }),
    environmentOf({
      containers: [one],
      services: [declaredOf({ stack: 'shop', name: 'Web', metadata: { a: 1 } })],
    }),
    environmentOf({ containers: [one], hosts: [hostOf(hostRecordOf(1))] }),
    environmentOf({
      containers: [one],
      hosts: [hostOf(hostRecordOf(1)), hostOf(hostRecordOf(2), { present: false })],
    }),
  ]
  const versions = changes.map((environment) => versionOf(environment, kept))
  t.equal(new Set([first, ...versions]).size, changes.length + 1)
})

test('what did not change is the same object, over a delta as well', async (t) => {
  const containers = [
    containerRecordOf(1, web),
    containerRecordOf(2, { ...web, index: 2 }),
    containerRecordOf(3, { stack: 'b', service: 'x' }),
  ]
  const before = environmentOf({ containers })
  const pieces = new Pieces()
  const old = rootOf(before, pieces)
  const [, second, third] = containers
  const after = environmentOf({
    revision: 2,
    containers: [containers[0], third].flatMap((each) => each ?? []),
  })
  const delta = deltaOf(before, { ...after, hosts: before.hosts, settings: before.settings })
  t.match(delta, {
    containers: { put: [], gone: [second?.id] },
    hosts: { put: [], gone: [] },
    settings: undefined,
  })
  const applied = changedBy(changedBy(undefined, deltaOf(undefined, before)), delta)
  if (applied === undefined) throw new TypeError('nothing to apply to')
  t.equal(changedBy(undefined, delta), undefined, 'a change without its beginning')
  const fresh = rootOf(applied, pieces)
  t.equal(listOf(fresh, 'stacks')[0], listOf(old, 'stacks')[0], 'the other stack')
  t.not(listOf(fresh, 'stacks')[1], listOf(old, 'stacks')[1])
  t.equal(listOf(fresh, 'containers')[0], listOf(old, 'containers')[0])
  t.strictSame(fresh, rootOf(applied), 'keeping changes no answer')
})

test('one change among 5,000 containers is not built from zero', async (t) => {
  const containers = Array.from({ length: 5000 }, (_, n) =>
    containerRecordOf(n, {
      stack: `stack${n % 50}`,
      service: `service${n % 500}`,
      index: n,
      labels: { n: String(n) },
    }),
  )
  const pieces = new Pieces()
  const before = environmentOf({ containers })
  const former = rootOf(before, pieces)
  const after = environmentOf({
    hosts: [...before.hosts.values()],
    settings: before.settings,
    containers: [...containers.slice(1), containerRecordOf(0, { name: 'changed' })],
  })
  const root = rootOf(after, pieces)
  t.ok(named(root, 'containers').includes('changed'))
  const [old, fresh] = [listOf(former, 'stacks'), listOf(root, 'stacks')]
  t.equal(fresh.length, 50)
  t.equal(
    fresh.filter((stack) => old.includes(stack)).length,
    49,
    'the other stacks are the objects they were',
  )
})
