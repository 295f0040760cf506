/**
 * Two and more devices on a simulated network: every rule of the paper that shows between machines. A failure
 * prints its seed and the last datagrams; DROVER_SEED repeats one.
 */
import { type Test, test } from 'tap'
import { seconds } from '../../model/time.ts'
import type { DeviceOptions } from '../../tunnel/wireguard/device.ts'
import { readU32 } from '../../tunnel/wireguard/messages.ts'
import { type Link, perfectLink, SimulatedNetwork } from '../support/simulated-network.ts'
import { innerV4, innerV6, v4, v6 } from '../support/wireguard.ts'
import { endpoint, WireguardHost } from '../support/wireguard-host.ts'

const HERE = '192.0.2.1:51820'
const THERE = '[2001:db8::2]:51821'

interface World {
  readonly network: SimulatedNetwork
  readonly a: WireguardHost
  readonly b: WireguardHost
}

const worldOf = (seed: number, link: Link = perfectLink, options: Partial<DeviceOptions> = {}): World => {
  const network = new SimulatedNetwork(seed, link)
  const a = new WireguardHost(network, HERE, seed * 2 + 100, options)
  const b = new WireguardHost(network, THERE, seed * 2 + 101, options)
  a.befriend(b, 2)
  b.befriend(a, 1)
  return { network, a, b }
}

const seedsOf = (usual: readonly number[]): readonly number[] =>
  process.env.DROVER_SEED === undefined ? usual : [Number(process.env.DROVER_SEED)]

function simulate(
  name: string,
  run: (t: Test, world: World, seed: number) => void,
  { link = perfectLink, seeds = [1], options = {} }: SimulationOptions = {},
): void {
  test(name, async (t) => {
    for (const seed of seedsOf(seeds)) {
      const world = worldOf(seed, link, options)
      run(t, world, seed)
      if (!t.passing()) t.comment(`DROVER_SEED=${seed}\n${world.network.trace.join('\n')}`)
    }
  })
}

interface SimulationOptions {
  readonly link?: Link
  readonly seeds?: readonly number[]
  readonly options?: Partial<DeviceOptions>
}

const typesOf = (host: WireguardHost): number[] => host.sent.map((bytes) => bytes[0] ?? 0)
const count = (host: WireguardHost, type: number): number =>
  typesOf(host).filter((each) => each === type).length

const lastData = (host: WireguardHost): Uint8Array =>
  host.sent.findLast((bytes) => bytes[0] === 4) ?? new Uint8Array(0)

/** A packet each way every `every` ms. */
function converse({ network, a, b }: World, duration: number, every: number): number {
  let tag = 0
  for (let at = 0; at < duration; at += every) {
    tag++
    a.say(1, 2, tag)
    b.say(2, 1, tag)
    network.run(every)
  }
  return tag
}

simulate('the first packet brings the handshake about and arrives itself', (t, { network, a, b }) => {
  a.keepSent = true
  b.keepSent = true
  t.equal(a.say(1, 2, 7), 'queued')
  t.equal(a.say(1, 2, 8), 'queued')
  network.run(10)
  t.strictSame(b.received, [7, 8])
  t.strictSame(typesOf(a), [1, 4, 4], 'waiting packets confirm the session; no keepalive is needed')
  t.strictSame(typesOf(b), [2])
  t.equal(b.say(2, 1, 9), 'sealed')
  network.run(10)
  t.strictSame(a.received, [9])
  const [peer] = a.device.status().peers
  t.equal(peer?.lastHandshake, 1_700_000_000_002)
  t.equal(
    peer?.sentBytes,
    a.sent.reduce((sum, each) => sum + each.length, 0),
  )
  t.equal(
    peer?.receivedBytes,
    b.sent.reduce((sum, each) => sum + each.length, 0),
  )
})

simulate('inner IPv6 goes over outer IPv4 and the other way round', (t, { network, a, b }) => {
  a.befriend(b, 2, { allowedIps: [v6(2)] })
  b.befriend(a, 1, { allowedIps: [v6(1)] })
  a.sayPacket(innerV6(1, 2))
  network.run(10)
  b.sayPacket(innerV6(2, 1))
  network.run(10)
  t.equal(b.received.length, 1)
  t.equal(a.received.length, 1)
})

