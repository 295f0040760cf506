/**
 * Devices on a simulated network in trouble: restarts, roaming, simultaneous handshakes, replays, strangers, lies,
 * load and floods.
 */
import { seconds } from '../../model/time.ts'
import { perfectLink, SimulatedNetwork } from '../support/simulated-network.ts'
import { innerV4, v4 } from '../support/wireguard.ts'
import { endpoint, WireguardHost } from '../support/wireguard-host.ts'
import { converse, count, HERE, simulate, THERE } from '../support/wireguard-world.ts'

simulate('a peer that restarts is reached again', (t, { network, a, b }) => {
  a.say(1, 2, 1)
  network.run(100)
  const reborn = new WireguardHost(network, THERE, 103)
  reborn.configure({ privateKey: b.box.privateKey })
  reborn.befriend(a, 1)
  reborn.configure({ peers: [] })
  a.say(1, 2, 2)
  network.run(seconds(16))
  t.strictSame(reborn.received, [], 'the packet of the lost session is lost')
  t.equal(a.say(1, 2, 3), 'sealed')
  network.run(100)
  t.strictSame(reborn.received, [3])
  reborn.say(2, 1, 4)
  network.run(100)
  t.strictSame(a.received, [4])
})

simulate('a peer that restarts and speaks first is answered on the new session', (t, { network, a, b }) => {
  a.say(1, 2, 1)
  network.run(100)
  const reborn = new WireguardHost(network, THERE, 103)
  reborn.configure({ privateKey: b.box.privateKey })
  reborn.befriend(a, 1)
  reborn.say(2, 1, 2)
  network.run(100)
  a.say(1, 2, 3)
  network.run(100)
  t.strictSame([a.received, reborn.received], [[2], [3]])
})

simulate('a peer roams: authentic packets move it, forged ones do not', (t, { network, a, b }) => {
  a.keepSent = true
  a.say(1, 2, 1)
  network.run(100)
  a.move('198.51.100.9:4444')
  a.say(1, 2, 2)
  network.run(100)
  b.say(2, 1, 3)
  network.run(100)
  t.strictSame(a.received, [3])
  const forged = Uint8Array.from(a.sent.at(-1) ?? [], (byte, at) => (at === 20 ? byte ^ 1 : byte))
  b.deliver(forged, '203.0.113.1:1')
  b.deliver(a.sent.at(-1) ?? new Uint8Array(0), '203.0.113.1:1')
  t.strictSame(b.device.status().peers[0]?.endpoint, endpoint('198.51.100.9:4444'))
  t.strictSame([b.device.drops.unauthenticated, b.device.drops.replayed], [1, 1])
})

simulate(
  'both begin at once',
  (t, world, seed) => {
    const { network, a, b } = world
    a.say(1, 2, 1)
    b.say(2, 1, 1)
    network.run(seconds(1))
    t.strictSame([a.received, b.received], [[1], [1]], `seed ${seed}`)
    let said = 1
    for (let round = 0; round < 3; round++) {
      said += converse(world, 118_000, 1000) + converse(world, 4000, 2)
      network.run(1000)
      t.strictSame([a.received.length, b.received.length], [said, said], `seed ${seed}, round ${round}`)
    }
  },
  { link: { ...perfectLink, latency: 30, jitter: 10 }, seeds: [1, 2, 3] },
)

simulate('a replayed initiation is rejected, also later, and changes nothing', (t, { network, a, b }) => {
  a.keepSent = true
  a.say(1, 2, 1)
  network.run(100)
  const [initiation = new Uint8Array(0)] = a.sent
  const size = b.device.size
  b.keepSent = true
  b.deliver(initiation, '203.0.113.1:1')
  network.run(seconds(60))
  b.deliver(initiation, '203.0.113.1:1')
  t.equal(b.device.drops.replayedHandshake, 2)
  t.equal(count(b, 2), 0)
  t.equal(b.device.size, size)
  t.strictSame(b.device.status().peers[0]?.endpoint, endpoint(HERE))
})

