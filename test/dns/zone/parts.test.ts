/**
 * Names beyond Rancher's: single containers of a service, where a port is served, hosts.
 */
import { test } from 'tap'
import { world } from '../../support/dns-world.ts'
import {
  containerRecordOf,
  environmentOf,
  hostIdOf,
  hostOf,
  hostRecordOf,
  ip,
} from '../../support/snapshots.ts'
import { zoneOf } from '../../support/zone-of.ts'

const web = (n: number, over: Parameters<typeof containerRecordOf>[1] = {}) =>
  containerRecordOf(n, {
    stack: 'shop',
    service: 'web',
    name: `shop-web-${n}`,
    address: ip(`10.42.0.${n}`),
    index: n,
    exposed: ['8080/tcp', '53/udp', '99999999/tcp', 'x'],
    ...over,
  })

function asked() {
  const made = world()
  const hosts = [
    hostOf(hostRecordOf(1, { name: 'Alpha' })),
    hostOf(hostRecordOf(2), { present: false }),
    hostOf(hostRecordOf(3, { name: 'not.a.label' })),
    hostOf(hostRecordOf(4, { managed: null })),
  ]
  const containers = [
    web(1),
    web(2, { health: 'unhealthy' }),
    web(3, { host: hostIdOf(2) }),
    web(4, { exposed: [] }),
    web(5, { sidekick: '1', address: ip('10.42.0.77') }),
  ]
  made.resolver.apply(zoneOf(environmentOf({ hosts, containers }), { service: ip('169.254.169.250') }))
  return made
}

test('one container of a service', async (t) => {
  const { ask, exchange } = asked()
  t.match(await ask('4.web.shop.rancher.internal'), { aa: 1, rcode: 0, answers: [/ A 1 10\.42\.0\.4$/] })
  t.match((await ask('2.web.shop.rancher.internal')).answers, [/10\.42\.0\.2$/], 'whatever its health')
  t.match(await ask('3.web.shop.rancher.internal'), { rcode: 3, answers: [] }, 'its host is away')
  t.match(await ask('9.web.shop.rancher.internal'), { rcode: 3 })
  t.match(
    (await ask('1.web.shop.rancher.internal')).answers,
    [/10\.42\.0\.77$/],
    'a sidekick of that name is first',
  )
  t.match(await ask('4.web.shop.rancher.internal', 'AAAA'), { rcode: 0, answers: [], authority: [/SOA/] })
  t.match((await ask('4.web', 'A', { from: '10.42.0.1' })).answers, ['4.web. A 1 10.42.0.4'], 'short too')
  t.strictSame(exchange.asked, [])
})

test('where a port is served', async (t) => {
  const { ask, exchange } = asked()
  t.match(
    await ask('_8080._tcp.web.shop.rancher.internal', 'SRV'),
    {
      aa: 1,
      rcode: 0,
      answers: ['_8080._tcp.web.shop.rancher.internal. SRV 1 0 1 8080 1.web.shop.rancher.internal.'],
    },
    'by healthy and present containers that expose it',
  )
  t.match((await ask('_53._UDP.web.shop.rancher.internal', 'SRV')).answers, [/ 53 1\.web\.shop/])
  t.match(await ask('_53._tcp.web.shop.rancher.internal', 'SRV'), { rcode: 3 })
  t.match(await ask('_8080._tcp.web.shop.rancher.internal', 'A'), {
    rcode: 0,
    answers: [],
    authority: [/SOA/],
  })
  t.match(
    await ask('_tcp.web.shop.rancher.internal', 'SRV'),
    { rcode: 0, answers: [] },
    'an empty non-terminal',
  )
  t.match(await ask('_sctp.web.shop.rancher.internal', 'SRV'), { rcode: 3 })
  t.strictSame(exchange.asked, [])
})

test('hosts', async (t) => {
  const { ask, exchange } = asked()
  t.match((await ask('alpha.hosts.rancher.internal')).answers, [/ A 1 10\.42\.1\.1$/])
  for (const name of ['host2', 'not.a.label', 'host4', 'nobody'])
    t.match(await ask(`${name}.hosts.rancher.internal`), { rcode: 3, answers: [] }, name)
  t.match(await ask('hosts.rancher.internal'), { rcode: 0, answers: [] })
  t.match((await ask('1.1.42.10.in-addr.arpa', 'PTR')).answers, [/PTR 1 alpha\.hosts\.rancher\.internal\.$/])
  t.match(await ask('200.9.42.10.in-addr.arpa', 'PTR'), { rcode: 3, aa: 1 })
  t.strictSame(exchange.asked, [], 'nothing of the subnet is asked of others')
})
