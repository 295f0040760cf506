/**
 * Two devices on a simulated network: sessions, timers and the packets that they carry, by the rules of the paper.
 */
import { seconds } from '../../model/time.ts'
import { readU32 } from '../../tunnel/wireguard/messages.ts'
import { innerV4, innerV6, v4, v6 } from '../support/wireguard.ts'
import { WireguardHost } from '../support/wireguard-host.ts'
import { converse, count, HERE, lastData, simulate, THERE, typesOf } from '../support/wireguard-world.ts'

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

simulate('past sessions end with their time, also where new ones are rare', (t, { network, a, b }) => {
  for (let tag = 1; tag <= 6; tag++) {
    a.say(1, 2, tag)
    network.run(seconds(400))
    b.say(2, 1, tag)
    network.run(seconds(30))
  }
  t.strictSame([a.received.length, b.received.length], [6, 6])
  t.ok(a.device.size <= 4 && b.device.size <= 4, `${a.device.size} and ${b.device.size}`)
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