simulate('a replayed response is rejected', (t, { network, a, b }) => {
  b.keepSent = true
  a.say(1, 2, 1)
  network.run(100)
  a.deliver(b.sent[0] ?? new Uint8Array(0), THERE)
  t.equal(a.device.drops.unknownIndex, 1)
})

simulate('a wrong preshared key lets nothing through; the right one does', (t, { network, a, b }) => {
  const presharedKey = new Uint8Array(32).fill(1)
  a.befriend(b, 2, { presharedKey })
  a.say(1, 2, 1)
  network.run(seconds(3))
  t.strictSame(b.received, [])
  t.equal(a.device.drops.handshake, 1)
  b.befriend(a, 1, { presharedKey })
  network.run(seconds(10))
  t.strictSame(b.received, [1])
})

simulate('strangers get no answer at all', (t, { network, a, b }) => {
  const stranger = new WireguardHost(network, '203.0.113.5:5', 55)
  stranger.befriend(b, 2)
  b.keepSent = true
  stranger.say(5, 2, 1)
  network.run(100)
  t.equal(b.device.drops.handshake, 1)
  for (let size = 0; size < 200; size++) b.deliver(network.random.bytes(size), '203.0.113.5:5')
  t.equal(b.sent.length, 0)
  t.equal(a.device.drops.handshake, 0)
})

simulate('cryptokey routing: a peer speaks only for its own addresses', (t, { network, a, b }) => {
  a.say(9, 2, 1)
  network.run(100)
  t.strictSame(b.received, [])
  t.equal(b.device.drops.innerSource, 1)
  const c = new WireguardHost(network, '198.51.100.3:3', 33)
  c.befriend(b, 2)
  b.befriend(c, 3)
  c.say(1, 2, 1)
  c.say(3, 2, 2)
  network.run(100)
  t.strictSame(b.received, [2], "another peer's address is not its own")
  t.equal(b.device.drops.innerSource, 2)
  const lying = innerV4(1, 2, 64)
  new DataView(lying.memory.buffer).setUint16(lying.offset + 2, 200)
  a.sayPacket(lying)
  const short = innerV4(1, 2, 30)
  a.sayPacket(short)
  network.run(100)
  t.equal(b.device.drops.innerMalformed, 1)
  t.equal(b.device.packet.length, 30, 'padding is not part of the packet')
})

simulate(
  'a mark goes only to a peer that knows it; other reserved bytes are dropped',
  (t, { network, a, b }) => {
    const inner = innerV4(1, 2)
    a.say(1, 2, 1)
    network.run(100)
    const now = seconds(1)
    t.notOk(a.device.takesMarks(inner.memory, inner.offset, inner.length))
    t.equal(a.device.send(inner.memory, inner.offset, inner.length, now, 1), 'no-marks')
    a.befriend(b, 2, { marks: true })
    t.ok(a.device.takesMarks(inner.memory, inner.offset, inner.length))
    t.equal(a.device.send(inner.memory, inner.offset, inner.length, now, 1), 'sealed')
    const { offset, length } = a.device.sealed
    const marked = inner.memory.slice(offset, offset + length)
    t.strictSame([...marked.subarray(0, 4)], [4, 1, 0, 0])
    const changed = (at: number, value: number): Uint8Array =>
      Uint8Array.from(marked, (byte, index) => (index === at ? value : byte))
    b.deliver(changed(1, 2), HERE)
    t.equal(b.device.drops.reserved, 1, 'a mark of a later version')
    b.deliver(changed(2, 1), HERE)
    t.equal(b.device.drops.reserved, 2)
    b.deliver(marked, HERE)
    t.equal(b.received.length, 2)
    t.equal(b.device.packet.mark, 1)
  },
)

