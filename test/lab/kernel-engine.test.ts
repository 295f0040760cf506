/**
 * The kernel's WireGuard as an engine, on Debian's kernel, in a virtual machine: host `a` has a daemon as it is started
 * on a real one, host `b` is a peer in another namespace with an engine of its own. The daemon takes the kernel by
 * itself, and either engine takes over from the other while a ping goes on.
 */
import { test } from 'tap'
import { until } from '../../lab/command.ts'
import type { Vm } from '../../lab/vm/machine.ts'
import type { HostView, StatusView } from '../../status/status.ts'
import { vmFor, vmNeedsNightly } from '../support/vm.ts'
import { VmHost, vmWaiting as waiting } from '../support/vm-host.ts'

const needs = await vmNeedsNightly()
const peer = '10.42.255.1'

const hosts = `
set -e
: >/run/resolv.conf
for n in a b; do ip netns add $n; ip -n $n link set lo up; done
ip link add ea netns a type veth peer name eb netns b
ip -n a addr add 192.0.2.1/24 dev ea; ip -n a link set ea up
ip -n b addr add 192.0.2.2/24 dev eb; ip -n b link set eb up
mkdir -p /run/a /run/b
cat >/run/a/drover.yaml <<X
state: /run/a/state
run: /run/a
host: {name: a, address: 192.0.2.1}
docker: {host: 'unix:///run/a/no-docker.sock'}
dns: {resolvConf: /run/resolv.conf}
tunnel: {sockets: /run/a/wireguard}
X
nsenter --net=/run/netns/a node cli/main.ts init --config /run/a/drover.yaml
node test/support/seed-peer.ts /run/a/state /run/b/state >/run/keys
cut -d' ' -f1 /run/keys >/run/b/key`

/** The peer's side, whose device is there: its key, its address, and everything of the environment by way of a. */
const joined = `
nsenter --net=/run/netns/b wg set wg1 private-key /run/b/key listen-port 51820 \\
  peer "$(cut -d' ' -f2 /run/keys)" allowed-ips 10.42.0.0/16 endpoint 192.0.2.1:51820
ip -n b addr add ${peer}/32 dev wg1
ip -n b link set wg1 up mtu 1420
ip -n b route add 10.42.0.0/16 dev wg1 src ${peer}`

const peerInUserspace = `set -e
nsenter --net=/run/netns/b node cli/main.ts tunnel -f wg1 >/run/b/log 2>&1 &
until wg show wg1 >/dev/null 2>&1; do kill -0 $! || { cat /run/b/log; exit 1; }; sleep 0.2; done${joined}`
const peerInKernel = `set -e
rm /var/run/wireguard/wg1.sock
while ip -n b link show dev wg1 >/dev/null 2>&1; do sleep 0.1; done
ip -n b link add wg1 type wireguard${joined}`

/** Switches checksum offload of a device off (SIOCETHTOOL, ETHTOOL_STXCSUM): this kernel then refuses GSO sends. */
const withoutChecksums = (device: string): string => `nsenter --net=/run/netns/a node -e '
import("./linux/ffi.ts").then(({ Libc, makeArena }) => {
  const libc = new Libc(makeArena(4096))
  const [request, value] = [libc.arena.take(40), libc.arena.take(8)]
  libc.arena.bytes.set(Buffer.from("${device}"), request)
  libc.arena.point(request + 16, value, 8)
  libc.arena.view.setUint32(value, 0x17, true)
  process.exit(libc.ioctl(libc.socket(2, 2, 0), 0x8946, request, 40) < 0 ? 1 : 0)
})'`

/** Host a, seen from here. */
class EngineHost extends VmHost {
  /** Starts the daemon with another `tunnel.engine`, and waits for the engine that this gives. */
  async restart(wanted: string, engine: string): Promise<StatusView> {
    await this.stop()
    await this.start(`--tunnel-engine ${wanted}`)
    return this.runs(engine)
  }

  runs(engine: string): Promise<StatusView> {
    return this.status(engine, ({ managed, tunnel, peers }) => {
      return managed !== null && tunnel.engine === engine && tunnel.running && peers.length === 1
    })
  }

  /** What stays whatever the engine is: key, addresses, routes, rules. */
  async standing(): Promise<string> {
    const parts = await Promise.all([
      this.#key(),
      this.sh('ip -4 addr show dev lo'),
      this.sh('ip -4 route show'),
      this.sh('nft list table inet drover_default'),
      this.sh('cat /proc/sys/net/ipv4/conf/drover0/forwarding'),
    ])
    return parts.join('\n')
  }

  async #key(): Promise<string> {
    if ((await this.kind()) === 'wireguard') return this.sh('wg show drover0 private-key')
    const [, key = ''] = /^private_key=(.*)$/m.exec(await this.uapi()) ?? []
    return Buffer.from(key, 'hex').toString('base64')
  }

  async kind(): Promise<string> {
    const [link] = JSON.parse(await this.sh('ip -json -d link show dev drover0'))
    return String(link.linkinfo.info_kind)
  }

  /** With its index, which no later device has. */
  device(): Promise<string> {
    return this.sh('ip -o link show dev drover0')
  }

  /** What the userspace engine answers. */
  uapi(): Promise<string> {
    return this.sh(`node -e '
      const socket = require("net").connect("/run/a/wireguard/drover0.sock", () => socket.write("get=1\\n\\n"))
      socket.on("data", (data) => process.stdout.write(data) && /errno=/.test(data) && socket.end())'`)
  }

  async capabilities(): Promise<string> {
    const hosts = await this.view<readonly HostView[]>('hosts')
    const own = hosts?.find(({ name }) => name === 'a')
    return `${own?.engine} ${own?.capabilities.join()}`
  }

  says(capabilities: string): Promise<string> {
    const look = async () => ((await this.capabilities()) === capabilities ? capabilities : undefined)
    return until(`the record to say ${capabilities}`, look, waiting)
  }
}

