/**
 * Two hosts of one environment on a kernel that has both ESP and WireGuard: the daemons take IPsec by themselves and
 * the kernel's WireGuard while it is blocked, what somebody deletes comes back, and a host that has neither in its
 * kernel is reached by our own engine. Nothing is in clear at any time.
 */
import { type Test, test } from 'tap'
import { until } from '../../lab/command.ts'
import type { Vm } from '../../lab/vm/machine.ts'
import type { PeerView } from '../../status/status.ts'
import { vmFor, vmNeedsNightly } from '../support/vm.ts'
import { VmHost, vmWaiting } from '../support/vm-host.ts'

const needs = await vmNeedsNightly()
const store = '192.0.2.254'

/** The bridge sees what passes: pings of 1,000 bytes by what they are wrapped in, and what is not wrapped at all. */
const underlay = `set -e
ip link add br0 type bridge
ip addr add ${store}/24 dev br0
ip link set br0 up
nft -f - <<'END'
table bridge watch {
  counter by_ipsec { }
  counter by_wireguard { }
  counter in_clear { }
  chain forward {
    type filter hook forward priority -10;
    udp dport 4500 meta length 1050-1150 counter name by_ipsec
    udp dport 51820 meta length 1050-1150 counter name by_wireguard
    ip daddr 10.42.0.0/16 counter name in_clear
    ip saddr 10.42.0.0/16 counter name in_clear
  }
}
END
etcd --data-dir /run/etcd --listen-client-urls http://${store}:2379 --advertise-client-urls http://${store}:2379 \\
  >/run/vm/etcd.log 2>&1 &
export ETCDCTL_API=3
until etcdctl --endpoints=http://${store}:2379 endpoint health >/dev/null 2>&1; do
  kill -0 $! || { cat /run/vm/etcd.log; exit 1; }
  sleep 0.2
done
: >/run/resolv.conf`

/** Its namespace, its wire and its configuration. */
const machine = ({ name, address, folder }: VmHost): string => `set -e
ip netns add ${name}
ip -n ${name} link set lo up
ip link add port-${name} type veth peer name eth0 netns ${name}
ip link set port-${name} master br0 up
ip -n ${name} addr add ${address}/24 dev eth0
ip -n ${name} link set eth0 up
mkdir -p ${folder}
cat >${folder}/drover.yaml <<END
state: ${folder}/state
run: ${folder}
host: {name: ${name}, address: ${address}}
docker: {host: 'unix://${folder}/no-docker.sock'}
dns: {resolvConf: /run/resolv.conf}
tunnel: {sockets: ${folder}/wireguard, presharedKeys: 1d}
END`

const fault = (rule: string): string =>
  `nft 'add table bridge fault; add chain bridge fault forward { type filter hook forward priority 0; }; add rule bridge fault forward ${rule}'`
const heal = 'nft delete table bridge fault'

/** Waits until the host reaches its only peer by this backend. */
async function reachedBy(host: VmHost, backend: string): Promise<PeerView> {
  const holds = ({ backend: used, reachability }: PeerView): boolean =>
    used === backend && reachability === 'answers'
  const { peers } = await host.status(`its peer by ${backend}`, (status) => status.peers.some(holds))
  const [peer] = peers
  if (peer === undefined) throw new TypeError('the status shows no peer')
  return peer
}

/** Waits until pings of 1,000 bytes are answered, and go by this backend alone, there and back. */
function carriedBy(vm: Vm, [from, to]: readonly [VmHost, string], backend: string): Promise<true> {
  const pings = `ping -n -q -c 5 -i 0.2 -W 5 -s 1000 ${to}`
  let last = ''
  const once = async (): Promise<true | undefined> => {
    await vm.must('nft reset counters table bridge watch')
    const { stdout } = await vm.run(`nsenter --net=/run/netns/${from.name} ${pings}`)
    const counts = await vm.must('nft list counters table bridge watch')
    last = `${stdout}${counts}`
    const packets = (name: string): number =>
      Number(new RegExp(`counter by_${name} {\\s*packets (\\d+)`).exec(counts)?.[1])
    const others = packets('ipsec') + packets('wireguard') - packets(backend)
    return (stdout.includes(' 0% packet loss') && packets(backend) >= 10 && others === 0) || undefined
  }
  return until(`pings by ${backend}`, once, { ...vmWaiting, blame: () => `: ${last}` })
}

/** Pings that go on while something is done; every one of them was answered. */
async function withoutLoss(t: Test, vm: Vm, argv: string, act: () => Promise<unknown>): Promise<void> {
  await vm.must(`nsenter --net=/run/netns/a ping -n -i 0.2 ${argv} >/run/ping 2>&1 & echo $! >/run/ping.pid`)
  const answered = async (): Promise<readonly number[]> =>
    [...(await vm.must('cat /run/ping')).matchAll(/icmp_seq=(\d+) ttl/g)].map(([, number]) => Number(number))
  const replies = async (more: number): Promise<true> => {
    const before = (await answered()).length
    const look = async () => (await answered()).length >= before + more || undefined
    return until('replies', look, vmWaiting)
  }
  await replies(1)
  await act()
  await replies(10)
  await vm.must('kill $(cat /run/ping.pid)')
  const numbers = await answered()
  t.equal(new Set(numbers).size, Math.max(...numbers), 'every ping was answered')
}

