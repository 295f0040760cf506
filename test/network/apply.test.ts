/** Attaching, walls and undoing on a real kernel, in namespaces of its own. */
import { test } from 'tap'
import { ask, NetnsWorld, needsRoot } from '../support/netns.ts'
import { applierIn, attachPlanOf, hostPlanOf, stateOf } from '../support/network.ts'

const world = await NetnsWorld.open()
test('in namespaces', needsRoot, async (t) => {
  t.teardown(() => world.close())

  await t.test('containers and their host reach each other by managed address', async (t) => {
    const host = await world.netns('reach')
    const applier = applierIn(host)
    t.match(await applier.applyHost(hostPlanOf({ managed: '10.42.0.1' })), { tunnel: false })
    const one = await world.container(host)
    const two = await world.container(host)
    await Promise.all([
      applier.attach(attachPlanOf(one, '10.42.0.5', '10.42.0.1')),
      applier.attach(attachPlanOf(two, '10.42.0.6', '10.42.0.1')),
    ])
    await world.listen(two.space, 'tcp', '0.0.0.0', 8000, 'two')
    await world.listen(host, 'tcp', '0.0.0.0', 8000, 'host')
    t.equal(await ask(one.space, 'tcp', '10.42.0.6', 8000), 'two 10.42.0.5')
    t.equal(await ask(host, 'tcp', '10.42.0.6', 8000), 'two 10.42.0.1')
    t.equal(await ask(one.space, 'tcp', '10.42.0.1', 8000), 'host 10.42.0.5')
    const link = JSON.parse(await one.space.sh('ip -j addr show dev managed0'))[0]
    t.match(link, { address: '02:d0:0a:2a:00:05', mtu: 1380 })
    t.equal(link.addr_info.length, 1, 'no IPv6')
  })
})
