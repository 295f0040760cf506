/**
 * The projection: which names an environment has, what they stand for, and for whom.
 */

import { test } from 'tap'
import { turnOf } from '../../dns/answers/search.ts'
import { reverseOf } from '../../dns/zone/reverse.ts'
import { skippedNames } from '../../dns/zone/skipped.ts'
import type { Target, Zone } from '../../dns/zone/targets.ts'
import { type Cidr, formatIpv4 } from '../../model/ip.ts'
import {
  containerIdOf,
  containerRecordOf,
  declaredOf,
  environmentOf,
  hostIdOf,
  hostOf,
  hostRecordOf,
  type Ingredients,
  ip,
} from '../support/snapshots.ts'
import { entriesOf, zoneOf } from '../support/zone-of.ts'

const service = ip('169.254.169.250')
const zoneFrom = (given: Ingredients): Zone => zoneOf(environmentOf(given), { service })

const shown = (target: Target | undefined): string => {
  if (target === undefined) return 'none'
  if (target.is === 'addresses') return [...target.four.map(formatIpv4), ...target.six].join(' ')
  if (target.is === 'servers') return `${target.port} ${target.servers.join(' ')}`
  return target.is === 'branch' ? 'branch' : `${target.is} ${target.name}`
}
const at = (zone: Zone, name: string): string => shown(zone.names.get(`${name}.rancher.internal`))

const inShop = { stack: 'shop', service: 'web' }
const away = [hostOf(hostRecordOf(1)), hostOf(hostRecordOf(2), { present: false, reachability: 'silent' })]

test('services, sidekicks, containers', (t) => {
  const zone = zoneFrom({
    containers: [
      containerRecordOf(2, {
        ...inShop,
        name: 'shop-web-2',
        address: ip('10.42.0.12'),
        index: 2,
        host: hostIdOf(2),
      }),
      containerRecordOf(1, { ...inShop, name: 'shop-web-1', address: ip('10.42.0.11') }),
      containerRecordOf(3, { ...inShop, name: 'log', sidekick: 'log', address: ip('10.42.0.13') }),
      containerRecordOf(4, {
        ...inShop,
        name: 'share',
        sidekick: 'share',
        address: null,
        networkFrom: containerIdOf(1),
      }),
      containerRecordOf(5, {
        name: 'Alone',
        address: ip('10.42.0.14'),
        state: 'exited',
        health: 'unhealthy',
      }),
      containerRecordOf(6, { name: 'twin', address: ip('10.42.0.15') }),
      containerRecordOf(7, { name: 'twin', address: ip('10.42.0.16'), host: hostIdOf(2) }),
      containerRecordOf(8, { name: 'rancher-metadata', address: ip('10.42.0.17') }),
      containerRecordOf(9, { name: 'bare', address: null }),
    ],
  })
  t.equal(at(zone, 'web.shop'), '10.42.0.11 10.42.0.12', 'in the order of their numbers')
  t.equal(at(zone, 'log.web.shop'), '10.42.0.13', 'a sidekick has its own name')
  t.equal(at(zone, 'share.web.shop'), '10.42.0.11', 'or the address of the container whose network it shares')
  t.equal(at(zone, 'alone'), '10.42.0.14', 'a container answers by its name whatever its state')
  t.equal(at(zone, 'twin'), '10.42.0.15 10.42.0.16', 'one name on two hosts gives both')
  t.equal(at(zone, 'rancher-metadata'), '169.254.169.250', 'and beats a container of that name')
  t.equal(at(zone, 'bare'), '', 'no address, no record')
  t.equal(at(zone, 'shop'), 'branch', 'a stack is an empty non-terminal')
  t.equal(zone.pointers.get(ip('10.42.0.11')), 'shop-web-1.rancher.internal')
  t.equal(zone.names.get('rancher.internal')?.is, 'branch')
  t.end()
})

