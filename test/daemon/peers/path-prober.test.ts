/**
 * The driver of the path MTU searches on a fake clock and simulated paths: what 500 peers cost, how long a hole
 * lasts under traffic, and what a hint of the kernel does.
 */
import { type Test, test } from 'tap'
import type { Way } from '../../../daemon/peers/backend-chooser.ts'
import { PathProber, type SizedWay } from '../../../daemon/peers/path-prober.ts'
import { type Ipv4, ipv4At } from '../../../model/ip.ts'
import type { HostId } from '../../../model/records.ts'
import { type Millis, millis, seconds } from '../../../model/time.ts'
import type { PeerState } from '../../../status/vitals.ts'
import { FakeClock, MemoryLog, MemoryMeter } from '../../support/ports.ts'
import { hostId, ip } from '../../support/records.ts'

interface FakePeer {
  readonly id: HostId
  readonly managed: Ipv4
  /** What its path carries inside of the tunnel. */
  carries: number
  /** The same by IPsec, where it has that. */
  byIpsec?: number
  sent: number
  /** Bytes per second. */
  rate: number
  /** Path MTU in the kernel's cache. */
  hint: number
  probes: number
}

class World {
  readonly clock = new FakeClock()
  readonly log = new MemoryLog()
  readonly meter = new MemoryMeter()
  readonly peers: FakePeer[]
  readonly told: ReadonlyMap<HostId, number>[] = []
  readonly prober: PathProber
  largestRound = 0
  #answers: boolean
  #report: readonly PeerState[] = []
  #reportedAt = 0
  readonly #running: Promise<void>

  constructor(t: Test, count: number, answers = true) {
    this.#answers = answers
    this.peers = Array.from({ length: count }, (_, at) => ({
      id: hostId(`p${at}`),
      managed: ipv4At(ip('10.42.1.0'), at),
      carries: 1440,
      sent: 0,
      rate: 0,
      hint: 1500,
      probes: 0,
    }))
    const byAddress = new Map(this.peers.map((peer) => [peer.managed, peer]))
    this.prober = new PathProber(
      {
        echo: { probe: (probes, { timeout }) => this.#echo(byAddress, probes, timeout) },
        hints: {
          pathMtu: ({ bytes }) => this.peers[((bytes[2] ?? 0) << 8) | (bytes[3] ?? 0)]?.hint,
        },
        clock: this.clock,
        log: this.log,
        meter: this.meter,
        ways: () => this.#ways(),
        peers: () => this.#report,
        onChange: (mtus) => this.told.push(mtus),
      },
      { mtu: 1420 },
    )
    this.#running = this.prober.run()
    t.teardown(() => this.close())
  }

  reach(answers: boolean): void {
    this.#answers = answers
  }

  #ways(): readonly Way[] {
    return this.peers.flatMap(({ id, managed, byIpsec }, at) => {
      const common = { host: id, name: `p${at}`, address: managed, answers: this.#answers, silent: false }
      const wireguard = { ...common, backend: 'wireguard', interface: 'drover0' } as const
      return byIpsec === undefined
        ? [wireguard]
        : [wireguard, { ...common, backend: 'ipsec', interface: 'drx1' } as const]
    })
  }

  mtuOf(at: number): number | undefined {
    return this.prober.mtus.get(hostId(`p${at}`))
  }

  async pass(time: Millis, tick = 20): Promise<void> {
    for (let passed = 0; passed < time; passed += tick) {
      for (const peer of this.peers) peer.sent += (peer.rate * tick) / 1000
      if (this.clock.boot() - this.#reportedAt >= 1000) this.#engineReports()
      this.clock.advance(millis(tick))
      for (let turn = 0; turn < 12; turn++) await Promise.resolve()
    }
  }

  async close(): Promise<void> {
    this.prober.close()
    await this.#running
  }

  #engineReports(): void {
    this.#reportedAt = this.clock.boot()
    this.#report = this.peers.map(({ id, sent }, at) => ({
      host: id,
      backend: 'wireguard',
      engine: 'userspace',
      endpoint: `192.0.${at >> 8}.${at & 255}:51820`,
      lastHandshake: 0,
      received: 0,
      sent,
    }))
  }

  #echo(byAddress: ReadonlyMap<Ipv4, FakePeer>, probes: readonly SizedWay[], timeout: Millis) {
    this.largestRound = Math.max(this.largestRound, probes.length)
    const answered = new Map<SizedWay, Millis>()
    for (const probe of probes) {
      const peer = byAddress.get(probe.address)
      if (peer === undefined) continue
      peer.probes++
      const carries = probe.backend === 'ipsec' ? (peer.byIpsec ?? 0) : peer.carries
      if (probe.size <= carries) answered.set(probe, millis(5))
    }
    const wait = answered.size === probes.length ? millis(5) : timeout
    return new Promise<ReadonlyMap<SizedWay, Millis>>((resolve) => {
      this.clock.after(wait, () => resolve(answered))
    })
  }
}

