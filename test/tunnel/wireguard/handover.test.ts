/**
 * The state of a device as bytes: every state comes back as it was, what is no state is refused whole, and two
 * hosts do not notice when the device of one is replaced in the middle of anything.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'tap'
import { hex } from '../../../model/bytes.ts'
import { millis, seconds } from '../../../model/time.ts'
import { CookieJar } from '../../../tunnel/wireguard/cookie.ts'
import type { Device } from '../../../tunnel/wireguard/device.ts'
import { noDrops } from '../../../tunnel/wireguard/drops.ts'
import { endpointV4 } from '../../../tunnel/wireguard/endpoint.ts'
import {
  commonVersion,
  decodeState,
  encodeState,
  HANDOVER_VERSIONS,
  type TunnelState,
} from '../../../tunnel/wireguard/handover.ts'
import { decodeWhole, encodeWhole, list, u32 } from '../../../tunnel/wireguard/layout.ts'
import { readCounter, readU32 } from '../../../tunnel/wireguard/messages.ts'
import { ReplayWindow } from '../../../tunnel/wireguard/replay.ts'
import { SeededRandom } from '../../support/ports.ts'
import { perfectLink } from '../../support/simulated-network.ts'
import { boxOf, fuzzRounds, v6 } from '../../support/wireguard.ts'
import type { WireguardHost } from '../../support/wireguard-host.ts'
import { count, simulate, type World, worldOf } from '../../support/wireguard-world.ts'

/** The state of a host with one peer and two sessions, as version 2 was written before there was a version 3. */
const versionTwo = join(import.meta.dirname, '../../fixtures/handover-2.base64')

/** Noise with a good mac1. */
function strangersInitiation(key: Uint8Array): { readonly memory: Uint8Array; readonly length: number } {
  const memory = new Uint8Array(148).fill(5)
  memory.set([1, 0, 0, 0])
  new CookieJar(key).stamp(memory, 0)
  return { memory, length: memory.length }
}

const driver = { listenPort: 51_820, fwmark: 0x42 }
const stateOf = (host: WireguardHost): TunnelState => ({ driver, device: host.device.export() })

/** A world in the middle of something, with peers of every kind. */
function lived(seed: number): World {
  const random = new SeededRandom(seed)
  const link = { ...perfectLink, latency: 20, jitter: 10, loss: 0.1 }
  const world = worldOf(seed, link)
  const { a, b, network } = world
  a.befriend(b, 2, { persistentKeepalive: random.below(30), presharedKey: new Uint8Array(32) })
  a.configure({ peers: [{ publicKey: random.bytes(32), allowedIps: [v6(7, 64)], marks: true }] })
  for (let step = random.below(60); step > 0; step--) {
    if (random.below(2) === 0) a.say(1, 2, step)
    if (random.below(2) === 0) b.say(2, 1, step)
    network.run(random.below(10) === 0 ? seconds(100) : random.below(2000))
  }
  return world
}

test('every state comes back as it was', async (t) => {
  for (let seed = 1; seed <= 60; seed++) {
    const { a } = lived(seed)
    const state = stateOf(a)
    const bytes = encodeState(state)
    const decoded = decodeState(bytes)
    if (decoded.is !== 'state') throw new TypeError(`seed ${seed}: ${decoded.is}`)
    const fresh = boxOf(seed + 1000).device
    fresh.import(decoded.state.device)
    const again = { driver: decoded.state.driver, device: fresh.export() }
    if (hex(encodeState(again)) !== hex(bytes)) t.strictSame(again, state, `seed ${seed}`)
    t.equal(fresh.size, a.device.size, `seed ${seed}`)
  }
})

test('what is no state is refused whole', async (t) => {
  const random = new SeededRandom(3)
  const bytes = encodeState(stateOf(lived(5).a))
  let read = 0
  for (let round = fuzzRounds(20_000); round > 0; round--) {
    const changed = random.below(8) === 0 ? random.bytes(random.below(300)) : bytes.slice()
    for (let times = random.below(4); times > 0; times--)
      changed[random.below(changed.length || 1)] = random.below(256)
    const cut = random.below(2) === 0 ? changed : changed.subarray(0, random.below(changed.length + 1))
    const decoded = decodeState(cut)
    if (decoded.is !== 'state') continue
    read++
    if (hex(encodeState(decoded.state)) !== hex(cut)) t.fail('two encodings of one state')
  }
  t.ok(read > 100, 'some changes only change values')
  for (let length = 0; length < bytes.length; length += 13)
    if (decodeState(bytes.subarray(0, length)).is !== 'damaged') t.fail(`cut to ${length}`)
  t.equal(decodeState(Uint8Array.of(...bytes, 0)).is, 'damaged', 'more follows')
  const newer = bytes.slice()
  newer[4] = 9
  t.strictSame(decodeState(newer), { is: 'unknown-version', version: 9 })
  t.throws(() => decodeWhole(list(u32), Uint8Array.of(255, 255, 255, 255)), RangeError, 'a length that lies')
  t.equal(
    encodeWhole(
      list(u32),
      Array.from({ length: 5000 }, (_, at) => at),
    ).length,
    20_004,
  )
})

