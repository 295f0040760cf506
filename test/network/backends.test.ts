/**
 * Two ways between two hosts on a real kernel: wires stand for WireGuard's device and for the one that IPsec has. An echo
 * is answered by the way that it came by, routes move from one to the other under a flood without losing a packet, and
 * nobody sends on a peer's own interface but from what that peer holds.
 */
import { type Test, test } from 'tap'
import type { Environment } from '../../model/environment.ts'
import type { Cidr } from '../../model/ip.ts'
import { type HostPlan, hostPlan } from '../../network/host-plan.ts'
import type { IpsecLinks } from '../../network/ipsec-plan.ts'
import { networkNames } from '../../network/names.ts'
import { NetnsWorld, needsRoot, type TestNetns, until } from '../support/netns.ts'
import { applierIn, serversAddress, stateOf } from '../support/network.ts'
import { environmentOf, hostIdOf, hostOf, hostRecordOf } from '../support/snapshots.ts'

const [wireguard, ipsec] = ['drover0', 'ipsec0']
const numbers = [1, 2] as const
const managed = (n: number): string => `10.42.${n}.1`

function sightOf(self: number): Environment {
  const claim = (n: number) => ({ host: hostIdOf(n), epoch: 0, container: null, confirmed: true })
  return {
    ...environmentOf({ self: hostIdOf(self), hosts: numbers.map((n) => hostOf(hostRecordOf(n))) }),
    blocks: new Map(numbers.map((n) => [`10.42.${n}.0/26` as Cidr, claim(n)])),
  }
}

function planOf(self: number, links: Partial<IpsecLinks>): HostPlan {
  return hostPlan(sightOf(self), {
    names: networkNames('default'),
    tunnel: { name: wireguard, mtu: 1380 },
    servers: { address: serversAddress, dnsPort: 10053, metadataPort: 10080 },
    bridges: [],
    askers: { others: [], guests: [] },
    ipsec: { links: new Map(), device: ipsec, chosen: new Set(), ...links },
    pathMtus: new Map(),
  })
}

/** The peers of a host that are reached by IPsec: the other one, or nobody. */
const byIpsec = (self: number, yes: boolean) => ({ chosen: new Set(yes ? [hostIdOf(3 - self)] : []) })

/** Interfaces that know no neighbours, as tunnels do. */
async function tunnel(world: NetnsWorld, one: TestNetns, other: TestNetns, name: string): Promise<void> {
  await world.wire(one, `${name} 169.254.9.1/32`, other, `${name} 169.254.9.2/32`)
  for (const space of [one, other]) {
    await space.sh(`ip link set dev ${name} arp off address 02:00:00:00:00:01`)
    await space.sh(`ip addr flush dev ${name}`)
  }
}

async function pair(t: Test) {
  const world = await NetnsWorld.open()
  t.teardown(() => world.close())
  const [one, other] = [await world.netns('b1'), await world.netns('b2')]
  for (const space of [one, other])
    await space.sh('sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.all.rp_filter=1')
  await tunnel(world, one, other, wireguard)
  await tunnel(world, one, other, ipsec)
  return { world, one, other }
}

const echo = async (space: TestNetns, device: string, to: string): Promise<string> => {
  const argv = ['ping', '-n', '-c', '1', '-W', '1', '-I', device, '-I', managed(1), to]
  return (await space.runner.attempt(argv)).stdout
}

test('an echo is answered by the backend that asked', needsRoot, async (t) => {
  const { world, one, other } = await pair(t)
  const before = await stateOf(other)
  const [applier, far] = [applierIn(one), applierIn(other)]
  for (const chosen of [false, true]) {
    await applier.applyHost(planOf(1, byIpsec(1, false)))
    await far.applyHost(planOf(2, byIpsec(2, chosen)))
    t.match(await other.sh(`ip route get ${managed(1)}`), chosen ? ipsec : wireguard)
    for (const device of [wireguard, ipsec]) {
      const replies = await world.capture(one, device, 'icmp[0] = 0')
      t.match(await echo(one, device, managed(2)), '1 received', `by ${device}, its own way is ${chosen}`)
      await replies.seen('echo reply')
      t.equal((await replies.lines()).length, 1)
    }
  }
  t.equal((await far.applyHost(planOf(2, byIpsec(2, true)))).changes, 0, 'applied twice is applied once')
  await other.sh(`ip link set dev ${ipsec} down`)
  t.notMatch(
    await echo(one, ipsec, managed(2)),
    '1 received',
    'a way that is cut is not answered by the other',
  )
  await other.sh(`ip link set dev ${ipsec} up`)
  await far.leave()
  const strip = (text: string) => text.replace(/"(flags|operstate|ifindex|expires|age)":[^,}]*/g, '')
  t.equal(
    strip(await stateOf(other)).includes('208'),
    strip(before).includes('208'),
    'rules and tables are gone',
  )
  t.notMatch(await other.sh('ip rule show'), '20801')
})

test('routes move without losing a packet', needsRoot, async (t) => {
  const { world, one, other } = await pair(t)
  const [applier, far] = [applierIn(one), applierIn(other)]
  await applier.applyHost(planOf(1, byIpsec(1, false)))
  await far.applyHost(planOf(2, byIpsec(2, false)))
  const flood = world.spawn(one, ['ping', '-n', '-q', '-i', '0.002', '-I', managed(1), managed(2)])
  let said = ''
  flood.stdout?.on('data', (text) => {
    said += String(text)
  })
  const sent = async (device: string) =>
    JSON.parse(await one.sh(`ip -j -s link show dev ${device}`))[0].stats64.tx.packets as number
  for (const chosen of [true, false, true, false]) {
    const device = chosen ? ipsec : wireguard
    await applier.applyHost(planOf(1, byIpsec(1, chosen)))
    const since = await sent(device)
    await until(`traffic by ${device}`, async () => (await sent(device)) > since + 50)
    await far.applyHost(planOf(2, byIpsec(2, chosen)))
  }
  flood.kill('SIGINT')
  await until('the end of the flood', () => said.includes('packet loss'))
  const [, all, received] = /(\d+) packets transmitted, (\d+) received/.exec(said) ?? []
  t.ok(Number(all) > 200, `${all} packets`)
  t.ok(Number(all) - Number(received) <= 1, `${all} sent, ${received} received: the last may be under way`)
})

test('who sends what on the interface of a peer', needsRoot, async (t) => {
  const { world, one, other } = await pair(t)
  const links = new Map([[hostIdOf(2), { name: ipsec, ifId: 7 }]])
  await applierIn(one).applyHost(planOf(1, { ...byIpsec(1, true), links, device: undefined }))
  await other.sh(`ip route add 10.42.0.0/16 dev ${ipsec}`)
  const arrived = await world.capture(one, ipsec, 'icmp[0] = 8')
  for (const address of [managed(2), '10.42.2.63', '10.42.3.1', '10.42.1.9', '192.0.2.1'])
    await other.sh(`ip addr add ${address}/32 dev lo`)
  const asked = async (from: string): Promise<boolean> => {
    const argv = ['ping', '-n', '-c', '1', '-W', '1', '-I', from, managed(1)]
    return (await other.runner.attempt(argv)).status === 0
  }
  t.ok(await asked(managed(2)))
  t.ok(await asked('10.42.2.63'), 'all of its block')
  for (const foreign of ['10.42.3.1', '10.42.1.9', '192.0.2.1']) t.notOk(await asked(foreign), foreign)
  t.equal((await arrived.lines()).length, 5, 'all of them came in')
  const chain = await one.sh('nft list set inet drover_default owned')
  t.match(chain, '"ipsec0" . 10.42.2.0/26')
})