simulate('what has nowhere to go says so', (t, { network, a, b }) => {
  t.equal(a.say(1, 99, 1), 'no-route')
  t.equal(a.sayPacket({ memory: new Uint8Array(100), offset: 16, length: 50 }), 'malformed')
  t.equal(a.sayPacket({ ...innerV4(1, 2), offset: 15 }), 'malformed')
  t.equal(a.sayPacket({ ...innerV4(1, 2), length: 66 }), 'malformed')
  const silent = new WireguardHost(network, '192.0.2.77:1', 77)
  silent.configure({ peers: [{ publicKey: b.box.publicKey, allowedIps: [v4(2)] }] })
  t.equal(silent.say(7, 2, 1), 'no-endpoint')
  t.equal(a.device.drops.noRoute, 1)
})

simulate('two hours of traffic: nothing is lost, keys change every two minutes', (t, world) => {
  const { a, b, network } = world
  a.keepSent = true
  b.keepSent = true
  const said = converse(world, 7_200_000, 500)
  network.run(1000)
  t.equal(b.received.length, said)
  t.equal(a.received.length, said)
  const initiations = count(a, 1) + count(b, 1)
  t.ok(initiations >= 59 && initiations <= 125, `${initiations} initiations`)
  const indices = new Set(
    [...a.sent, ...b.sent].filter((each) => each[0] === 4).map((each) => readU32(each, 4)),
  )
  t.ok(indices.size >= 60, `${indices.size} sessions`)
  t.ok(a.device.size < 20)
})

simulate(
  'loss, reordering and duplication: what arrives arrives once',
  (t, world, seed) => {
    const { a, b, network } = world
    const said = converse(world, 600_000, 200)
    network.run(1000)
    for (const host of [a, b]) {
      t.equal(new Set(host.received).size, host.received.length, `seed ${seed}: none twice`)
      t.ok(host.received.length > said * 0.8, `seed ${seed}: ${host.received.length} of ${said}`)
    }
  },
  { link: { latency: 20, jitter: 400, loss: 0.1, duplication: 0.1 }, seeds: [1, 2, 3, 4] },
)

simulate(
  'a link that loses half: handshakes come through in the end',
  (t, { a, b, network }, seed) => {
    a.say(1, 2, 1)
    network.run(seconds(80))
    t.ok(b.received.length <= 1)
    t.not(a.device.status().peers[0]?.lastHandshake, 0, `seed ${seed}`)
  },
  { link: { latency: 20, jitter: 10, loss: 0.5, duplication: 0 }, seeds: [1, 2, 3] },
)

simulate('rekey after 120 s is begun by the initiator alone, on sending', (t, { network, a, b }) => {
  a.keepSent = true
  b.keepSent = true
  a.say(1, 2, 1)
  network.run(seconds(119))
  a.say(1, 2, 2)
  network.run(10)
  t.equal(count(a, 1), 1)
  network.run(seconds(1.5))
  b.say(2, 1, 3)
  network.run(10)
  t.equal(count(b, 1), 0, 'the responder does not rekey by age')
  a.say(1, 2, 4)
  network.run(10)
  t.equal(count(a, 1), 2)
  t.strictSame(b.received, [1, 2, 4])
})

simulate('an initiator that only receives renews before the session ends', (t, { network, a, b }) => {
  a.keepSent = true
  a.say(1, 2, 1)
  network.run(100)
  network.runUntil(seconds(164))
  b.say(2, 1, 1)
  network.run(100)
  t.equal(count(a, 1), 1)
  network.runUntil(seconds(166))
  b.say(2, 1, 2)
  network.run(100)
  t.equal(count(a, 1), 2)
  b.say(2, 1, 3)
  network.run(100)
  t.equal(count(a, 1), 2, 'once')
  t.strictSame(a.received, [1, 2, 3])
})

simulate('a session past 180 s is neither sent on nor received on', (t, { network, a, b }) => {
  a.keepSent = true
  a.say(1, 2, 1)
  network.run(100)
  network.filter = (_from, _to, bytes) => bytes[0] === 4
  network.runUntil(seconds(170))
  a.say(1, 2, 2)
  const late = lastData(a)
  network.run(100)
  t.strictSame(b.received, [1, 2])
  t.equal(a.say(1, 2, 3), 'sealed')
  const held = lastData(a)
  network.clear(THERE)
  network.runUntil(seconds(181))
  network.place(THERE, b)
  t.equal(a.say(1, 2, 4), 'queued')
  b.deliver(held, HERE)
  b.deliver(late, HERE)
  t.equal(b.received.includes(4), false)
  t.ok(b.device.drops.expired >= 2)
})

simulate('keys are erased after 540 s of silence', (t, { network, a, b }) => {
  a.say(1, 2, 1)
  network.run(100)
  const held = a.device.size
  network.run(seconds(539))
  t.ok(a.device.size >= held - 1)
  network.run(seconds(5))
  t.equal(a.device.size, 1)
  t.equal(b.device.size, 1)
  t.equal(a.device.deadline(), undefined, 'and then there is nothing to wait for')
})