/** What it took, for people: the emulated machine's speed is no measure. */
async function timed<T>(t: Test, what: string, wait: () => Promise<T>): Promise<T> {
  const since = performance.now()
  const value = await wait()
  t.comment(`${what} after ${((performance.now() - since) / 1000).toFixed(1)} s`)
  return value
}

/** An environment of both, whose daemons run. */
async function joined(vm: Vm, a: VmHost, b: VmHost): Promise<void> {
  await vm.must(underlay)
  for (const host of [a, b]) await vm.must(machine(host))
  // The first question to a store has a deadline, which an emulated processor may miss; nothing happened then.
  const init = () => a.drover(`init --store etcd://${store}:2379`).catch(() => undefined)
  await until('the environment', init, vmWaiting)
  await a.start()
  await a.status('an address', ({ managed }) => managed !== null)
  const { token } = await a.tell<{ readonly token: string }>('tokens/create')
  await b.drover(`join ${token}`)
  await b.start()
}

test('IPsec and WireGuard of one kernel', { ...needs, timeout: 1_800_000 }, async (t) => {
  const vm = await vmFor(t, { seconds: 1790 })
  const [a, b] = [new VmHost(vm, 'a', '192.0.2.1'), new VmHost(vm, 'b', '192.0.2.2')]
  await timed(t, 'both daemons run', () => joined(vm, a, b))
  const both = (backend: string) => Promise.all([reachedBy(a, backend), reachedBy(b, backend)])
  await both('ipsec')
  const { managed } = await b.status('an address', (status) => status.managed !== null)
  const way = [a, managed ?? ''] as const

  await t.test('IPsec is taken by itself, and carries all', async (t) => {
    const { ipsec, tunnel, peers } = await a.status('IPsec', (status) => status.ipsec.running)
    t.match(ipsec, { esp: 'kernel', running: true })
    t.match(tunnel, { engine: 'kernel', running: true })
    t.match(peers, [
      { backend: 'ipsec', reason: 'both hosts have IPsec in their kernel', endpoint: '192.0.2.2:4500' },
    ])
    t.ok(await carriedBy(vm, way, 'ipsec'))
    t.match(await a.sh('ip xfrm state'), /aead rfc4106\(gcm\(aes\)\)[\s\S]*encap type espinudp/)
  })

  await t.test('what somebody deletes in the kernel comes back', async (t) => {
    for (const what of ['state', 'policy']) {
      await a.sh(`ip xfrm ${what} flush`)
      await timed(t, `ip xfrm ${what} flush: mended`, () => carriedBy(vm, way, 'ipsec'))
      t.match(await a.sh(`ip xfrm ${what}`), what === 'state' ? 'proto esp' : 'dir out')
    }
  })

  await t.test("blocked: the kernel's WireGuard takes over, with a preshared key", async (t) => {
    await both('ipsec')
    await vm.must(fault('udp dport 4500 drop'))
    const [peer] = await timed(t, 'WireGuard', () => both('wireguard'))
    t.match(peer, { reason: 'IPsec carries no probe', engine: 'kernel', preshared: true })
    t.ok(await carriedBy(vm, way, 'wireguard'))
    const [one = '', other] = await Promise.all(
      [a, b].map((host) => host.sh('wg show drover0 preshared-keys')),
    )
    t.match(one, /\t[\w+/]{43}=$/)
    t.equal(one.split('\t')[1], other?.split('\t')[1], 'the same on both')
  })

  await t.test("the kernel's WireGuard follows the path MTU", async (t) => {
    const shows = (mtu: number) => a.status(`a path MTU of ${mtu}`, ({ peers }) => peers[0]?.pathMtu === mtu)
    await shows(1420)
    // A path is looked at when traffic begins on it.
    await vm.must(
      `nsenter --net=/run/netns/a ping -n -q -i 0.2 -s 1300 ${managed} >/dev/null 2>&1 & echo $! >/run/busy.pid`,
    )
    await vm.must("nft 'add rule bridge fault forward meta length > 1300 drop'")
    const { problems } = await timed(t, '1300 bytes', () => shows(1232))
    t.ok(problems.some(({ what }) => /path to b carries packets of 1232 bytes/.test(what)))
    t.match(await a.sh(`ip route get ${managed}`), 'mtu lock 1232')
    await vm.must(`${heal}; ${fault('udp dport 4500 drop')}`)
    await timed(t, '1500 bytes', () => shows(1420))
    await vm.must('kill $(cat /run/busy.pid)')
  })

  await t.test('open again: back to IPsec without a lost packet', async (t) => {
    await withoutLoss(t, vm, managed ?? '', async () => {
      await vm.must(heal)
      await timed(t, 'IPsec', () => both('ipsec'))
    })
    t.ok(await carriedBy(vm, way, 'ipsec'))
  })

  await t.test('a host that has neither in its kernel', async (t) => {
    await b.stop()
    await b.start('--tunnel-backend wireguard --tunnel-engine userspace')
    const [peer] = await both('wireguard')
    t.match(peer, { reason: 'b has no IPsec', engine: 'kernel', preshared: true })
    t.ok(await carriedBy(vm, way, 'wireguard'))
    t.match((await b.status('its engine', ({ tunnel }) => tunnel.running)).tunnel, { engine: 'userspace' })
  })

  const counts = await vm.must('nft list counters table bridge watch')
  t.match(counts, /counter in_clear {\s*packets 0 /, 'not one packet was in clear')
})
