/** Attaching, walls and undoing on a real kernel, in namespaces of its own. */
import { type Test, test } from 'tap'
import { ask, NetnsWorld, needsRoot, type TestNetns } from '../support/netns.ts'
import { applierIn, attachPlanOf, hostPlanOf, stateOf } from '../support/network.ts'

const managed = '10.42.0.1'

/** A host with an underlay wire, forwarding as Docker has it, and a default route into the wire. */
async function hostOn(world: NetnsWorld, label: string) {
  const host = await world.netns(label)
  const wire = await world.netns(`${label}w`)
  await world.wire(host, 'eth0 192.168.77.1/24', wire, 'eth0 192.168.77.2/24')
  await host.sh('ip route add default via 192.168.77.2')
  await host.sh('sysctl -qw net.ipv4.ip_forward=1')
  return { host, wire, applier: applierIn(host) }
}

/** An unmanaged container on docker0, masqueraded and filtered as Docker does it. */
async function unmanagedOn(world: NetnsWorld, host: TestNetns) {
  const container = await world.container(host)
  await host.sh('ip link add docker0 type bridge')
  await host.sh('ip addr add 172.17.0.1/16 dev docker0')
  await host.sh('ip link set dev docker0 up')
  await join(host, container.pid, '172.17.0.2')
  await container.space.sh('ip route add default via 172.17.0.1')
  await host.sh('iptables-nft -t nat -A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE')
  return container
}

async function join(host: TestNetns, pid: number, address: string): Promise<void> {
  await host.sh(`ip link add d${pid} type veth peer name eth0 address 02:42:00:00:00:02 netns ${pid}`)
  await host.sh(`ip link set dev d${pid} master docker0 up`)
  const inside = `nsenter --net=/proc/${pid}/ns/net ip`
  await host.sh(`${inside} addr add ${address}/16 dev eth0`)
  await host.sh(`${inside} link set dev eth0 up`)
}

const subtest = (t: Test, name: string, body: (t: Test, world: NetnsWorld) => Promise<void>) =>
  t.test(name, async (t) => {
    const world = await NetnsWorld.open()
    t.teardown(() => world.close())
    await body(t, world)
  })

