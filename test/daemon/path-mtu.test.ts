/**
 * Path MTU for real: two userspace engines, a router between them whose link shrinks under a running TCP transfer,
 * over IPv4 and IPv6, with ICMP delivered and dropped. This process is the daemon of the first host: it probes,
 * reads the kernel's hints and sets the routes from inside of that host's namespace.
 */
import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { type Test, test } from 'tap'
import type { Way } from '../../daemon/peers/backend-chooser.ts'
import { PathProber } from '../../daemon/peers/path-prober.ts'
import { Libc, makeArena } from '../../linux/ffi.ts'
import { Pinger } from '../../linux/icmp.ts'
import { RouteMtu } from '../../linux/route-mtu.ts'
import type { HostId } from '../../model/records.ts'
import type { PeerState } from '../../status/vitals.ts'
import { parseEndpoint } from '../../tunnel/wireguard/endpoint.ts'
import { isRoot, NetnsWorld, needsRoot, type TestNetns, until } from '../support/netns.ts'
import { applierIn, hostPlanOf, ip4 } from '../support/network.ts'
import { enterNetns } from '../support/own-netns.ts'
import { MemoryLog, MemoryMeter, SeededRandom } from '../support/ports.ts'
import { realClock } from '../support/real-clock.ts'
import { hostId } from '../support/records.ts'
import { transfer } from '../support/transfer.ts'

const run = promisify(execFile)
const script = join(import.meta.dirname, '../../cli/main.ts')
const folder = mkdtempSync(join(tmpdir(), 'drover-path-'))
const world = isRoot ? await NetnsWorld.open() : undefined

/** What `hostPlanOf` gives the tunnel: room for it on a path of 1,500 bytes over either protocol. */
const mtu = 1380
const narrow = 1300
const patience = 60_000
const far = hostId('far')
const port = 51_820
const outer = { 4: `192.168.78.1:${port}`, 6: `[fd78::1]:${port}` } as const

interface Host {
  readonly space: TestNetns
  readonly device: string
  readonly managed: string
  readonly publicKey: string
}

interface Lan {
  readonly near: Host
  readonly far: Host
  readonly router: TestNetns
  /** Largest packet of the link between the router and the far host. */
  shrink(size: number): Promise<void>
}

const socketOf = ({ device }: Host): string => `/var/run/wireguard/${device}.sock`

async function startHost(space: TestNetns, number: number): Promise<Host> {
  const device = `dt${process.pid}p${number}`
  const { stdout: key } = await run('wg', ['genkey'])
  const path = join(folder, `${number}.key`)
  writeFileSync(path, key, { mode: 0o600 })
  const publicKey = (await run('sh', ['-c', 'wg pubkey < "$0"', path])).stdout.trim()
  const env = { ...process.env, DROVER_TUNNEL_STATE: join(folder, `${number}.state`) }
  await run('nsenter', [`--net=${space.path}`, process.execPath, script, 'tunnel', device], { env })
  await run('wg', ['set', device, 'private-key', path, 'listen-port', String(port)])
  return { space, device, managed: `10.42.${number}.1`, publicKey }
}

const routesTo = ({ managed }: Host): readonly string[] => [managed.replace(/1$/, '0/26')]

async function connect(one: Host, other: Host): Promise<void> {
  const [allowed = ''] = routesTo(other)
  await run('wg', ['set', one.device, 'peer', other.publicKey, 'allowed-ips', allowed])
  await applierIn(one.space).applyHost(
    hostPlanOf({ managed: one.managed, tunnel: one.device, routes: routesTo(other) }),
  )
}

async function lan(): Promise<Lan> {
  if (world === undefined) throw new TypeError('no world')
  const [a, router, b] = [await world.netns('near'), await world.netns('router'), await world.netns('far')]
  await world.wire(a, 'u0 192.168.77.1/24', router, 'r0 192.168.77.254/24')
  await world.wire(b, 'u0 192.168.78.1/24', router, 'r1 192.168.78.254/24')
  // neighbours are asked from link-local addresses
  for (const [space, net, last] of [
    [a, 'fd77', 'u0'],
    [b, 'fd78', 'u0'],
    [router, 'fd77', 'r0'],
    [router, 'fd78', 'r1'],
  ] as const)
    for (const prefix of [net, 'fe80'])
      await space.sh(`ip addr add ${prefix}::${last === 'u0' ? '1' : 'fe'}/64 dev ${last} nodad`)
  await router.sh('sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1')
  await a.sh('ip route add default via 192.168.77.254')
  await a.sh('ip -6 route add default via fd77::fe')
  await b.sh('ip route add default via 192.168.78.254')
  await b.sh('ip -6 route add default via fd78::fe')
  const [near, other] = [await startHost(a, 1), await startHost(b, 2)]
  await connect(near, other)
  await connect(other, near)
  const shrink = async (size: number): Promise<void> => {
    await router.sh(`ip link set r1 mtu ${size}`)
    await b.sh(`ip link set u0 mtu ${size}`)
  }
  return { near, far: other, router, shrink }
}

