/**
 * What a peer may do or have done to it, over links that lose, reorder and duplicate: whatever happened, packets
 * come through again within a minute of the network's time, and none comes twice.
 */
import { type Test, test } from 'tap'
import { seconds } from '../../model/time.ts'
import { type Link, perfectLink } from '../support/simulated-network.ts'
import { v4, v6 } from '../support/wireguard.ts'
import { endpoint, WireguardHost } from '../support/wireguard-host.ts'
import { converse, seedsOf, THERE, type World, worldOf } from '../support/wireguard-world.ts'

const links: Readonly<Record<string, Link>> = {
  perfect: perfectLink,
  losing: { latency: 20, jitter: 0, loss: 0.3, duplication: 0 },
  reordering: { latency: 5, jitter: 900, loss: 0, duplication: 0 },
  duplicating: { latency: 5, jitter: 60, loss: 0, duplication: 1 },
  awful: { latency: 50, jitter: 500, loss: 0.3, duplication: 0.3 },
}

let tag = 1000

/** Says something each second until it has arrived both ways; false after a minute. */
function talks({ network, a, b }: World): boolean {
  const [before, after] = [a.received.length, b.received.length]
  for (let second = 0; second < 60; second++) {
    a.say(1, 2, ++tag)
    b.say(2, 1, ++tag)
    network.run(1000)
    if (a.received.length > before && b.received.length > after) return true
  }
  return false
}

/** Whether something that `from` says every second stays away for half a minute. */
function silent(
  { network }: World,
  from: WireguardHost,
  to: WireguardHost,
  ends: readonly [number, number],
): boolean {
  const before = to.received.length
  for (let second = 0; second < 30; second++) {
    from.say(ends[0], ends[1], ++tag)
    network.run(1000)
  }
  return to.received.length === before
}

type Scenario = (t: Test, world: World) => void

const scenarios: Readonly<Record<string, Scenario>> = {
  'a preshared key on one side, then on both, then another': (t, world) => {
    const { a, b } = world
    for (const byte of [1, 2]) {
      const presharedKey = new Uint8Array(32).fill(byte)
      for (const host of [a, b]) {
        const [peer, last] = host === a ? ([b, 2] as const) : ([a, 1] as const)
        host.configure({ peers: [{ publicKey: peer.box.publicKey, remove: true }] })
        host.befriend(peer, last, { presharedKey })
        world.network.run(2000)
        if (host === a) t.ok(silent(world, a, b, [1, 2]), 'only one side has it')
      }
      t.ok(talks(world))
    }
  },
  'a peer roams, also to the other family, and back': (t, world) => {
    const { a, b } = world
    t.ok(talks(world))
    for (const address of ['198.51.100.9:4444', '[2001:db8::9]:4444', '192.0.2.1:51820']) {
      a.move(address)
      t.ok(talks(world), address)
      t.strictSame(b.device.status().peers[0]?.endpoint, endpoint(address))
    }
  },
  'allowed IPs change under way': (t, world) => {
    const { a, b } = world
    t.ok(talks(world))
    const publicKey = a.box.publicKey
    b.configure({ peers: [{ publicKey, allowedIps: [{ ...v4(1), remove: true }] }] })
    world.network.run(2000)
    t.ok(silent(world, a, b, [1, 2]), 'taken away')
    b.configure({ peers: [{ publicKey, replaceAllowedIps: true, allowedIps: [v4(0, 24), v6(1)] }] })
    t.ok(talks(world), 'as a part of a larger prefix')
    b.configure({ peers: [{ publicKey: new Uint8Array(32).fill(9), allowedIps: [v4(1)] }] })
    world.network.run(2000)
    t.ok(silent(world, a, b, [1, 2]), 'somebody else has the longer prefix')
  },
  'a new private key': (t, world) => {
    const { network, a, b } = world
    t.ok(talks(world))
    const fresh = new WireguardHost(network, '192.0.2.250:1', 250)
    network.clear('192.0.2.250:1')
    a.configure({ privateKey: fresh.box.privateKey })
    network.run(2000)
    t.ok(silent(world, a, b, [1, 2]), 'the peer does not know it')
    b.configure({ peers: [{ publicKey: a.box.publicKey, remove: true }] })
    b.befriend(fresh, 1, { endpoint: endpoint(a.address) })
    t.ok(talks(world))
  },
  'a peer is removed and comes back': (t, world) => {
    const { a, b } = world
    t.ok(talks(world))
    b.configure({ peers: [{ publicKey: a.box.publicKey, remove: true }] })
    t.ok(silent(world, a, b, [1, 2]))
    b.befriend(a, 1)
    t.ok(talks(world))
  },
  'a peer forgets all at once, and its clock is a day behind': (t, world) => {
    const { network, a, b } = world
    t.ok(talks(world))
    const reborn = new WireguardHost(network, THERE, 77)
    reborn.wallJump = -seconds(86_400)
    reborn.configure({ privateKey: b.box.privateKey })
    reborn.befriend(a, 1)
    t.ok(talks({ network, a, b: reborn }))
  },
  'clocks jump in both directions': (t, world) => {
    const { a, b } = world
    for (const jump of [seconds(7200), -seconds(7200), seconds(150), -seconds(10)]) {
      a.wallJump += jump
      b.bootJump += jump
      t.ok(talks(world), `${jump}`)
    }
  },
  'the way is cut for ten minutes': (t, world) => {
    const { network } = world
    t.ok(talks(world))
    network.filter = () => false
    converse(world, seconds(600), 5000)
    network.filter = () => true
    t.ok(talks(world))
  },
  'only one direction works for five minutes': (t, world) => {
    const { network, a } = world
    t.ok(talks(world))
    network.filter = (from) => from !== a.address
    converse(world, seconds(300), 5000)
    network.filter = () => true
    t.ok(talks(world))
  },
  'a persistent keepalive opens the way for who does not know where the other is': (t, world) => {
    const { network, a, b } = world
    const publicKey = a.box.publicKey
    b.configure({
      peers: [
        { publicKey, remove: true },
        { publicKey, allowedIps: [v4(1)] },
      ],
    })
    t.equal(b.say(2, 1, ++tag), 'no-endpoint')
    a.befriend(b, 2, { persistentKeepalive: 5 })
    network.run(seconds(60))
    t.strictSame(b.device.status().peers[0]?.endpoint, endpoint(a.address))
    t.ok(talks(world))
  },
  'two hours of rekeying': (t, world) => {
    converse(world, seconds(7200), 5000)
    t.ok(talks(world))
  },
}

for (const [name, run] of Object.entries(scenarios)) {
  test(name, async (t) => {
    for (const [kind, link] of Object.entries(links)) {
      for (const seed of seedsOf([1])) {
        const world = worldOf(seed, link)
        t.test(`${kind}, DROVER_SEED=${seed}`, async (t) => {
          run(t, world)
          for (const host of [world.a, world.b]) {
            t.equal(new Set(host.received).size, host.received.length, 'none twice')
            t.ok(host.device.size < 20, `${host.device.size} things are kept`)
          }
          if (!t.passing()) t.comment(world.network.trace.join('\n'))
        })
      }
    }
  })
}
