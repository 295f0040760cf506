/**
 * Two environments on one machine: each container reaches its own servers and its own addresses, and nothing of the
 * other, by whatever way and from whatever source it tries; one that leaves takes nothing of the other along.
 */
import { t as root, test } from 'tap'
import { ask, NetnsWorld, needsRoot, type TestContainer, type TestNetns } from '../support/netns.ts'
import { applierIn, attachPlanOf, hostPlanOf, stateOf } from '../support/network.ts'

root.setTimeout(600_000)

/** Nobody answered, or an ICMP error did. */
const nothing = /^(timeout|E[A-Z]+)$/

const server = '169.254.169.250'
const first = { subnet: '10.42.0.0/16', managed: '10.42.0.1', tunnel: 'drover0' }
const second = {
  environment: 'test env',
  subnet: '10.43.0.0/16',
  managed: '10.43.0.1',
  tunnel: 'drover1',
  ports: [11053, 11080] as const,
}

/** The engine's bridge, with nobody on it yet. */
async function bridgeOn(host: TestNetns): Promise<void> {
  await host.sh('ip link add docker0 type bridge')
  await host.sh('ip addr add 172.17.0.1/16 dev docker0')
  await host.sh('ip link set dev docker0 up')
}

/** Connects a container to the bridge, as its way to everywhere. */
async function bridge(host: TestNetns, { pid, space }: TestContainer, address: string): Promise<void> {
  const mac = `02:42:00:00:00:${address.split('.').at(-1)?.padStart(2, '0')}`
  await host.sh(`ip link add d${pid} type veth peer name eth0 address ${mac} netns ${pid}`)
  await host.sh(`ip link set dev d${pid} master docker0 up`)
  await space.sh(`ip addr add ${address}/16 dev eth0`)
  await space.sh('ip link set dev eth0 up')
  await space.sh('ip route add default via 172.17.0.1')
}

/** A machine with both environments, a container of each on the bridge, and servers of each. */
async function machine(world: NetnsWorld) {
  const host = await world.netns('envs')
  await host.sh('sysctl -qw net.ipv4.ip_forward=1')
  await bridgeOn(host)
  const before = await stateOf(host)
  const [one, two] = [await world.container(host), await world.container(host)]
  await bridge(host, one, '172.17.0.11')
  await bridge(host, two, '172.17.0.12')
  const appliers = { one: applierIn(host), two: applierIn(host, second.environment) }
  // The one that is not primary is there first: it must not matter.
  await appliers.two.applyHost(hostPlanOf(second))
  await appliers.one.applyHost(hostPlanOf({ ...first, others: ['172.17.0.12'] }))
  await appliers.one.attach(attachPlanOf(one, '10.42.0.5', first.managed))
  await appliers.two.attach(
    attachPlanOf(two, '10.43.0.5', second.managed, {
      environment: second.environment,
      subnet: second.subnet,
    }),
  )
  for (const [kind, port, name] of [
    ['udp', 10053, 'dns1'],
    ['tcp', 10080, 'meta1'],
    ['udp', 11053, 'dns2'],
    ['tcp', 11080, 'meta2'],
  ] as const)
    await world.listen(host, kind, server, port, name)
  await world.listen(one.space, 'udp', '0.0.0.0', 8000, 'one')
  await world.listen(two.space, 'udp', '0.0.0.0', 8000, 'two')
  await world.listen(host, 'udp', '0.0.0.0', 8000, 'host')
  return { host, one, two, appliers, before }
}

