/**
 * From one host to many: a host that began with the embedded store moves to etcd, its containers go on with
 * their addresses, and a second host joins.
 */
import { test } from 'tap'
import { until } from '../../lab/command.ts'
import { drover } from '../../lab/drover.ts'
import {
  addressOf,
  containersOf,
  labFor,
  labNeeds,
  Pinger,
  pidOf,
  reaches,
  resolvesTo,
} from '../support/lab.ts'

test('drover store move', labNeeds(), async (t) => {
  const lab = await labFor(t, { what: 'move', hosts: 1, store: 'embedded' })
  const h1 = lab.host(1)
  await Promise.all([
    h1.managed({ name: 'web1', stack: 'shop', service: 'web' }),
    h1.managed({ name: 'client', stack: 'shop', service: 'client' }),
  ])
  const [web1, client] = await Promise.all([addressOf(h1, 'web1'), addressOf(h1, 'client')])
  t.ok(await reaches(h1, 'client', web1), 'on one host')
  const before = [...(await containersOf(h1))].sort()
  const pinger = await Pinger.start(await pidOf(h1, 'client'), web1)

  const url = await lab.addStore('etcd')
  const moved = await h1.exec(drover(h1.place, 'store', 'move', url))
  t.equal(moved.code, 0, `${moved.stdout}${moved.stderr}`)
  await until('the new store', async () => {
    const { store } = (await h1.drover('status')) as { store: { kind: string; connected: boolean } }
    return store.kind === 'etcd' && store.connected ? true : undefined
  })
  t.same([...(await containersOf(h1))].sort(), before, 'every container keeps its address')

  const number = await lab.addMachine()
  await lab.startEngine(number)
  await lab.join(number)
  const h2 = lab.host(number)
  await h2.managed({ name: 'web2', stack: 'shop', service: 'web' })
  const web2 = await addressOf(h2, 'web2')
  await resolvesTo(h1, 'client', 'web.shop.rancher.internal', [web1, web2])
  await resolvesTo(h2, 'web2', 'client.shop.rancher.internal', [client])
  t.ok(await reaches(h2, 'web2', client), 'the second host reaches the first')
  const { sent, received } = await pinger.stop()
  t.ok(sent - received <= 1, `${received} of ${sent} pings were answered`)
})
