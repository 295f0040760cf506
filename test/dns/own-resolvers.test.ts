/**
 * Containers with resolvers of their own (`docker run --dns`): they are asked for these containers and for nobody
 * else, and nothing that they say reaches others.
 */
import { test } from 'tap'
import { good, world } from '../support/dns-world.ts'
import { containerRecordOf, environmentOf, ip } from '../support/snapshots.ts'
import { zoneOf } from '../support/zone-of.ts'

const own = { name: 'own', address: ip('10.42.0.1'), dns: ['192.0.2.99'] }
const environment = (dns: readonly string[]) =>
  environmentOf({
    containers: [
      containerRecordOf(1, { ...own, dns: [...dns] }),
      containerRecordOf(2, { name: 'twin', address: ip('10.42.0.2'), dns: ['192.0.2.99'] }),
      containerRecordOf(3, { name: 'plain', address: ip('10.42.0.3') }),
      containerRecordOf(4, {
        name: 'loop',
        address: ip('10.42.0.4'),
        dns: ['127.0.0.11', '169.254.169.250'],
      }),
    ],
  })
const service = ip('169.254.169.250')

test('resolvers of their own', async (t) => {
  const { resolver, ask, exchange, forwarders } = world('safe', {
    '192.0.2.53': good('192.0.2.7'),
    '192.0.2.99': good('198.51.100.1'),
    '192.0.2.98': good('198.51.100.2'),
  })
  forwarders.host.use([{ address: '192.0.2.53', port: 53 }])
  resolver.apply(zoneOf(environment(['192.0.2.99']), { service }))
  const answer = async (from: string, name = 'www.example.org'): Promise<readonly string[]> =>
    (await ask(name, 'A', { from })).answers
  for (const round of ['asked', 'kept', 'compiled']) {
    t.match(await answer('10.42.0.1'), [/198\.51\.100\.1$/], `its own, ${round}`)
    t.match(await answer('10.42.0.2'), [/198\.51\.100\.1$/], `the same list, ${round}`)
    t.match(await answer('10.42.0.3'), [/192\.0\.2\.7$/], `the host's, ${round}`)
    t.match(await answer('10.42.0.4'), [/192\.0\.2\.7$/], `loopback and ourselves are none, ${round}`)
    t.match(await answer('127.0.0.9'), [/192\.0\.2\.7$/], `nobody's, ${round}`)
  }
  t.ok(exchange.asked.length <= 3, 'each list is asked once, and the new one whether it leads back')
  t.match(await answer('10.42.0.1', 'plain.rancher.internal'), [/10\.42\.0\.3$/], 'names of ours are ours')
  t.strictSame(
    forwarders.status().map(({ address }) => address),
    ['192.0.2.99', '192.0.2.53'],
  )

  resolver.apply(zoneOf(environment(['192.0.2.98']), { service }))
  t.match(await answer('10.42.0.1'), [/198\.51\.100\.2$/], 'another list, another answer')
  t.match(await answer('10.42.0.2'), [/198\.51\.100\.1$/])
  resolver.apply(zoneOf(environmentOf({ containers: [] }), { service }))
  t.strictSame(
    forwarders.status().map(({ address }) => address),
    ['192.0.2.53'],
    'what nobody has any more is forgotten',
  )
})