simulate('passive keepalive: data that gets no answer is acknowledged after 10 s, once', (t, world) => {
  const { network, a, b } = world
  b.keepSent = true
  a.say(1, 2, 1)
  network.run(100)
  t.equal(count(b, 4), 0)
  network.runUntil(seconds(9.9))
  t.equal(count(b, 4), 0)
  network.runUntil(seconds(10.2))
  t.strictSame(
    b.sent.filter((each) => each[0] === 4).map((each) => each.length),
    [32],
  )
  network.run(seconds(60))
  t.equal(count(b, 4), 1)
})

simulate('silence for 15 s after data begins a new handshake', (t, { network, a }) => {
  a.keepSent = true
  a.say(1, 2, 1)
  network.run(seconds(20))
  network.clear(THERE)
  a.say(1, 2, 2)
  const from = network.now
  network.runUntil(from + seconds(14.9))
  t.equal(count(a, 1), 1)
  network.runUntil(from + seconds(15.5))
  t.equal(count(a, 1), 2)
})

simulate(
  'attempts repeat every 5 s with jitter, end after 90 s, and begin anew with a packet',
  (t, world) => {
    const { network, a } = world
    network.clear(THERE)
    a.keepSent = true
    const times: number[] = []
    network.filter = (_from, _to, bytes) => {
      if (bytes[0] === 1) times.push(network.now)
      return true
    }
    a.say(1, 2, 1)
    network.run(seconds(300))
    const gaps = times.slice(1).map((at, index) => at - (times[index] ?? 0))
    t.ok(gaps.every((gap) => gap >= 5000 && gap <= 5333))
    t.ok(new Set(gaps).size > 3, 'the gaps differ')
    t.ok(times.length >= 17 && times.length <= 19, `${times.length} attempts`)
    t.equal(a.device.drops.queue, 1)
    a.say(1, 2, 2)
    t.equal(times.length, count(a, 1))
    network.run(seconds(6))
    t.ok(count(a, 1) >= 20 || times.length >= 19)
  },
)

simulate('packets that wait are bounded, the oldest goes first', (t, { network, a, b }) => {
  for (let tag = 1; tag <= 200; tag++) a.say(1, 2, tag)
  network.run(100)
  t.strictSame(
    b.received,
    Array.from({ length: 128 }, (_, at) => at + 73),
  )
  t.equal(a.device.drops.queue, 72)
})

simulate('persistent keepalive: at once, then at its interval, and off again', (t, { network, a, b }) => {
  a.keepSent = true
  a.befriend(b, 2, { persistentKeepalive: 25 })
  network.run(seconds(100))
  t.equal(count(a, 1), 1)
  t.strictSame(
    a.sent.filter((each) => each[0] === 4).map((each) => each.length),
    [32, 32, 32, 32],
  )
  a.befriend(b, 2, { persistentKeepalive: 0 })
  network.run(seconds(100))
  t.equal(count(a, 4), 4)
})

simulate('clocks that jump back', (t, world, seed) => {
  const { network, a, b } = world
  converse(world, 10_000, 1000)
  a.wallJump = -seconds(86_400)
  b.wallJump = -seconds(3600)
  a.bootJump = -seconds(3600)
  b.bootJump = -seconds(60)
  const before = b.received.length
  const said = converse(world, 400_000, 1000)
  network.run(1000)
  t.equal(b.received.length - before, said, `seed ${seed}`)
})

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

simulate('reserved bytes are dropped, unless the peer has marks', (t, { network, a, b }) => {
  const inner = innerV4(1, 2)
  a.say(1, 2, 1)
  network.run(100)
  const now = seconds(1)
  t.equal(a.device.send(inner.memory, inner.offset, inner.length, now, 1), 'no-marks')
  a.befriend(b, 2, { marks: true })
  t.equal(a.device.send(inner.memory, inner.offset, inner.length, now, 1), 'sealed')
  const { offset, length } = a.device.sealed
  const marked = inner.memory.slice(offset, offset + length)
  t.strictSame([...marked.subarray(0, 4)], [4, 1, 0, 0])
  b.deliver(marked, HERE)
  t.equal(b.device.drops.reserved, 1)
  b.befriend(a, 1, { marks: true })
  b.deliver(marked, HERE)
  t.equal(b.received.length, 2)
  t.equal(b.device.packet.mark, 1)
  b.deliver(
    Uint8Array.from(marked, (byte, at) => (at === 2 ? 1 : byte)),
    HERE,
  )
  t.equal(b.device.drops.reserved, 2)
})

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