test('who is left out', (t) => {
  const web = (n: number, over: object) =>
    containerRecordOf(n, { ...inShop, name: `web-${n}`, address: ip(`10.42.0.${n}`), ...over })
  const given = (...containers: ReturnType<typeof web>[]): string =>
    at(zoneFrom({ containers, hosts: away }), 'web.shop')
  const good = web(1, { health: 'healthy' })
  t.equal(given(good, web(2, { health: 'unhealthy' })), '10.42.0.1', 'unhealthy')
  t.equal(given(good, web(2, { health: 'starting' })), '10.42.0.1', 'not checked yet')
  t.equal(given(good, web(2, { state: 'exited' })), '10.42.0.1', 'not running')
  t.equal(given(good, web(2, { host: hostIdOf(2) })), '10.42.0.1', 'unreachable')
  t.equal(given(good, web(2, { address: null })), '10.42.0.1', 'without an address')
  t.equal(
    given(web(1, { health: 'unhealthy' }), web(2, { host: hostIdOf(2) }), web(3, { state: 'dead' })),
    '10.42.0.1 10.42.0.2',
    'none is left: all that run',
  )
  const strict = (...containers: ReturnType<typeof web>[]): Zone =>
    zoneOf(environmentOf({ containers, hosts: away }), { service, lastResort: 'none' })
  t.equal(at(strict(web(1, { health: 'unhealthy' })), 'web.shop'), '', 'or none, where that is wished')
  t.equal(at(strict(good, web(2, { health: 'unhealthy' })), 'web.shop'), '10.42.0.1')
  t.equal(given(web(1, { state: 'exited' })), '', 'none runs: no address, but the name is there')
  const remote = zoneFrom({
    containers: [containerRecordOf(1, { name: 'c', host: hostIdOf(2) })],
    hosts: away,
  })
  t.equal(at(remote, 'c'), '', 'the own name of a container goes with its host')
  t.end()
})

test('declared services', (t) => {
  const external = (name: string, over: object) =>
    declaredOf({ stack: 'ext', name, kind: 'externalService', ...over })
  const alias = (name: string, ...targets: string[]) =>
    declaredOf({ stack: 'ext', name, kind: 'dnsService', targets })
  const zone = zoneFrom({
    containers: [containerRecordOf(1, { ...inShop, address: ip('10.42.0.11') })],
    services: [
      external('ips', { externalIps: ['192.0.2.1', '2001:db8::1'] }),
      external('host', { hostname: 'DB.example.com.' }),
      external('bad', { hostname: 'no name' }),
      alias('both', 'shop/web', 'ips'),
      alias('deep', 'ext/both'),
      alias('round', 'ext/trip', 'shop/web'),
      alias('trip', 'ext/round'),
      alias('elsewhere', 'ext/host'),
      alias('nothing', 'ext/missing', 'a/b/c'),
    ],
  })
  t.equal(at(zone, 'ips.ext'), '192.0.2.1 2001:db8::1')
  t.equal(at(zone, 'host.ext'), 'alias db.example.com')
  t.equal(at(zone, 'bad.ext'), '')
  t.equal(
    at(zone, 'both.ext').split(' ').sort().join(' '),
    '10.42.0.11 192.0.2.1 2001:db8::1',
    'the union of its targets',
  )
  t.equal(at(zone, 'deep.ext').includes('10.42.0.11'), true)
  t.equal(at(zone, 'round.ext'), '10.42.0.11', 'aliases in a circle end')
  t.equal(at(zone, 'trip.ext'), '10.42.0.11')
  t.equal(at(zone, 'elsewhere.ext'), 'alias db.example.com')
  t.equal(at(zone, 'nothing.ext'), '')
  t.end()
})