test('sources, cookies, load and drops go along', async (t) => {
  const { a, b, network } = worldOf(1, perfectLink)
  a.befriend(b, 2)
  a.say(1, 2, 1)
  network.run(seconds(1))
  const first = stateOf(a)
  const endpoint = endpointV4(0x0a000001, 5, 0x7f000003)
  const peers = first.device.peers.map((peer) => ({ ...peer, endpoint }))
  const load = { from: 500, count: 7, until: 1500 }
  const cookies = { secret: new Uint8Array(32).fill(9), secretAt: 77 }
  const drops = { ...first.device.drops, mac1: 3, noRoute: 4 }
  const state = { driver, device: { ...first.device, peers, defences: { cookies, load }, drops } }
  const decoded = decodeState(encodeState(state))
  if (decoded.is !== 'state') throw new TypeError(decoded.is)
  const heir = boxOf(50).device
  heir.import(decoded.state.device)
  t.strictSame({ driver, device: heir.export() }, state)
  t.strictSame(heir.drops, drops)
})

test('the version before is read and written: an upgrade and the way back', async (t) => {
  const old = new Uint8Array(Buffer.from(readFileSync(versionTwo, 'utf8'), 'base64'))
  const decoded = decodeState(old)
  if (decoded.is !== 'state') throw new TypeError(decoded.is)
  const heir = boxOf(51).device
  heir.import(decoded.state.device)
  t.match(heir.export(), {
    peers: [{ receivedBytes: 4176 }],
    defences: { load: { from: 1, count: 2 } },
    drops: { ...noDrops(), mac1: 3 },
  })
  const back = encodeState({ driver: decoded.state.driver, device: heir.export() }, 2)
  t.equal(hex(back), hex(old))
  t.throws(() => encodeState(decoded.state, 1), RangeError)
  t.strictSame(HANDOVER_VERSIONS, [2, 3])
  t.equal(commonVersion([1, 2]), 2)
  t.equal(commonVersion([2, 3, 4]), 3)
  t.equal(commonVersion([1, 4]), undefined)
})

test('of a replay window only what was used is sent, and what was used is refused by the heir', async (t) => {
  for (const highest of [0, 31, 32, 8159, 8160, 20_000, 2 ** 33]) {
    const window = new ReplayWindow()
    for (const counter of [highest - 40, highest - 33, highest]) if (counter >= 0) window.accept(counter)
    const heir = new ReplayWindow()
    const state = window.state()
    t.equal(state.ring.length, Math.min(1024, 4 * (Math.floor(highest / 32) + 1)))
    heir.restore(state)
    for (let counter = Math.max(0, highest - 9000); counter <= highest + 40; counter++)
      if (heir.accept(counter) !== window.accept(counter)) t.fail(`${counter} of ${highest}`)
  }
})

test('cookies and load outlive the process', (t) => {
  const attacked = boxOf(60)
  const heir = boxOf(61)
  const stranger = endpointV4(0x0a000009, 9)
  const handshakes = (count: number, device: Device): void => {
    for (let at = 0; at < count; at++) {
      const { memory, length } = strangersInitiation(attacked.publicKey)
      device.receive(memory, 0, length, stranger, millis(10))
    }
  }
  attacked.device.configure({ privateKey: attacked.privateKey, peers: [] }, millis(0))
  handshakes(250, attacked.device)
  t.ok(attacked.device.drops.cookieSent > 0)
  heir.device.import(attacked.device.export())
  const before = heir.device.drops.cookieSent
  handshakes(1, heir.device)
  t.equal(heir.device.drops.cookieSent, before + 1, 'still under load')
  t.end()
})

/** Session and counter of every transport message that a host sent. */
const nonces = (host: WireguardHost): readonly string[] =>
  host.sent.filter((one) => one[0] === 4).map((one) => `${readU32(one, 4)} ${readCounter(one, 0)}`)

simulate(
  'a device that is replaced in the middle loses nothing and uses no nonce twice',
  (t, { network, a, b }, seed) => {
    const random = new SeededRandom(seed)
    for (const host of [a, b]) host.keepSent = true
    let said = 0
    for (let step = 0; step < 4000; step++) {
      said++
      a.say(1, 2, said)
      b.say(2, 1, said)
      network.run(random.below(200))
      if (random.below(20) === 0) (random.below(2) === 0 ? a : b).succeed(seed * 10_000 + step)
    }
    network.run(seconds(1))
    t.strictSame([a.received.length, b.received.length], [said, said], `seed ${seed}`)
    for (const host of [a, b]) {
      const used = nonces(host)
      t.equal(new Set(used).size, used.length, `seed ${seed}: every nonce once`)
      t.equal(host.device.drops.replayed, 0)
      t.equal(host.device.drops.unauthenticated, 0)
    }
  },
  { link: { ...perfectLink, latency: 30, jitter: 10 }, seeds: [1, 2, 3, 4] },
)

simulate('no handshake is needed, and one under way is finished by the successor', (t, { network, a, b }) => {
  for (const host of [a, b]) host.keepSent = true
  a.say(1, 2, 1)
  a.succeed(7)
  network.run(seconds(1))
  t.strictSame(b.received, [1], 'the packet that waited is sent by the successor')
  const { lastHandshake } = a.device.status().peers[0] ?? {}
  a.succeed(8)
  b.succeed(9)
  a.say(1, 2, 2)
  b.say(2, 1, 3)
  network.run(seconds(30))
  t.strictSame([a.received, b.received], [[3], [1, 2]])
  t.equal(a.device.status().peers[0]?.lastHandshake, lastHandshake)
  t.strictSame([count(a, 1), count(b, 1)], [1, 0], 'one handshake in all')
  const replayed = a.sent.findLast((one) => one[0] === 4 && one.length > 32) ?? new Uint8Array(0)
  b.succeed(10)
  b.deliver(replayed, a.address)
  t.equal(b.device.drops.replayed, 1, 'the replay window came along')
})
