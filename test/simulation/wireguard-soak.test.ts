/**
 * A day in the life of three peers, in seconds: traffic all day, and every quarter of an hour something goes wrong
 * (loss, partitions, roaming, restarts, suspended machines, clocks that are set). A minute after each fault all
 * packets arrive; what devices keep stays bounded and comes down to the peers themselves after a silent night.
 */
import { type Test, test } from 'tap'
import { seconds } from '../../model/time.ts'
import { perfectLink, SimulatedNetwork } from '../support/simulated-network.ts'
import { boxOf, v4 } from '../support/wireguard.ts'
import { endpoint, WireguardHost } from '../support/wireguard-host.ts'
import { seedsOf } from '../support/wireguard-world.ts'

const identities = [1, 2, 3].map((number) => boxOf(7000 + number))
const usual: Readonly<Record<number, string>> = {
  1: '192.0.2.1:51820',
  2: '[2001:db8::2]:51821',
  3: '192.0.2.3:51822',
}

/** One peer of the three, whatever device it has just now. */
class Peer {
  readonly network: SimulatedNetwork
  readonly number: number
  address: string
  host: WireguardHost
  #starts = 0

  constructor(network: SimulatedNetwork, number: number) {
    this.network = network
    this.number = number
    this.address = usual[number] ?? ''
    this.host = this.#made()
  }

  /** Loses all sessions; knows keys and where the others were said to be. */
  restart(peers: readonly Peer[]): void {
    const { bootJump, wallJump } = this.host
    this.host = this.#made()
    this.host.bootJump = bootJump
    this.host.wallJump = wallJump
    this.meet(peers)
  }

  meet(peers: readonly Peer[]): void {
    for (const { number, address } of peers) {
      const publicKey = identities[number - 1]?.publicKey
      if (number === this.number || publicKey === undefined) continue
      const persistentKeepalive = this.number === 1 ? 25 : 0
      const known = { publicKey, endpoint: endpoint(address), allowedIps: [v4(number)] }
      this.host.configure({ peers: [{ ...known, persistentKeepalive }] })
    }
  }

  move(address: string): void {
    this.host.move(address)
    this.address = address
  }

  #made(): WireguardHost {
    const seed = this.number * 1000 + this.#starts++
    const host = new WireguardHost(this.network, this.address, seed)
    const privateKey = identities[this.number - 1]?.privateKey
    host.configure(privateKey === undefined ? {} : { privateKey })
    return host
  }
}

class Day {
  readonly network: SimulatedNetwork
  readonly peers: readonly Peer[]
  largest = 0
  #tag = 0

  constructor(seed: number) {
    this.network = new SimulatedNetwork(seed)
    this.peers = [1, 2, 3].map((number) => new Peer(this.network, number))
    for (const peer of this.peers) peer.meet(this.peers)
  }

  peer(): Peer {
    const peer = this.peers[this.network.random.below(this.peers.length)]
    if (peer === undefined) throw new RangeError('no peers')
    return peer
  }

  /** Everybody to everybody, every `every` ms; answers what did not arrive. */
  talk(duration: number, every: number): readonly string[] {
    const sent: { readonly what: string; readonly tag: number; readonly to: Peer }[] = []
    for (const { host } of this.peers) host.received.length = 0
    for (let at = 0; at < duration; at += every) {
      for (const from of this.peers) {
        for (const to of this.peers) {
          if (from === to) continue
          const tag = ++this.#tag
          sent.push({ what: `${from.number}→${to.number} at ${this.network.now}`, tag, to })
          from.host.say(from.number, to.number, tag)
        }
      }
      this.network.run(every)
      for (const { host } of this.peers) this.largest = Math.max(this.largest, host.device.size)
    }
    this.network.run(1000)
    const arrived = new Map(this.peers.map((peer) => [peer, new Set(peer.host.received)]))
    return sent.filter(({ to, tag }) => arrived.get(to)?.has(tag) !== true).map(({ what }) => what)
  }
}

/** Something that goes wrong for a while, and its end. */
type Fault = (day: Day, round: number) => () => void

const faults: Readonly<Record<string, Fault>> = {
  'heavy loss': ({ network }) => {
    network.link = { latency: 50, jitter: 300, loss: 0.4, duplication: 0.2 }
    return () => {
      network.link = perfectLink
    }
  },
  'a partition': (day) => {
    const alone = day.peer()
    day.network.filter = (from, to) => from !== alone.address && to !== alone.address
    return () => {
      day.network.filter = () => true
    }
  },
  'one way only': (day) => {
    const mute = day.peer()
    day.network.filter = (from) => from !== mute.address
    return () => {
      day.network.filter = () => true
    }
  },
  roaming: (day, round) => {
    day.peer().move(round % 2 === 0 ? `198.51.100.7:${4000 + round}` : `[2001:db8:7::1]:${4000 + round}`)
    return () => undefined
  },
  'a restart': (day) => {
    day.peer().restart(day.peers)
    return () => undefined
  },
  'restarts again and again': (day) => {
    const poor = day.peer()
    for (let at = 1; at <= 10; at++)
      day.network.at(day.network.now + at * 2000, () => poor.restart(day.peers))
    return () => undefined
  },
  'a clock that is set back, and a restart': (day) => {
    const peer = day.peer()
    peer.host.wallJump -= seconds(3600)
    peer.restart(day.peers)
    return () => undefined
  },
  'a suspended machine': (day) => {
    day.peer().host.bootJump += seconds(900)
    return () => undefined
  },
  'clocks that go back': (day) => {
    day.peer().host.bootJump -= seconds(300)
    day.peer().host.wallJump += seconds(7200)
    return () => undefined
  },
}

function live(t: Test, seed: number): void {
  const day = new Day(seed)
  const names = Object.keys(faults)
  let heldAtNoon = 0
  for (let round = 0; day.network.now < seconds(86_400); round++) {
    const name = names[(round * 7 + day.network.random.below(2)) % names.length] ?? ''
    const heal = faults[name]?.(day, round)
    day.talk(seconds(20 + day.network.random.below(100)), 5000)
    heal?.()
    day.talk(seconds(60), 3000)
    const lost = day.talk(seconds(10), 1000)
    if (lost.length > 0)
      return void t.fail(`DROVER_SEED=${seed}, round ${round}, ${name}: ${lost.slice(0, 5)}`)
    const calm = day.talk(seconds(700), 35_000)
    if (calm.length > 0)
      return void t.fail(`DROVER_SEED=${seed}, calm ${round}, ${name}: ${calm.slice(0, 5)}`)
    if (round === 48) heldAtNoon = day.largest
  }
  t.ok(day.largest <= heldAtNoon + 4, `${heldAtNoon} things were kept at noon, ${day.largest} at most`)
  t.ok(day.largest < 30)
  for (const { host } of day.peers)
    for (const { publicKey } of host.device.status().peers)
      host.configure({ peers: [{ publicKey, persistentKeepalive: 0 }] })
  day.network.run(seconds(700))
  for (const { host, number } of day.peers)
    t.equal(host.device.size, 2, `${number} keeps its peers and nothing else`)
}

test('a day', async (t) => {
  for (const seed of seedsOf([1])) live(t, seed)
})
