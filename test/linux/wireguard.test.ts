/**
 * Netlink attributes and WireGuard's messages as pure codecs, and generic netlink on this machine's kernel. The
 * kernel's WireGuard itself is asked in the virtual machine (test/lab/kernel-engine.test.ts).
 */
import { test } from 'tap'
import {
  attribute,
  attributeMap,
  attributesIn,
  listed,
  nested,
  textBytes,
  unsigned,
  unsignedIn,
} from '../../linux/attributes.ts'
import { Libc, makeArena } from '../../linux/ffi.ts'
import { GenericNetlink, netlinkRoom } from '../../linux/netlink.ts'
import { deviceOf, NetlinkWireguard, requestsOf } from '../../linux/wireguard.ts'
import { hex, sameBytes } from '../../model/bytes.ts'
import { SeededRandom } from '../support/ports.ts'

test('attributes are what the kernel reads', async (t) => {
  t.equal(hex(attribute(2, textBytes('wg0'))), '0800020077673000')
  t.equal(hex(attribute(6, unsigned(51820, 2))), '060006006cca0000', 'padded to four bytes')
  t.equal(hex(nested(8, [attribute(1, unsigned(7, 1))])), '0c0008800500010007000000')
  t.equal(unsignedIn(unsigned(0xfedcba98, 4)), 0xfedcba98)
  t.equal(unsignedIn(Uint8Array.of(0, 0, 0, 0, 1, 0, 0, 0)), 2 ** 32)
  t.equal(unsignedIn(undefined), 0)
  t.throws(() => attribute(1, new Uint8Array(65_532)), RangeError)
})

test('attributes read back, and lengths that lie end the reading', async (t) => {
  const random = new SeededRandom(5)
  for (let round = 0; round < 2000; round++) {
    const payloads = Array.from({ length: random.below(6) }, () => random.bytes(random.below(40)))
    const bytes = Buffer.concat(payloads.map((payload, at) => attribute(at + 1, payload)))
    const found = attributesIn(bytes)
    if (!found.every(({ type, payload }, at) => type === at + 1 && sameBytes(payload, payloads[at] ?? bytes)))
      t.fail(hex(bytes))
    if (found.length !== payloads.length) t.fail(hex(bytes))
    const broken = Buffer.from(bytes)
    if (broken.length > 0) broken[random.below(broken.length)] = random.below(256)
    deviceOf([broken, random.bytes(random.below(60))])
    const read = attributesIn(broken).reduce((sum, { payload }) => sum + payload.length, 0)
    if (read > broken.length) t.fail(hex(broken))
  }
  t.strictSame(attributesIn(Uint8Array.of(3, 0, 1, 0)), [], 'shorter than its own head')
})

const key = (n: number): Uint8Array => new Uint8Array(32).fill(n)
const v4 = { family: 4, bytes: Uint8Array.of(192, 0, 2, 1, 0xca, 0x6c), port: 51820, scope: 0 } as const
const v6Bytes = Uint8Array.from({ length: 18 }, (_, at) => [0xfe, 0x80][at] ?? at)
const v6 = { family: 6, bytes: v6Bytes, port: 0x1011, scope: 3 } as const
const prefixes = Array.from({ length: 1201 }, (_, at) => ({
  address: Uint8Array.of(10, 1, at >> 8, at & 255),
  bits: 32,
}))