/** The near host's daemon, as far as path MTUs go. */
function daemonOf(t: Test, { near, far: other }: Lan, endpoint: string) {
  const libc = new Libc(makeArena(1 << 16))
  const applier = applierIn(near.space)
  const pinger = new Pinger({ libc, clock: realClock, random: new SeededRandom(process.pid) })
  const source = ip4(near.managed)
  const way: Way = {
    host: far,
    name: 'far',
    address: ip4(other.managed),
    backend: 'wireguard',
    interface: near.device,
    answers: true,
    silent: false,
  }
  const common = {
    host: far,
    backend: 'wireguard',
    engine: 'userspace',
    lastHandshake: 0,
    received: 0,
    endpoint,
  }
  let reports: readonly PeerState[] = [{ ...common, sent: 0 }]
  const counting = setInterval(async () => {
    const { stdout } = await run('wg', ['show', near.device, 'transfer'])
    reports = [{ ...common, sent: Number(stdout.trim().split('\t')[2]) }]
  }, 1000)
  let applying: Promise<unknown> = Promise.resolve()
  const apply = (mtus: ReadonlyMap<HostId, number>): void => {
    const [route = ''] = routesTo(other)
    const known = Object.fromEntries([...mtus.values()].map((size) => [route, size]))
    const { managed, device: tunnel } = near
    const plan = hostPlanOf({ managed, tunnel, routes: [route], mtus: known })
    applying = applying.then(() => applier.applyHost(plan))
  }
  const prober = new PathProber(
    {
      echo: { probe: (probes, timeout) => pinger.probe(probes, { source, ...timeout }) },
      hints: new RouteMtu(libc),
      clock: realClock,
      log: new MemoryLog(),
      meter: new MemoryMeter(),
      ways: () => [way],
      peers: () => reports,
      onChange: apply,
    },
    { mtu },
  )
  const running = prober.run()
  t.teardown(async () => {
    clearInterval(counting)
    prober.close()
    await running
    await applying
  })
  return prober
}

const megabytes = 20
const icmpDrop = `add table inet silent
add chain inet silent out { type filter hook output priority 0; }
add rule inet silent out meta l4proto icmp drop
add rule inet silent out icmpv6 type packet-too-big drop
`

test('a hop that shrinks under a transfer', { ...needsRoot, timeout: 240_000 }, async (t) => {
  const net = await lan()
  const { near, router } = net
  t.teardown(async () => {
    for (const one of [near, net.far]) rmSync(socketOf(one), { force: true })
    await until('the tunnels gone', async () => !(await near.space.sh('ip -o link')).includes(near.device))
  })
  enterNetns(near.space.path)
  const kernel = new RouteMtu(new Libc(makeArena(1 << 12)))
  const sending = () =>
    transfer(
      {
        receiver: (argv) => world?.spawn(net.far.space, argv),
        sender: (argv) => world?.spawn(near.space, argv),
        address: net.far.managed,
        from: near.managed,
        megabytes,
      },
      patience,
    )
  for (const family of [4, 6] as const) {
    const inside = family === 4 ? 1232 : 1216
    const known = (): number | undefined => {
      const to = parseEndpoint(outer[family])
      return to === undefined ? undefined : kernel.pathMtu(to)
    }
    const unlimited = () =>
      until('a route without a limit', async () => {
        const route = await near.space.sh(`ip route get ${net.far.managed}`)
        return !route.includes('mtu')
      })
    const start = async (t: Test): Promise<PathProber> => {
      await run('wg', ['set', near.device, 'peer', net.far.publicKey, 'endpoint', outer[family]])
      await near.space.sh(`ping -c 1 -W 5 -I ${near.managed} ${net.far.managed}`)
      const prober = daemonOf(t, net, outer[family])
      await until('a wide path', () => prober.mtus.get(far) === mtu)
      await unlimited()
      return prober
    }

    await t.test(`IPv${family}, ICMP dropped`, async (t) => {
      await router.runner.run(['nft', '-f', '-'], { input: icmpDrop })
      const prober = await start(t)
      const fragmentable = await world?.capture(
        router,
        'r0',
        'udp and ip[6]&0x40=0 and src host 192.168.77.1',
      )
      const arrived = await sending()
      await net.shrink(narrow)
      const since = performance.now()
      await until('the narrow path', () => prober.mtus.get(far) === inside, patience)
      t.comment(`found ${Math.round(performance.now() - since)} ms later`)
      t.equal(await arrived(), megabytes * 1e6, 'the transfer is complete')
      t.equal(known(), 1500, 'the kernel never heard of it')
      t.same(await fragmentable?.lines(), [], 'no router may fragment, not even runs')
      const route = await near.space.sh(`ip route get ${net.far.managed}`)
      t.match(route, `mtu lock ${inside}`)
      await near.space.sh(`ping -c 1 -W 2 -M do -s ${inside - 28} -I ${near.managed} ${net.far.managed}`)
      await net.shrink(1500)
      await router.sh('nft delete table inet silent')
    })

    await t.test(`IPv${family}, ICMP delivered`, async (t) => {
      const prober = await start(t)
      const arrived = await sending()
      await net.shrink(narrow)
      const since = performance.now()
      await until('ICMP', () => known() === narrow, patience)
      t.comment(`the kernel knew it ${Math.round(performance.now() - since)} ms later`)
      await until('the narrow path', () => prober.mtus.get(far) === inside, patience)
      t.comment(`found ${Math.round(performance.now() - since)} ms later`)
      t.equal(await arrived(), megabytes * 1e6, 'the transfer is complete')
      await net.shrink(1500)
      await near.space.sh('ip route flush cache')
      await near.space.sh('ip -6 route flush cache')
      await until('the wide path', () => prober.mtus.get(far) === mtu, patience)
      t.equal(known(), 1500)
      await unlimited()
    })
  }
})

test('cleaning up', async () => {
  await world?.close()
  rmSync(folder, { recursive: true, force: true })
})