test('views', (t) => {
  const zone = zoneFrom({
    containers: [
      containerRecordOf(1, {
        ...inShop,
        address: ip('10.42.0.11'),
        engineAddresses: ['172.17.0.2', 'fe80::1'],
      }),
      containerRecordOf(2, {
        ...inShop,
        address: ip('10.42.0.12'),
        index: 2,
        dnsSearch: ['other.rancher.internal', 'example.com'],
      }),
      containerRecordOf(3, { ...inShop, address: ip('10.42.0.13'), index: 3 }),
      containerRecordOf(4, {
        address: ip('10.42.0.14'),
        name: 'c1',
        links: { web: '/c1', 'not a label': 'c1', gone: 'c9' },
      }),
      containerRecordOf(5, { ...inShop, sidekick: 'log', address: ip('10.42.0.15') }),
      containerRecordOf(6, { address: ip('10.42.0.16'), host: hostIdOf(2) }),
    ],
    services: [
      declaredOf({ stack: 'shop', name: 'web', links: { 'Back/MyDB': 'store', 'back/none': 'x' } }),
      declaredOf({ stack: 'back', name: 'mydb', kind: 'externalService', hostname: 'db.example.com' }),
    ],
  })
  const viewOf = (address: string) => zone.views.get(zone.askers.get(ip(address))?.view ?? '')
  t.strictSame(viewOf('10.42.0.11')?.search, [
    'web.shop.rancher.internal',
    'shop.rancher.internal',
    'rancher.internal',
  ])
  t.equal(viewOf('172.17.0.2'), viewOf('10.42.0.11'), 'also by the address on the engine’s network')
  t.equal(viewOf('10.42.0.13'), viewOf('10.42.0.11'), 'containers that see the same share a view')
  t.equal(viewOf('10.42.0.15'), viewOf('10.42.0.11'), 'sidekicks too')
  t.strictSame(
    viewOf('10.42.0.12')?.search.slice(2),
    ['other.rancher.internal', 'rancher.internal'],
    'only what is ours of its own search list',
  )
  t.strictSame(
    viewOf('10.42.0.16')?.search,
    ['rancher.internal'],
    'a container of another host is a stranger',
  )
  const links = viewOf('10.42.0.11')?.names
  t.equal(
    shown(links?.get('store.rancher.internal')),
    'same mydb.back.rancher.internal',
    'a link in the domain',
  )
  t.equal(
    shown(links?.get('store.back.rancher.internal')),
    'same mydb.back.rancher.internal',
    'and in the linked stack',
  )
  t.equal(links?.has('x.rancher.internal'), false, 'a link to nothing is none')
  t.strictSame(
    [...(viewOf('10.42.0.14')?.names.keys() ?? [])],
    ['web.rancher.internal'],
    'links of a container',
  )
  t.end()
})

test('the names that Rancher made of such an environment', (t) => {
  const zone = zoneFrom({
    containers: [
      containerRecordOf(1, { ...inShop, name: 'shop-web-1', address: ip('10.42.0.11') }),
      containerRecordOf(2, {
        ...inShop,
        name: 'shop-web-2',
        address: ip('10.42.0.12'),
        index: 2,
        host: hostIdOf(2),
      }),
      containerRecordOf(3, { ...inShop, name: 'shop-web-log-1', sidekick: 'log', address: ip('10.42.0.13') }),
      containerRecordOf(4, { name: 'alone', address: ip('10.42.0.14'), links: { web: 'shop-web-1' } }),
    ],
    services: [
      declaredOf({ stack: 'Shop', name: 'Web', links: {} }),
      declaredOf({ stack: 'shop', name: 'web', links: { 'shop/db': 'MyDB' } }),
      declaredOf({ stack: 'shop', name: 'db', kind: 'externalService', hostname: 'db.example.com' }),
    ],
  })
  const names = entriesOf(zone.names)
    .filter(([name, { is }]) => is !== 'branch' && !name.endsWith('.hosts.rancher.internal'))
    .map(([name, target]) => `${name} ${shown(target)}`)
  t.strictSame(names.sort(), [
    'alone.rancher.internal 10.42.0.14',
    'db.shop.rancher.internal alias db.example.com',
    'log.web.shop.rancher.internal 10.42.0.13',
    'rancher-metadata.rancher.internal 169.254.169.250',
    'shop-web-1.rancher.internal 10.42.0.11',
    'shop-web-2.rancher.internal 10.42.0.12',
    'shop-web-log-1.rancher.internal 10.42.0.13',
    'web.shop.rancher.internal 10.42.0.11 10.42.0.12',
  ])
  const links = (address: string) =>
    [...(zone.views.get(zone.askers.get(ip(address))?.view ?? '')?.names ?? [])].map(
      ([name, target]) => `${name} ${shown(target)}`,
    )
  t.strictSame(links('10.42.0.11'), [
    'mydb.rancher.internal same db.shop.rancher.internal',
    'mydb.shop.rancher.internal same db.shop.rancher.internal',
  ])
  t.strictSame(links('10.42.0.14'), ['web.rancher.internal same shop-web-1.rancher.internal'])
  t.equal(zone.askers.has(ip('10.42.0.12')), false, 'views are made for containers of this host')
  t.end()
})