test('a change is the device, then each peer in pieces that fit', async (t) => {
  const requests = requestsOf('wg0', {
    privateKey: key(1),
    listenPort: 51820,
    fwmark: 0,
    replacePeers: true,
    peers: [
      { publicKey: key(2), endpoint: v6, replaceAllowedIps: true, allowedIps: prefixes },
      { publicKey: key(3), remove: true },
      { publicKey: key(4), updateOnly: true, persistentKeepalive: 25, allowedIps: prefixes.slice(0, 501) },
    ],
  })
  t.ok(requests.every((bytes) => bytes.length < 32_000))
  t.ok(
    requests.every((bytes) => hex(bytes).startsWith('0800020077673000')),
    'each names its device',
  )
  t.equal(requests.length, 1 + 3 + 1 + 2)
  const settings = attributeMap(requests[0] ?? key(0))
  t.strictSame([...settings.keys()], [2, 5, 3, 6, 7])
  const peersIn = (bytes: Uint8Array | undefined) =>
    attributesIn(attributeMap(bytes ?? key(0)).get(8) ?? key(0)).map(({ payload }) => attributeMap(payload))
  const flags = requests.slice(1).map((bytes) => unsignedIn(peersIn(bytes)[0]?.get(3)))
  t.strictSame(flags, [2, 0, 0, 1, 4, 4], 'prefixes are replaced once; update_only holds for every piece')
  const [first] = peersIn(requests[1])
  const address = first?.get(4) ?? key(0)
  t.equal(address.length, 28, 'sockaddr_in6')
  t.equal(hex(address), `0a001011${'00'.repeat(4)}${hex(v6Bytes.subarray(0, 16))}03000000`)
  t.strictSame(requestsOf('wg0', { peers: [] }), [])
})

test('what a dump says, a peer in several parts', async (t) => {
  const time = Buffer.concat([
    unsigned(1_800_000_000, 4),
    unsigned(0, 4),
    unsigned(7_000_000, 4),
    unsigned(0, 4),
  ])
  const prefix = (at: number) => [
    attribute(1, unsigned(2, 2)),
    attribute(2, Uint8Array.of(10, 9, 0, at)),
    attribute(3, unsigned(32, 1)),
  ]
  const one = [
    attribute(1, key(2)),
    attribute(2, key(0)),
    attribute(4, Buffer.from('0200ca6cc00002010000000000000000', 'hex')),
    attribute(5, unsigned(25, 2)),
    attribute(6, time),
    attribute(7, Buffer.concat([unsigned(5, 4), unsigned(1, 4)])),
    attribute(8, unsigned(6, 4)),
    listed(9, [prefix(1), prefix(2)]),
  ]
  const device = deviceOf([
    Buffer.concat([
      attribute(6, unsigned(51820, 2)),
      attribute(7, unsigned(9, 4)),
      attribute(3, key(1)),
      listed(8, [one]),
    ]),
    listed(8, [[attribute(1, key(2)), listed(9, [prefix(3)])], [attribute(1, key(5))]]),
  ])
  t.match(device, { listenPort: 51820, fwmark: 9, privateKey: key(1), publicKey: undefined })
  t.strictSame(
    device.peers.map(({ publicKey, allowedIps }) => [
      publicKey[0],
      allowedIps.map(({ address }) => address[3]),
    ]),
    [
      [2, [1, 2, 3]],
      [5, []],
    ],
  )
  t.match(device.peers[0], {
    endpoint: v4,
    persistentKeepalive: 25,
    lastHandshake: 1_800_000_000_007,
    receivedBytes: 2 ** 32 + 5,
    sentBytes: 6,
  })
  t.equal(device.peers[1]?.endpoint, undefined)
})

test("generic netlink on this machine's kernel", async (t) => {
  const netlink = new GenericNetlink(new Libc(makeArena(netlinkRoom + 4096)))
  t.equal(netlink.family('nlctrl'), 16, 'the family of families')
  t.equal(netlink.family('no-such-family'), undefined)
  const unknown = { family: 16, command: 200, attributes: new Uint8Array(0), kind: 'do' } as const
  t.match(netlink.request(unknown), { is: 'refused', errno: Number })
  const all = netlink.request({ family: 16, command: 3, attributes: new Uint8Array(0), kind: 'dump' })
  t.ok(all.is === 'done' && all.messages.length > 0, 'a dump comes in many messages')
  const wireguard = new NetlinkWireguard({ netlink })
  t.equal(wireguard.exists('lo'), false)
  t.equal(wireguard.read('no-such-device'), undefined)
  t.not(wireguard.change('no-such-device', { listenPort: 1, peers: [] }), 0)
})