test('two environments on one machine', needsRoot, async (t) => {
  const world = await NetnsWorld.open()
  t.teardown(() => world.close())
  const { host, one, two, appliers } = await machine(world)

  await t.test('each has its own servers at the same address', async (t) => {
    t.equal(await ask(one.space, 'udp', server, 53), 'dns1 10.42.0.5')
    t.equal(await ask(one.space, 'tcp', server, 80), 'meta1 10.42.0.5')
    t.equal(await ask(two.space, 'udp', server, 53), 'dns2 10.43.0.5')
    t.equal(await ask(two.space, 'tcp', server, 80), 'meta2 10.43.0.5')
    t.equal(await ask(host, 'udp', server, 53), `dns1 ${server}`, 'the machine itself asks the primary one')
  })

  await t.test('the ports of the other are shut, whichever way a packet comes', async (t) => {
    t.match(await ask(one.space, 'udp', server, 11053), nothing)
    t.match(await ask(one.space, 'tcp', server, 11080), nothing)
    t.match(await ask(two.space, 'udp', server, 10053), nothing)
    t.match(await ask(two.space, 'tcp', server, 10080), nothing)
    // By the bridge: no longer by the veth.
    for (const { space } of [one, two]) await space.sh(`ip route replace ${server} via 172.17.0.1 dev eth0`)
    t.equal(await ask(one.space, 'udp', server, 53), 'dns1 172.17.0.11')
    t.match(await ask(two.space, 'udp', server, 53), nothing, 'it is known to be of another one')
    t.match(await ask(two.space, 'tcp', server, 10080), nothing)
    t.match(await ask(one.space, 'tcp', server, 11080), nothing)
    await appliers.two.applyHost(hostPlanOf({ ...second, guests: ['172.17.0.12'] }))
    t.equal(await ask(two.space, 'udp', server, 53), 'dns2 172.17.0.12', 'a guest of its own')
    t.equal(await ask(one.space, 'udp', server, 53), 'dns1 172.17.0.11')
  })

  await t.test('addresses of the other are out of reach', async (t) => {
    t.equal(await ask(one.space, 'udp', first.managed, 8000), 'host 10.42.0.5')
    const routes = ['dev managed0 via 169.254.1.1 onlink', 'dev eth0 via 172.17.0.1']
    for (const route of routes) {
      await one.space.sh(`ip route replace 10.43.0.0/16 ${route}`)
      await two.space.sh(`ip route replace 10.42.0.0/16 ${route}`)
      t.match(await ask(one.space, 'udp', '10.43.0.5', 8000), nothing, `container, ${route}`)
      t.match(await ask(two.space, 'udp', '10.42.0.5', 8000), nothing, `container, ${route}`)
      t.match(await ask(one.space, 'udp', second.managed, 8000), nothing, `host, ${route}`)
      t.match(await ask(two.space, 'udp', first.managed, 8000), nothing, `host, ${route}`)
    }
  })

  await t.test('a source of the other gets nowhere', async (t) => {
    await two.space.sh('ip addr add 10.42.0.66/32 dev lo')
    const seen = await world.capture(one.space, 'any', 'host 10.42.0.66')
    const asked = await world.capture(host, 'lo', 'host 10.42.0.66')
    for (const [to, port] of [
      ['10.42.0.5', 8000],
      [first.managed, 8000],
      [server, 10053],
      [server, 53],
    ] as const)
      t.match(await ask(two.space, 'udp', to, port, '10.42.0.66'), nothing, `${to}:${port}`)
    t.same([...(await seen.lines()), ...(await asked.lines())], [])
  })

  await t.test('a network that two containers share is of one environment', async (t) => {
    const shared = attachPlanOf(one, '10.43.0.6', second.managed, {
      environment: second.environment,
      subnet: second.subnet,
    })
    await t.rejects(appliers.two.attach(shared), /has a managed0 already, of another environment/)
    t.equal(await ask(one.space, 'udp', first.managed, 8000), 'host 10.42.0.5', 'it stays where it is')
    t.notMatch(await stateOf(host), '10.43.0.6')
  })

  await t.test('one that leaves takes nothing of the other along', async (t) => {
    for (const { space } of [one, two]) await space.sh(`ip route del ${server} dev eth0`)
    for (const { space } of [one, two])
      await space.sh(`ip route replace ${server} via 169.254.1.1 dev managed0 onlink`)
    await appliers.one.leave()
    t.equal(await ask(two.space, 'udp', server, 53), 'dns2 10.43.0.5')
    await appliers.two.leave()
    t.notMatch(await stateOf(host), /10\.4[23]\.|drover/)
  })
})