test('network in namespaces', needsRoot, async (t) => {
  await subtest(t, 'containers and their host reach each other by managed address', async (t, world) => {
    const host = await world.netns('reach')
    const applier = applierIn(host)
    t.match(await applier.applyHost(hostPlanOf({ managed })), { tunnel: false })
    const one = await world.container(host)
    const two = await world.container(host)
    await Promise.all([
      applier.attach(attachPlanOf(one, '10.42.0.5', managed)),
      applier.attach(attachPlanOf(two, '10.42.0.6', managed)),
    ])
    await world.listen(two.space, 'tcp', '0.0.0.0', 8000, 'two')
    await world.listen(host, 'tcp', '0.0.0.0', 8000, 'host')
    t.equal(await ask(one.space, 'tcp', '10.42.0.6', 8000), 'two 10.42.0.5')
    t.equal(await ask(host, 'tcp', '10.42.0.6', 8000), `two ${managed}`)
    t.equal(await ask(one.space, 'tcp', managed, 8000), 'host 10.42.0.5')
    const link = JSON.parse(await one.space.sh('ip -j addr show dev managed0'))[0]
    t.match(link, { address: '02:d0:0a:2a:00:05', mtu: 1380 })
    t.equal(link.addr_info.length, 1, 'no IPv6 address')
  })

  await subtest(t, 'a container cannot speak from another address', async (t, world) => {
    const { host, applier } = await hostOn(world, 'spoof')
    await applier.applyHost(hostPlanOf({ managed }))
    const honest = await world.container(host)
    const liar = await unmanagedOn(world, host)
    await applier.attach(attachPlanOf(honest, '10.42.0.5', managed))
    await applier.attach(attachPlanOf(liar, '10.42.0.6', managed))
    await world.listen(honest.space, 'udp', '0.0.0.0', 8000, 'honest')
    t.equal(await ask(liar.space, 'udp', '10.42.0.5', 8000), 'honest 10.42.0.6')
    await liar.space.sh('ip addr add 10.42.0.7/32 dev managed0')
    t.equal(await ask(liar.space, 'udp', '10.42.0.5', 8000, '10.42.0.7'), 'timeout', 'by its own veth')
    const arrived = await world.capture(honest.space, 'managed0', 'src host 10.42.0.7')
    await liar.space.sh('ip route replace 10.42.0.5/32 via 172.17.0.1 dev eth0 src 10.42.0.7')
    await ask(liar.space, 'udp', '10.42.0.5', 8000, '10.42.0.7')
    t.same(await arrived.lines(), [], 'by docker0')
  })

  await subtest(t, 'nothing leaves in clear without a tunnel', async (t, world) => {
    const { host, wire, applier } = await hostOn(world, 'clear')
    const unmanaged = await unmanagedOn(world, host)
    const plan = hostPlanOf({ managed, routes: ['10.42.1.0/26'] })
    await applier.applyHost(plan)
    const own = await world.container(host)
    await applier.attach(attachPlanOf(own, '10.42.0.5', managed))
    const capture = await world.capture(wire, 'eth0', 'net 10.42.0.0/16 or host 192.168.77.2')
    const asked = async (space: TestNetns) => ask(space, 'tcp', '10.42.1.5', 8000)
    t.match(await asked(own.space), /EHOSTUNREACH|ECONNREFUSED/, 'an error at once')
    t.match(await asked(host), /EHOSTUNREACH/)
    t.match(await asked(unmanaged.space), /EHOSTUNREACH|ECONNREFUSED/)
    await host.sh('ip route del unreachable 10.42.0.0/16 metric 4278198272')
    t.match(await asked(own.space), /EHOSTUNREACH|ECONNREFUSED/, 'the second wall')
    t.match(await asked(host), /EHOSTUNREACH|EPERM|EACCES|ECONNREFUSED/)
    t.match(await asked(unmanaged.space), /EHOSTUNREACH|ECONNREFUSED/)
    await ask(host, 'udp', '192.168.77.2', 9, managed)
    await host.sh('ping -c 1 -W 1 192.168.77.2')
    await capture.seen('ICMP echo')
    const lines = await capture.lines()
    t.same(
      lines.filter((line) => line.includes('10.42.')),
      [],
    )
    t.same(
      lines.filter((line) => line.includes('8000')),
      [],
      'nor masqueraded',
    )
  })

  await subtest(t, 'only addresses of the environment enter the tunnel', async (t, world) => {
    const { host, applier } = await hostOn(world, 'tunnel')
    const far = await world.netns('far')
    await world.wire(host, 'drover0 169.254.9.1/32', far, 'eth0 10.42.1.5/32')
    await far.sh('ip route add default dev eth0')
    for (const [space, device] of [
      [host, 'drover0'],
      [far, 'eth0'],
    ] as const)
      await space.sh(`ip link set dev ${device} arp off`) // a tunnel has no neighbours
    const mac = JSON.parse(await far.sh('ip -j link show dev eth0'))[0].address
    await host.sh(`ip link set dev drover0 address ${mac}`)
    const unmanaged = await unmanagedOn(world, host)
    const outcome = await applier.applyHost(hostPlanOf({ managed, routes: ['10.42.1.0/26'] }))
    t.ok(outcome.tunnel)
    const own = await world.container(host)
    await applier.attach(attachPlanOf(own, '10.42.0.5', managed))
    await world.listen(far, 'tcp', '0.0.0.0', 8000, 'far')
    t.equal(await ask(own.space, 'tcp', '10.42.1.5', 8000), 'far 10.42.0.5')
    t.equal(await ask(host, 'tcp', '10.42.1.5', 8000), `far ${managed}`)
    t.match(await ask(unmanaged.space, 'tcp', '10.42.1.5', 8000), /EHOSTUNREACH|ECONNREFUSED/)
    await world.listen(host, 'tcp', '0.0.0.0', 8001, 'host')
    t.equal(await ask(far, 'tcp', managed, 8001), 'host 10.42.1.5')
    t.equal(await ask(far, 'tcp', '192.168.77.1', 8001), 'timeout', 'the tunnel leads to the subnet only')
    t.match(await ask(far, 'udp', '169.254.169.250', 53), /timeout/)
    t.equal((await applier.applyHost(hostPlanOf({ managed, routes: ['10.42.1.0/26'] }))).changes, 0)
    const routes = ['10.42.1.0/26']
    await applier.applyHost(hostPlanOf({ managed, routes, mtus: { '10.42.1.0/26': 1232 } }))
    t.match(await host.sh('ip route show 10.42.1.0/26'), 'mtu lock 1232')
    const large = ['ping', '-c', '1', '-W', '1', '-M', 'do', '-s', '1252', '10.42.1.5']
    t.match((await own.space.runner.attempt(large)).stdout, 'mtu = 1232', 'a container learns it')
    t.equal((await applier.applyHost(hostPlanOf({ managed, routes }))).changes, 0, 'and it stays')
    t.equal(
      (await applier.applyHost(hostPlanOf({ managed, routes, mtus: { '10.42.1.0/26': 1380 } }))).changes,
      1,
    )
    t.notMatch(await host.sh('ip route show 10.42.1.0/26'), 'mtu')
    t.equal((await applier.applyHost(hostPlanOf({ managed, routes: ['10.42.2.0/26'] }))).changes, 2)
  })

  await subtest(t, 'the servers are reached where others hold their ports', async (t, world) => {
    const { host, wire, applier } = await hostOn(world, 'servers')
    const unmanaged = await unmanagedOn(world, host)
    await applier.applyHost(hostPlanOf({ managed }))
    const own = await world.container(host)
    await applier.attach(attachPlanOf(own, '10.42.0.5', managed))
    await world.listen(host, 'udp', '0.0.0.0', 53, 'other')
    await world.listen(host, 'tcp', '0.0.0.0', 80, 'other')
    await world.listen(host, 'udp', '169.254.169.250', 10053, 'dns')
    await world.listen(host, 'tcp', '169.254.169.250', 10053, 'dns')
    await world.listen(host, 'tcp', '169.254.169.250', 10080, 'metadata')
    const server = '169.254.169.250'
    t.equal(await ask(own.space, 'udp', server, 53), 'dns 10.42.0.5')
    t.equal(await ask(own.space, 'tcp', server, 53), 'dns 10.42.0.5')
    t.equal(await ask(own.space, 'tcp', server, 80), 'metadata 10.42.0.5')
    t.equal(await ask(unmanaged.space, 'udp', server, 53), 'dns 172.17.0.2')
    t.match(await ask(host, 'udp', server, 53), /^dns /)
    t.match(await ask(host, 'tcp', server, 80), /^metadata /)
    await wire.sh('ip route add 169.254.169.250/32 via 192.168.77.1')
    t.equal(await ask(wire, 'udp', server, 53), 'timeout', 'not from the underlay')
    t.equal(await ask(wire, 'udp', server, 10053), 'timeout')
    t.equal(await ask(wire, 'udp', '192.168.77.1', 53), 'other 192.168.77.2', 'other servers are left alone')
  })

  await subtest(t, 'a published port of a managed address answers managed containers', async (t, world) => {
    const { host, applier } = await hostOn(world, 'publish')
    const web = await unmanagedOn(world, host)
    await host.sh(
      'iptables-nft -t nat -A PREROUTING -m addrtype --dst-type LOCAL -p tcp --dport 8080 -j DNAT --to 172.17.0.2:80',
    )
    await applier.applyHost(hostPlanOf({ managed }))
    const own = await world.container(host)
    await applier.attach(attachPlanOf(web, '10.42.0.6', managed))
    await applier.attach(attachPlanOf(own, '10.42.0.5', managed))
    await world.listen(web.space, 'tcp', '0.0.0.0', 80, 'web')
    t.match(await ask(own.space, 'tcp', managed, 8080), /^web /)
  })

  await subtest(t, 'a container without other networks gets its way to the world', async (t, world) => {
    const { host, wire, applier } = await hostOn(world, 'outward')
    await host.sh('iptables-nft -P FORWARD DROP')
    await host.sh('iptables-nft -N DOCKER-USER')
    await host.sh('iptables-nft -A FORWARD -j DOCKER-USER')
    await applier.applyHost(hostPlanOf({ managed }))
    const own = await world.container(host)
    await applier.attach(attachPlanOf(own, '10.42.0.5', managed, { outward: true }))
    await world.listen(wire, 'tcp', '0.0.0.0', 8000, 'world')
    t.equal(await ask(own.space, 'tcp', '192.168.77.2', 8000), 'world 192.168.77.1')
  })

  await subtest(t, 'attaching twice is attaching once, also for a new daemon', async (t, world) => {
    const { host, applier } = await hostOn(world, 'twice')
    await applier.applyHost(hostPlanOf({ managed }))
    const own = await world.container(host)
    const plan = attachPlanOf(own, '10.42.0.5', managed)
    await applier.attach(plan)
    const before = await stateOf(host)
    await applier.attach(plan)
    const next = applierIn(host)
    t.match(await next.attached(), [{ container: plan.container, inode: own.inode, complete: true }])
    await next.attach(plan)
    t.equal((await next.applyHost(hostPlanOf({ managed }))).changes, 0)
    t.equal(await stateOf(host), before)
    await host.sh('nft flush ruleset')
    await host.sh(`ip link set dev ${plan.link} down`)
    await host.sh(`ip link set dev ${plan.link} up`)
    t.ok((await next.applyHost(hostPlanOf({ managed }))).changes > 0, 'mends what others broke')
    t.same(sorted(await stateOf(host)), sorted(before))
  })

  await subtest(t, 'a half attach is repaired, a new address replaces the old', async (t, world) => {
    const { host, applier } = await hostOn(world, 'half')
    await applier.applyHost(hostPlanOf({ managed }))
    const own = await world.container(host)
    const plan = attachPlanOf(own, '10.42.0.5', managed)
    await host.sh(`ip link add ${plan.link} type veth peer name managed0 netns ${own.pid}`)
    await applier.attach(plan)
    await world.listen(own.space, 'udp', '0.0.0.0', 8000, 'own')
    t.equal(await ask(host, 'udp', '10.42.0.5', 8000), `own ${managed}`)
    await applier.attach(attachPlanOf(own, '10.42.0.9', managed))
    t.equal(await ask(host, 'udp', '10.42.0.9', 8000), `own ${managed}`)
    t.match(await applier.attached(), [{ address: attachPlanOf(own, '10.42.0.9', managed).address }])
    t.notMatch(await stateOf(host), '10.42.0.5')
    const dead = attachPlanOf({ ...own, inode: 1 }, '10.42.0.8', managed)
    await t.rejects(applier.attach(dead), { code: 'ATTACH_FAILED' })
  })

  await subtest(t, 'an address moves with its container to a new namespace', async (t, world) => {
    const { host, applier } = await hostOn(world, 'moves')
    await applier.applyHost(hostPlanOf({ managed }))
    const old = await world.container(host)
    const fresh = await world.container(host)
    await applier.attach(attachPlanOf(old, '10.42.0.5', managed, { id: 'abc' }))
    await applier.attach(attachPlanOf(fresh, '10.42.0.5', managed, { id: 'abc' }))
    t.match(await applier.attached(), [{ inode: fresh.inode }])
    await world.listen(fresh.space, 'udp', '0.0.0.0', 8000, 'fresh')
    t.equal(await ask(host, 'udp', '10.42.0.5', 8000), `fresh ${managed}`)
    await host.sh('nft delete table inet drover_default')
    await fresh.kill()
    await applier.detach(fresh.inode)
    await applier.detach(fresh.inode)
    t.same(await applier.attached(), [])
    t.notMatch(await stateOf(host), '10.42.0.5')
  })

  await subtest(t, 'leaving undoes everything, also by another daemon', async (t, world) => {
    for (const iptables of ['none', 'iptables-nft', 'iptables-legacy']) {
      const { host, applier } = await hostOn(world, `leave${iptables.length}`)
      if (iptables !== 'none') {
        for (const line of [
          '-N DOCKER',
          '-N DOCKER-USER',
          '-A DOCKER-USER -j RETURN',
          '-A FORWARD -j DOCKER-USER',
        ])
          await host.sh(`${iptables} ${line}`)
      }
      const own = await world.container(host)
      const [before, inside] = [await stateOf(host), await own.space.sh('ip -j addr')]
      await applier.applyHost(hostPlanOf({ managed, routes: ['10.42.1.0/26'] }))
      await applier.attach(attachPlanOf(own, '10.42.0.5', managed))
      if (iptables !== 'none')
        t.match(
          await host.sh(`${iptables} -S DOCKER-USER`),
          /-A DOCKER-USER -s 10.42.0.0\/16 .*ACCEPT\n.*RETURN/,
        )
      await applierIn(host).leave()
      t.equal(await stateOf(host), before, iptables)
      t.equal(await own.space.sh('ip -j addr'), inside)
      await applierIn(host).leave()
    }
  })
})

const sorted = (text: string): readonly string[] => text.split(/[\n,{}]/).sort()
