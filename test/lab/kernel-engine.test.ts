/**
 * The kernel's WireGuard as an engine, on Debian's kernel: two hosts in a virtual machine, a namespace each, with
 * daemons as they are started on real ones. The daemon takes the kernel by itself, and either engine takes over
 * from the other while a ping goes on.
 */
import { test } from 'tap'
import { until } from '../../lab/command.ts'
import type { Vm } from '../../lab/vm/machine.ts'
import type { HostView, StatusView } from '../../status/status.ts'
import { vmFor, vmNeeds } from '../support/vm.ts'

const needs = await vmNeeds()
const patience = 120_000
const every = 300

type Host = 'a' | 'b'

const hosts = `
set -e
: >/run/resolv.conf
for n in a b; do ip netns add $n; ip -n $n link set lo up; done
ip link add ea netns a type veth peer name eb netns b
ip -n a addr add 192.0.2.1/24 dev ea; ip -n a link set ea up
ip -n b addr add 192.0.2.2/24 dev eb; ip -n b link set eb up
for n in a b; do
  mkdir -p /run/$n
  address=$(ip -n $n -o -4 addr show dev e$n | grep -o '192[0-9.]*' | head -1)
  cat >/run/$n/drover.yaml <<X
state: /run/$n/state
run: /run/$n
host: {name: $n, address: $address}
docker: {host: 'unix:///run/$n/no-docker.sock'}
dns: {resolvConf: /run/resolv.conf}
tunnel: {sockets: /run/$n/wireguard}
log: {level: debug}
X
done
nsenter --net=/run/netns/a etcd --data-dir /run/etcd --listen-client-urls http://192.0.2.1:2379 \\
  --advertise-client-urls http://192.0.2.1:2379 --listen-peer-urls http://127.0.0.1:2380 >/run/etcd.log 2>&1 &
until nsenter --net=/run/netns/a curl -sf -m 2 http://192.0.2.1:2379/health >/dev/null; do sleep 0.3; done
for n in a b; do
  nsenter --net=/run/netns/$n node cli/main.ts init --store etcd://192.0.2.1:2379 --config /run/$n/drover.yaml
done`

const start = (host: Host, engine: string): string => `
nsenter --net=/run/netns/${host} node cli/main.ts daemon --config /run/${host}/drover.yaml \\
  --tunnel-engine ${engine} >>/run/${host}/log 2>&1 & echo $! >/run/${host}/pid`

const stop = (host: Host): string => `
kill $(cat /run/${host}/pid)
while kill -0 $(cat /run/${host}/pid) 2>/dev/null; do sleep 0.1; done`

/** Programs of a host, without the view of /sys that \`ip netns exec\` changes. */
class HostInVm {
  readonly name: Host
  readonly #vm: Vm

  constructor(vm: Vm, name: Host) {
    this.name = name
    this.#vm = vm
  }

  sh(line: string): Promise<string> {
    return this.#vm.must(`nsenter --net=/run/netns/${this.name} ${line}`)
  }

  async view<T>(name: string): Promise<T | undefined> {
    const socket = `/run/${this.name}/drover.sock`
    const { stdout } = await this.#vm.run(`curl -sf -m 20 --unix-socket ${socket} http://drover/v1/${name}`)
    try {
      return JSON.parse(stdout) as T
    } catch {
      return undefined
    }
  }

  /** Starts the daemon with another \`tunnel.engine\`, and waits for the engine that this gives. */
  async restart(wanted: string, engine: string): Promise<StatusView> {
    await this.#vm.must(stop(this.name))
    await this.#vm.must(start(this.name, wanted))
    return this.runs(engine)
  }

  runs(engine: string): Promise<StatusView> {
    return this.status(
      `${this.name} with ${engine}`,
      ({ managed, tunnel, peers }) =>
        managed !== null && tunnel.engine === engine && tunnel.running && peers.length === 1,
    )
  }