test('names that DNS cannot carry', (t) => {
  const environment = environmentOf({
    containers: [
      containerRecordOf(1, { ...inShop, name: 'a.b' }),
      containerRecordOf(2, { name: 'x'.repeat(10_000), stack: 'bad stack', service: '\x00\x1b[31m' }),
      containerRecordOf(3, { name: 'fine_name' }),
    ],
    services: [declaredOf({ stack: 'ok', name: '-' })],
  })
  const skipped = skippedNames(environment)
  t.strictSame(
    skipped.map(({ what }) => what),
    ['container', 'container', 'stack', 'service', 'service'],
  )
  t.ok(
    skipped.every(({ name }) => name.length <= 80 && /^[^\x00-\x1f]*$/.test(name)),
    'printable and short',
  )
  const zone = zoneOf(environment, { service })
  t.equal(
    entriesOf(zone.names).every(([name]) => /^[a-z0-9_.-]+$/.test(name)),
    true,
  )
  t.equal(
    at(zone, 'web.shop'),
    formatIpv4(containerRecordOf(1).address ?? service),
    'its service still has it',
  )
  t.end()
})

test('search', (t) => {
  t.equal(turnOf('web', 'safe'), 'local')
  t.equal(turnOf('web.stack', 'safe'), 'local', 'nobody delegates .stack')
  t.equal(turnOf('github.com', 'safe'), 'upstream')
  t.equal(turnOf('a.de', 'safe'), 'upstream')
  t.equal(turnOf('web.shop', 'safe'), 'upstream', '.shop is delegated')
  t.equal(turnOf('a.b.stack', 'safe'), 'none')
  t.equal(turnOf('a.b.com', 'always'), 'local')
  t.equal(turnOf('web', 'never'), 'none')
  t.equal(turnOf('', 'always'), 'none', 'the root')
  t.end()
})

test('reverse names', (t) => {
  const wide = '10.42.0.0/16' as Cidr
  t.match(reverseOf('11.0.42.10.in-addr.arpa', wide), {
    is: 'address',
    address: ip('10.42.0.11'),
    apex: '42.10.in-addr.arpa',
  })
  t.match(reverseOf('0.42.10.in-addr.arpa', wide), { is: 'branch' })
  t.match(reverseOf('42.10.in-addr.arpa', wide), { is: 'branch', apex: '42.10.in-addr.arpa' })
  t.match(reverseOf('x.11.0.42.10.in-addr.arpa', wide), { is: 'nothing' })
  for (const name of [
    '10.in-addr.arpa',
    '1.0.43.10.in-addr.arpa',
    'in-addr.arpa',
    '01.0.42.10.in-addr.arpa',
    'x.42.10.in-addr.arpa',
    '300.0.42.10.in-addr.arpa',
  ])
    t.equal(reverseOf(name, wide), undefined, name)
  t.match(reverseOf('1.17.42.10.in-addr.arpa', '10.42.16.0/20' as Cidr), {
    is: 'address',
    apex: '17.42.10.in-addr.arpa',
  })
  t.equal(reverseOf('42.10.in-addr.arpa', '10.42.16.0/20' as Cidr), undefined, 'not wholly ours')
  t.end()
})