simulate(
  'under load a cookie is asked for, and whoever brings it is served',
  (t, { network, a, b }) => {
    b.keepSent = true
    const flooders = Array.from({ length: 12 }, (_, at) => {
      const host = new WireguardHost(network, `203.0.113.${at}:9`, 500 + at)
      host.befriend(b, 2)
      return host
    })
    for (const host of flooders) host.say(9, 2, 1)
    network.run(2)
    t.equal(count(b, 3), 2, 'ten are tried, two get cookies')
    a.say(1, 2, 1)
    network.run(2)
    t.equal(count(b, 3), 3)
    t.equal(count(b, 2), 0)
    t.strictSame(b.received, [])
    network.filter = (from) => from === HERE || from === THERE
    const load = (at: number): void => {
      for (let each = 0; each < 20; each++) b.deliver(floodOf(b, flooders, each), `203.0.114.${each}:${at}`)
    }
    for (let at = 0; at < 6000; at += 500) network.at(network.now + at, () => load(at + 1))
    network.run(seconds(7))
    t.strictSame(b.received, [1], 'mac2 opened the door while the load went on')
    t.ok(count(b, 3) > 100)
  },
  { options: { loadLimit: 10 } },
)

/** A fresh initiation with a good mac1, of somebody who is not a peer. */
function floodOf(to: WireguardHost, strangers: readonly WireguardHost[], number: number): Uint8Array {
  const stranger = strangers[number % strangers.length]
  if (stranger === undefined) throw new RangeError('no strangers')
  const other = new WireguardHost(new SimulatedNetwork(1), '192.0.2.200:1', 9000 + number)
  other.keepSent = true
  other.befriend(to, 2)
  other.say(1, 2, 1)
  return other.sent[0] ?? new Uint8Array(0)
}

simulate('a flood of 10^5 garbage handshakes keeps memory constant', (t, { network, a, b }) => {
  const { random } = network
  a.keepSent = true
  a.say(1, 2, 1)
  network.run(100)
  const valid = a.sent[0] ?? new Uint8Array(0)
  const size = b.device.size
  let largest = 0
  const message = new Uint8Array(148)
  for (let round = 0; round < 100_000; round++) {
    if (round % 2 === 0) message.set(valid)
    message[random.below(148)] = random.below(256)
    message[0] = 1 + (round % 4)
    const from = endpoint(`203.${random.below(256)}.${random.below(256)}.1:1`)
    b.device.receive(message, 0, [148, 92, 64, 148][round % 4] ?? 148, from, seconds(1))
    largest = Math.max(largest, b.device.size)
  }
  t.ok(largest <= size + 1024, `${largest}`)
  t.equal(b.say(2, 1, 5), 'sealed')
  network.run(100)
  t.strictSame(a.received, [5])
})

simulate('changing our own key ends sessions for sending; the peer must know the new one', (t, world) => {
  const { network, a, b } = world
  converse(world, 2000, 500)
  const fresh = new WireguardHost(network, '192.0.2.99:9', 999)
  b.configure({ peers: [{ publicKey: fresh.box.publicKey, allowedIps: [v4(1)] }] })
  a.configure({ privateKey: fresh.box.privateKey })
  const before = b.received.length
  network.run(seconds(6))
  t.equal(a.say(1, 2, 50), 'queued')
  network.run(seconds(6))
  t.strictSame(b.received.slice(before), [50])
})

simulate('a removed peer is gone at once, and with it what waited', (t, { network, a, b }) => {
  a.say(1, 2, 1)
  network.run(100)
  b.configure({ peers: [{ publicKey: a.box.publicKey, remove: true }] })
  a.say(1, 2, 2)
  network.run(100)
  t.strictSame(b.received, [1])
  t.equal(b.device.size, 0)
  b.configure({ peers: [{ publicKey: a.box.publicKey, updateOnly: true, persistentKeepalive: 5 }] })
  b.configure({ peers: [{ publicKey: b.box.publicKey, allowedIps: [v4(1)] }] })
  t.equal(b.device.status().peers.length, 0, 'neither an unknown peer nor ourselves')
  b.device.close()
  t.equal(b.device.status().privateKey, undefined)
})