  status(what: string, holds: (status: StatusView) => boolean): Promise<StatusView> {
    let last = ''
    return until(
      what,
      async () => {
        const status = await this.view<StatusView>('status')
        last = JSON.stringify(status?.tunnel)
        return status !== undefined && holds(status) ? status : undefined
      },
      { patience, every, blame: () => last },
    )
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

  /** What the userspace engine answers. */
  uapi(): Promise<string> {
    return this.#vm.must(`node -e '
      const socket = require("net").connect("/run/${this.name}/wireguard/drover0.sock", () => socket.write("get=1\\n\\n"))
      socket.on("data", (data) => process.stdout.write(data) && /errno=/.test(data) && socket.end())'`)
  }

  marks(are: boolean): Promise<true> {
    const look = async () => (await this.uapi()).includes('drover_marks=true') === are || undefined
    return until(`marks on ${this.name} to be ${are}`, async () => (await look()) && true, {
      patience,
      every,
    })
  }

  async kind(): Promise<string> {
    const [link] = JSON.parse(await this.sh('ip -json -d link show dev drover0'))
    return String(link.linkinfo.info_kind)
  }

  /** With its index, which no other device ever has. */
  device(): Promise<string> {
    return this.sh('ip -o link show dev drover0')
  }
}

const replies = async (vm: Vm): Promise<number> =>
  Number(await vm.must('grep -c "bytes from" /run/ping || true'))

/** The ping that began before everything goes on. */
async function goesOn(vm: Vm): Promise<void> {
  const before = await replies(vm)
  await until('ten more replies', async () => (await replies(vm)) >= before + 10 || undefined, {
    patience,
    every,
  })
}

/** Switches checksum offload of a device off (SIOCETHTOOL, ETHTOOL_STXCSUM): the kernel then refuses GSO sends. */
const withoutChecksums = (device: string): string => `node -e '
import("./linux/ffi.ts").then(({ Libc, makeArena }) => {
  const libc = new Libc(makeArena(4096))
  const [request, value] = [libc.arena.take(40), libc.arena.take(8)]
  libc.arena.bytes.set(Buffer.from("${device}"), request)
  libc.arena.point(request + 16, value, 8)
  libc.arena.view.setUint32(value, 0x17, true)
  process.exit(libc.ioctl(libc.socket(2, 2, 0), 0x8946, request, 40) < 0 ? 1 : 0)
})'`

test("the kernel's WireGuard as the engine", { ...needs, timeout: 900_000 }, async (t) => {
  const vm = await vmFor(t, { seconds: 890 })
  await vm.must(hosts)
  const [a, b] = [new HostInVm(vm, 'a'), new HostInVm(vm, 'b')]
  await vm.must(`${start('a', 'auto')}${start('b', 'userspace')}`)
  const first = await a.runs('kernel')
  const other = await b.runs('userspace')
  await vm.must(
    `nsenter --net=/run/netns/b tcpdump -i eb -nn -l icmp >/run/clear 2>/run/tcpdump & echo $! >/run/tcpdump.pid
    until grep -q 'listening on' /run/tcpdump; do sleep 0.1; done
    nsenter --net=/run/netns/b ping -n -i 0.2 -I ${other.managed} ${first.managed} >/run/ping 2>&1 &`,
  )

  await t.test('the daemon takes it by itself, and it talks to ours', async (t) => {
    t.match(first.tunnel, { wanted: 'auto', reason: 'the kernel has WireGuard', facts: null, problem: '' })
    t.match(other.tunnel, { wanted: 'userspace', reason: 'as configured', facts: { aead: 'openssl' } })
    t.match([first.peers, other.peers], [[{ engine: 'kernel' }], [{ engine: 'userspace' }]])
    t.strictSame([await a.kind(), await b.kind()], ['wireguard', 'tun'])
    await goesOn(vm)
    const engines = (await b.view<readonly HostView[]>('hosts'))?.map(({ name, engine }) => [name, engine])
    t.strictSame(engines, [
      ['a', 'kernel'],
      ['b', 'userspace'],
    ])
    const { peers } = await a.status('a handshake', ({ peers }) => peers[0]?.lastHandshake !== null)
    t.match(peers, [{ endpoint: '192.0.2.2:51820', received: Number, sent: Number }])
    t.match(
      await b.sh(`ping -c 1 -w 20 -M do -s 1392 ${first.managed}`),
      / 0% packet loss/,
      'the largest packet',
    )
    t.notMatch(await b.uapi(), 'drover_marks', 'the kernel understands no marks')
  })

  const before = await a.standing()
  await t.test('to userspace: everything stays, the ping goes on', async (t) => {
    t.match((await a.restart('userspace', 'userspace')).tunnel, { facts: { offloads: { gso: 'on' } } })
    await goesOn(vm)
    t.equal(await a.kind(), 'tun')
    t.equal(await a.standing(), before)
    await Promise.all([a.marks(true), b.marks(true)])
  })

  await t.test('an offload that gives way is shown', async (t) => {
    await b.sh(withoutChecksums('eb'))
    await a.sh(`iperf3 -s -1 -D -B ${first.managed}`)
    await b.sh(`sh -c "until iperf3 -c ${first.managed} -n 4M >/dev/null; do sleep 1; done"`)
    const { tunnel } = await b.status('GSO refused', (one) => one.tunnel.facts?.offloads.gso === 'refused')
    t.match(tunnel.facts?.offloads, { tso: 'on', gro: 'on' })
    const metrics = await vm.must('curl -s --unix-socket /run/b/drover.sock http://drover/metrics')
    t.match(metrics, 'drover_tunnel_offload{offload="gso"} 0')
    t.match(metrics, 'drover_tunnel_engine{engine="userspace"} 1')
  })

  await t.test('to the kernel again, and both', async (t) => {
    await a.restart('auto', 'kernel')
    await goesOn(vm)
    t.equal(await a.kind(), 'wireguard')
    t.equal(await a.standing(), before)
    await b.marks(false)
    await b.restart('kernel', 'kernel')
    await goesOn(vm)
    t.strictSame([await a.kind(), await b.kind()], ['wireguard', 'wireguard'], 'kernel to kernel')
    t.match((await b.view<StatusView>('status'))?.tunnel, { reason: 'as configured', facts: null })
  })

  await t.test('a restart finds the device; one that is removed is made again', async (t) => {
    const device = await a.device()
    await a.restart('auto', 'kernel')
    t.equal(await a.device(), device, 'the same device')
    await a.sh('ip link del dev drover0')
    await until(
      'another device',
      async () => {
        const now = await a.device().catch(() => '')
        return (now !== '' && now !== device) || undefined
      },
      { patience, every },
    )
    await goesOn(vm)
    t.equal(await a.standing(), before)
  })

  await vm.must(
    'kill -INT $(cat /run/tcpdump.pid); while kill -0 $(cat /run/tcpdump.pid); do sleep 0.1; done',
  )
  t.equal(await vm.must('cat /run/clear'), '', 'not one packet went in clear')
})
