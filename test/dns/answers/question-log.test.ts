/**
 * The questions of one container, written down while somebody looks: whatever way they are answered, and nobody
 * else's.
 */
import { test } from 'tap'
import type { Asked } from '../../../dns/answers/question-log.ts'
import { addressesOf } from '../../../dns/answers/question-log.ts'
import { millis } from '../../../model/time.ts'
import { question } from '../../support/dns-messages.ts'
import { ready } from '../../support/dns-world.ts'
import { containerIdOf, containerRecordOf, environmentOf, hostIdOf, ip } from '../../support/snapshots.ts'

const short = ({ name, type, transport, result, rcode, answers }: Asked): string =>
  [name, type, transport, result, rcode, ...answers].join(' ')

test('what one container asks', async (t) => {
  const { ask, log, asked, resolver, clock } = ready()
  const mine = { from: '10.42.0.11' }
  await ask('web.shop.rancher.internal', 'A', mine)
  t.strictSame(asked, [], 'nothing before it is switched on')
  log.watch([ip('10.42.0.11')])
  await ask('web.shop.rancher.internal', 'A', mine)
  await ask('web.shop.rancher.internal', 'A', { from: '10.42.0.12' })
  await ask('none.shop.rancher.internal', 'AAAA', mine)
  await ask('www.example.com', 'A', mine)
  await ask('www.example.com', 'A', mine)
  await ask('db.shop.rancher.internal', 'A', mine)
  await ask('six.shop.rancher.internal', 'AAAA', mine)
  await ask('a', 65, { ...mine, class: 3 })
  await resolver.respond(question('web.shop.rancher.internal', 'MX'), ip('10.42.0.11'), 'tcp')
  t.match(asked.map(short), [
    /^web\.shop\.rancher\.internal A udp local NOERROR 10\.42\.0\.1[12] 10\.42\.0\.1[12]$/,
    'none.shop.rancher.internal AAAA udp local NXDOMAIN',
    'www.example.com A udp forwarded NOERROR 192.0.2.7',
    'www.example.com A udp cached NOERROR 192.0.2.7',
    'db.shop.rancher.internal A udp local NOERROR CNAME 192.0.2.7',
    'six.shop.rancher.internal AAAA udp local NOERROR 2001:db8::7',
    'a TYPE65 udp refused NOTIMP',
    'web.shop.rancher.internal MX tcp local NOERROR',
  ])
  t.equal(asked.length, 8)
  log.watch([])
  await ask('web.shop.rancher.internal', 'A', mine)
  t.equal(asked.length, 8, 'and nothing after it is switched off')

  log.watch([ip('10.42.0.11')])
  for (let n = 0; n < 700; n++) await ask('web.shop.rancher.internal', 'A', mine)
  t.equal(asked.length, 500, 'a flood is written down in part')
  clock.advance(millis(1000))
  await ask('web.shop.rancher.internal', 'A', mine)
  t.equal(asked.at(-1)?.missed, 208, 'and how many are missing is said')
})

test('who is meant', (t) => {
  const environment = environmentOf({
    containers: [
      containerRecordOf(1, { name: 'web', address: ip('10.42.0.1'), engineAddresses: ['172.17.0.2'] }),
      containerRecordOf(2, { name: 'side', address: null, networkFrom: containerIdOf(1) }),
      containerRecordOf(3, { name: 'far', address: ip('10.42.0.3'), host: hostIdOf(2) }),
    ],
  })
  t.strictSame(addressesOf(environment, 'web'), [ip('10.42.0.1'), ip('172.17.0.2')])
  t.strictSame(addressesOf(environment, containerIdOf(1).slice(0, 12)), addressesOf(environment, 'web'))
  t.strictSame(addressesOf(environment, 'side'), [ip('10.42.0.1')], 'the address that it shares')
  t.strictSame(addressesOf(environment, 'far'), [], 'only containers of this host')
  t.strictSame(addressesOf(environment, '192.0.2.1'), [ip('192.0.2.1')])
  t.end()
})