test('500 peers cost next to nothing', async (t) => {
  const world = new World(t, 500)
  await world.pass(seconds(10), 100)
  t.equal(world.prober.mtus.size, 500)
  t.ok(world.peers.every(({ probes }) => probes === 1))
  t.ok(world.largestRound <= 140, `${world.largestRound} at once`)
  for (const [at, peer] of world.peers.entries()) if (at % 2 === 0) peer.rate = 100_000
  await world.pass(seconds(60), 100)
  const before = world.peers.map(({ probes }) => probes)
  await world.pass(seconds(120), 100)
  const perMinute = world.peers.map(({ probes }, at) => (probes - (before[at] ?? 0)) / 2)
  t.ok(Math.max(...perMinute) <= 5, `a busy peer costs ${Math.max(...perMinute)} probes a minute`)
  t.equal(Math.min(...perMinute), 0, 'an idle one none')
  t.ok(
    [...world.prober.mtus.values()].every((mtu) => mtu === 1420),
    'and all paths are wide',
  )
})

test('a silent hole under traffic is found within seconds, and what follows is told', async (t) => {
  const world = new World(t, 3)
  const [peer] = world.peers
  if (peer === undefined) return
  await world.pass(seconds(5))
  t.same(
    [0, 1, 2].map((at) => world.mtuOf(at)),
    [1420, 1420, 1420],
  )
  peer.rate = 1e6
  await world.pass(seconds(20))
  // what is left of a TCP stream: a packet now and then
  Object.assign(peer, { carries: 1240, rate: 1000 })
  const since = world.clock.boot()
  while (world.mtuOf(0) === 1420 && world.clock.boot() - since < seconds(60)) await world.pass(millis(100))
  t.ok(world.clock.boot() - since <= seconds(4), `${world.clock.boot() - since} ms`)
  t.equal(world.mtuOf(0), 1232)
  t.equal(world.told.at(-1)?.get(peer.id), 1232, 'routes are told')
  t.equal(world.meter.values.get('drover_peer_path_mtu_bytes{"peer":"p0"}'), 1232)
  t.match(world.log.lines.at(-1), { level: 'warn', fields: { peer: 'p0', mtu: 1232 } })
  t.same(
    [1, 2].map((at) => world.mtuOf(at)),
    [1420, 1420],
  )
  peer.carries = 1440
  await world.pass(seconds(70))
  t.equal(world.mtuOf(0), 1420, 'and it grows again')
})

test('what the kernel learned by ICMP holds at its next look', async (t) => {
  const world = new World(t, 2)
  const [peer] = world.peers
  if (peer === undefined) return
  await world.pass(seconds(5))
  peer.hint = 1300
  await world.pass(seconds(3))
  t.equal(world.mtuOf(0), 1232)
  t.equal(world.mtuOf(1), 1420)
  peer.hint = 1500
  await world.pass(seconds(5))
  t.equal(world.mtuOf(0), 1420)
})

test('a silent peer is not asked, and one that returns is asked at once', async (t) => {
  const world = new World(t, 1, false)
  const [peer] = world.peers
  if (peer === undefined) return
  await world.pass(seconds(30))
  t.equal(peer.probes, 0)
  t.equal(world.mtuOf(0), undefined)
  peer.carries = 700
  world.reach(true)
  await world.pass(seconds(8))
  t.equal(world.mtuOf(0), 688)
})

test('what both backends carry counts, whichever is used', async (t) => {
  const world = new World(t, 1, false)
  const [peer] = world.peers
  if (peer === undefined) return
  peer.byIpsec = 1418
  world.reach(true)
  await world.pass(seconds(5))
  t.equal(world.mtuOf(0), 1408, 'IPsec over IPv6 carries less')
  t.equal(world.told.at(-1)?.get(peer.id), 1408)
  t.equal(world.meter.values.get('drover_peer_path_mtu_bytes{"peer":"p0"}'), 1408)
})
