/**
 * A device under a flood of handshakes by somebody who knows its public key: from forged addresses and from real ones
 * that bring cookies. Memory is constant, answers are cookies alone, sessions go on, and peers that are known still
 * get in.
 */
import { seconds } from '../../model/time.ts'
import { CookieJar } from '../../tunnel/wireguard/cookie.ts'
import { decodeHandshake, writeU32 } from '../../tunnel/wireguard/messages.ts'
import { primitives } from '../support/wireguard.ts'
import { WireguardHost } from '../support/wireguard-host.ts'
import { count, simulate, THERE, typesOf, type World } from '../support/wireguard-world.ts'

const loadLimit = 100

/** Makes initiations with a good mac1, each another, at little cost. */
class Flood {
  readonly world: World
  readonly #message: Uint8Array
  readonly #jars = new Map<string, CookieJar>()
  #number = 0

  constructor(world: World) {
    this.world = world
    const stranger = new WireguardHost(world.network, '203.0.113.255:1', 999)
    stranger.keepSent = true
    stranger.befriend(world.b, 2)
    world.network.filter = (from) => from !== stranger.address
    stranger.say(9, 2, 1)
    world.network.filter = () => true
    this.#message = stranger.sent[0] ?? new Uint8Array(148)
  }

  /** From an address that never answers. */
  forged(): void {
    const number = this.#number++
    this.#throw(`203.${number & 255}.${(number >> 8) & 255}.9:${1 + (number % 60_000)}`)
  }

  /** From an address whose owner takes cookies and brings them. */
  honest(last: number): void {
    this.#throw(`198.18.0.${last}:9`)
  }

  /** Gives a cookie to whom it is for. */
  bring(to: string, bytes: Uint8Array): void {
    const message = decodeHandshake(bytes)
    if (message?.is === 'cookie-reply')
      this.#jars.get(to)?.keep(primitives.crypto, message, this.world.network.now)
  }

  #throw(from: string): void {
    const { b, network } = this.world
    const message = this.#message.slice()
    writeU32(message, 4, this.#number++)
    const honest = from.startsWith('198.18.')
    const jar = (honest ? this.#jars.get(from) : undefined) ?? new CookieJar(b.box.publicKey)
    if (honest) this.#jars.set(from, jar)
    jar.stamp(message, network.now)
    b.deliver(message, from)
  }
}

simulate(
  'half a minute of flood: memory is constant, a session goes on, a known peer gets in',
  (t, world) => {
    const { network, a, b } = world
    const late = new WireguardHost(network, '[2001:db8::77]:7', 777)
    late.befriend(b, 2)
    b.befriend(late, 7)
    a.say(1, 2, 1)
    network.run(100)
    const flood = new Flood(world)
    b.keepSent = true
    const size = b.device.size
    let largest = 0
    let received = 0
    network.filter = (from, to, bytes) => {
      if (from === THERE && to.startsWith('198.18.')) flood.bring(to, bytes)
      return !to.startsWith('203.') && !to.startsWith('198.18.')
    }
    for (let at = 0; at < 30_000; at += 100) {
      for (let each = 0; each < 20; each++) flood.forged()
      for (let each = 0; each < 12; each++) flood.honest(each % 3)
      if (at % 1000 === 0) a.say(1, 2, 100 + at)
      if (at === 10_000) late.say(7, 2, 7)
      network.run(100)
      received += 32
      largest = Math.max(largest, b.device.size)
    }
    t.ok(largest <= size + 20, `${size} things before, at most ${largest} in ${received} handshakes`)
    t.equal(b.received.filter((tag) => tag >= 100).length, 30, 'the session goes on')
    t.ok(b.received.includes(7), 'the late peer got in')
    t.equal(count(b, 2), 1, 'no other was answered')
    t.ok(count(b, 3) > 2000)
    const known = new Set([1, 2, 3, 4])
    t.ok(typesOf(b).every((type) => known.has(type)))
    t.ok(b.device.drops.rateLimited > 500, 'who brings cookies is limited, too')
    t.equal(b.device.drops.outbox, 0)
    network.run(seconds(3))
    a.say(1, 2, 9)
    network.run(100)
    t.equal(b.received.at(-1), 9)
  },
  { options: { loadLimit } },
)

simulate(
  'more sources with cookies than there is room for: the table is full, not larger',
  (t, world) => {
    const { network, b } = world
    const flood = new Flood(world)
    b.keepSent = true
    for (let each = 0; each < loadLimit + 1; each++) flood.forged()
    t.ok(count(b, 3) > 0)
    // Cookies of one secret for many addresses: each has asked before.
    const addresses = Array.from({ length: 5000 }, (_, at) => `[2001:db8:${(at + 1).toString(16)}::1]:9`)
    const initiation = Uint8Array.from({ length: 148 }, (_, at) => (at === 0 ? 1 : at < 4 ? 0 : at))
    for (const [number, from] of addresses.entries()) {
      if (number % 200 === 0) network.run(1)
      const own = new CookieJar(b.box.publicKey)
      const message = initiation.slice()
      own.stamp(message, network.now)
      b.deliver(message, from)
      const reply = decodeHandshake(b.sent.at(-1) ?? new Uint8Array(0))
      if (reply?.is === 'cookie-reply') own.keep(primitives.crypto, reply, network.now)
      own.stamp(message, network.now)
      b.deliver(message, from)
    }
    t.ok(b.device.size > 4000 && b.device.size < 4200, `${b.device.size} things are kept`)
  },
  { options: { loadLimit } },
)