/** The ping that began before everything goes on. */
async function goesOn(vm: Vm): Promise<void> {
  const replies = async (): Promise<number> => Number(await vm.must('grep -c "bytes from" /run/ping || true'))
  const before = await replies()
  await until('ten more replies', async () => (await replies()) >= before + 10 || undefined, waiting)
}

const startPing = (from: string): string => `
nsenter --net=/run/netns/a tcpdump -i ea -nn -l net 10.42.0.0/16 >/run/clear 2>/run/tcpdump & echo $! >/run/tcpdump.pid
until grep -q 'listening on' /run/tcpdump; do sleep 0.1; done
until nsenter --net=/run/netns/a ping -n -c 1 -W 5 -I ${from} ${peer} >/run/ping 2>&1; do sleep 0.3; done
nsenter --net=/run/netns/a ping -n -i 0.2 -I ${from} ${peer} >/run/ping 2>&1 &`
const endCapture = `
kill -INT $(cat /run/tcpdump.pid)
while kill -0 $(cat /run/tcpdump.pid) 2>/dev/null; do sleep 0.1; done
cat /run/clear`

test("the kernel's WireGuard as the engine", { ...needs, timeout: 1_800_000 }, async (t) => {
  const vm = await vmFor(t, { seconds: 1790 })
  await vm.must(hosts)
  await vm.must(peerInUserspace)
  const a = new EngineHost(vm, 'a', '192.0.2.1')
  await a.start('--tunnel-engine auto')
  const first = await a.runs('kernel')
  await vm.must(startPing(first.managed ?? ''))

  await t.test('the daemon takes it by itself, and it talks to ours', async (t) => {
    t.match(first.tunnel, { wanted: 'auto', reason: 'the kernel has WireGuard', facts: null, problem: '' })
    t.match(first.peers, [{ engine: 'kernel', host: 'b' }])
    t.equal(await a.kind(), 'wireguard')
    await goesOn(vm)
    t.match(await a.sh(`ping -c 3 -w 30 -M do -s 1392 ${peer}`), / 0% packet loss/, 'the largest packet')
    const { peers } = await a.status('a handshake', ({ peers }) => peers[0]?.lastHandshake !== null)
    t.match(peers, [{ endpoint: '192.0.2.2:51820', received: Number, sent: Number }])
    await a.says('kernel ')
  })

  const before = await a.standing()
  await t.test('to userspace: everything stays, the ping goes on', async (t) => {
    const { tunnel } = await a.restart('userspace', 'userspace')
    await goesOn(vm)
    t.match(tunnel, { wanted: 'userspace', reason: 'as configured' })
    t.equal(await a.kind(), 'tun')
    t.equal(await a.standing(), before)
    await a.says('userspace checksum-marks')
    t.match(await a.uapi(), '\ndrover_marks=true\n', 'as the record of the peer says')
  })

  await t.test('an offload that gives way is shown', async (t) => {
    const { tunnel } = await a.status('its facts', (one) => one.tunnel.facts !== null)
    t.match(tunnel.facts, { aead: 'openssl', offloads: { tso: 'on', gso: 'on', gro: 'on', coalesce: 'on' } })
    await vm.must(withoutChecksums('ea'))
    await vm.must(`nsenter --net=/run/netns/b iperf3 -s -1 -D -B ${peer}
      until nsenter --net=/run/netns/b ss -Hltn | grep -q :5201; do sleep 0.1; done`)
    await a.sh(`iperf3 -c ${peer} -n 4M`)
    const refused = await a.status('GSO refused', (one) => one.tunnel.facts?.offloads.gso === 'refused')
    t.match(refused.tunnel.facts?.offloads, { tso: 'on', gro: 'on' })
    const metrics = await vm.must('curl -sf --unix-socket /run/a/drover.sock http://drover/metrics')
    t.match(metrics, 'drover_tunnel_offload{offload="gso"} 0')
    t.match(metrics, 'drover_tunnel_engine{engine="userspace"} 1')
  })

  await t.test('to the kernel again, which finds its device after a restart', async (t) => {
    await a.restart('auto', 'kernel')
    await goesOn(vm)
    t.equal(await a.kind(), 'wireguard')
    t.equal(await a.standing(), before)
    await a.says('kernel ')
    const device = await a.device()
    await a.restart('kernel', 'kernel')
    t.equal(await a.device(), device, 'the same device')
  })

  await t.test('kernel to kernel, and a device that somebody removes is made again', async (t) => {
    await vm.must(peerInKernel)
    await goesOn(vm)
    const device = await a.device()
    await a.sh('ip link del dev drover0')
    const another = async () => {
      const now = await a.device().catch(() => device)
      return now !== device || undefined
    }
    await until('another device', another, waiting)
    await goesOn(vm)
    t.equal(await a.standing(), before)
  })

  t.equal(await vm.must(endCapture), '', 'not one packet went in clear')
})
