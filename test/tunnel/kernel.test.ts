/**
 * The kernel's engine against a kernel that is a table: which engine is chosen, what its device and the userspace
 * engine's do to each other, and what a backend makes of it. Packets are carried in test/lab/kernel-engine.test.ts.
 */
import { test } from 'tap'
import type { Link } from '../../linux/ip.ts'
import type { KernelChange, KernelDevice, KernelPeer } from '../../linux/wireguard.ts'
import { fromBase64, hex } from '../../model/bytes.ts'
import { DroverError } from '../../model/errors.ts'
import { type Cidr, parseCidr } from '../../model/ip.ts'
import { millis } from '../../model/time.ts'
import type { Peer } from '../../tunnel/backend.ts'
import { engineChoice } from '../../tunnel/engine-choice.ts'
import { KernelDevice as Keeper, removeKernelDevice } from '../../tunnel/kernel-device.ts'
import { KernelEngine } from '../../tunnel/kernel-engine.ts'
import { standBy } from '../../tunnel/userspace/standby.ts'
import { WireguardBackend } from '../../tunnel/wireguard-backend.ts'
import { until } from '../support/netns.ts'
import { FakeClock, MemoryLog, MemoryMeter } from '../support/ports.ts'
import { hostIdOf } from '../support/snapshots.ts'

const name = 'drover0'
const keyOf = (n: number): string => Buffer.alloc(32, n).toString('base64')
const bytesOf = (n: number): Uint8Array => new Uint8Array(32).fill(n)
const blank: KernelDevice = {
  privateKey: undefined,
  publicKey: undefined,
  listenPort: 0,
  fwmark: 0,
  peers: [],
}

const link = (kind: string): Link => ({
  name,
  kind,
  index: 7,
  up: true,
  carrier: true,
  ifId: undefined,
  mtu: 1420,
  mac: '',
  alias: '',
  addresses: [],
})

/** What the kernel has under the name, told by `ip` and by generic netlink. */
class FakeKernel {
  kind: string | undefined
  device: KernelDevice = blank
  /** The port of somebody else. */
  taken = 0
  readonly lines: string[] = []
  readonly changes: KernelChange[] = []

  links = async (): Promise<readonly Link[]> => (this.kind === undefined ? [] : [link(this.kind)])

  batch = async (lines: readonly string[]): Promise<void> => {
    for (const line of lines) {
      this.lines.push(line)
      if (line.startsWith('link del')) this.kind = undefined
      if (!line.startsWith('link add')) continue
      if (this.kind !== undefined) throw new DroverError('COMMAND_FAILED', `${line}: File exists`)
      this.kind = 'wireguard'
      this.device = blank
    }
  }

  exists = (asked: string): boolean => asked === name && this.kind === 'wireguard'
  read = (asked: string): KernelDevice | undefined => (this.exists(asked) ? this.device : undefined)

  change = (asked: string, change: KernelChange): number => {
    if (!this.exists(asked)) return 19
    if (change.listenPort !== undefined && change.listenPort === this.taken) return 98
    this.changes.push(change)
    const { privateKey = this.device.privateKey, listenPort = this.device.listenPort } = change
    const gone = new Set(change.peers.filter(({ remove }) => remove).map(({ publicKey }) => hex(publicKey)))
    const peers = new Map(this.device.peers.map((peer) => [hex(peer.publicKey), peer]))
    for (const one of change.peers) peers.set(hex(one.publicKey), changed(peers.get(hex(one.publicKey)), one))
    for (const key of gone) peers.delete(key)
    this.device = { ...this.device, privateKey, listenPort, peers: [...peers.values()] }
    return 0
  }
}

function changed(before: KernelPeer | undefined, change: KernelChange['peers'][number]): KernelPeer {
  const endpoint = change.endpoint && { ...change.endpoint, port: 51820 }
  return {
    publicKey: change.publicKey,
    presharedKey: bytesOf(0),
    endpoint: endpoint ?? before?.endpoint,
    persistentKeepalive: 0,
    lastHandshake: 5007,
    receivedBytes: 1,
    sentBytes: 2,
    allowedIps: [
      ...(change.replaceAllowedIps ? [] : (before?.allowedIps ?? [])),
      ...(change.allowedIps ?? []),
    ],
  }
}

const peer = (n: number, more: Partial<Peer> = {}): Peer => ({
  host: hostIdOf(n),
  publicKey: keyOf(n),
  endpoint: { address: `192.0.2.${n}`, port: 51820 },
  allowed: [parseCidr(`10.42.${n}.0/26`) ?? ('' as Cidr)],
  marks: true,
  ...more,
})

test('which engine, and why', async (t) => {
  const never = (): boolean => t.fail('the kernel is not asked') && false
  t.match(
    engineChoice('auto', () => true),
    { engine: 'kernel', reason: 'the kernel has WireGuard' },
  )
  t.match(
    engineChoice('auto', () => false),
    { engine: 'userspace', reason: 'the kernel has no WireGuard' },
  )
  t.match(engineChoice('userspace', never), { engine: 'userspace', reason: 'as configured' })
  t.match(
    engineChoice('kernel', () => true),
    { engine: 'kernel', wanted: 'kernel' },
  )
  t.throws(() => engineChoice('kernel', () => false), { code: 'TUNNEL_ENGINE' })
})

test('a backend keeps the kernel at its peers', async (t) => {
  const kernel = new FakeKernel()
  const own = { privateKey: keyOf(9), port: 51820 }
  const backend = new WireguardBackend(new KernelEngine(kernel, name), own, 'kernel')
  await t.rejects(backend.apply([peer(2)]), { code: 'TUNNEL_UNAVAILABLE' }, 'no device yet')
  kernel.kind = 'wireguard'
  await backend.apply([peer(2), peer(3)])
  t.match(kernel.device, { privateKey: fromBase64(keyOf(9)), listenPort: 51820 })
  t.equal(kernel.device.peers.length, 2)
  await backend.apply([peer(2), peer(3)])
  t.equal(kernel.changes.length, 1, 'the same again changes nothing')

  const [two, three] = kernel.device.peers
  if (two?.endpoint === undefined || three === undefined) throw new TypeError('two peers')
  const roamed = { ...two.endpoint, bytes: Uint8Array.of(198, 51, 100, 7, 0xca, 0x6c) }
  kernel.device = { ...kernel.device, peers: [{ ...two, endpoint: roamed }, three] }
  await backend.apply([peer(2), peer(3)])
  t.equal(kernel.changes.length, 1, 'a peer that roamed is left where it is')
  t.match(await backend.status(), {
    peers: [
      { host: hostIdOf(2), engine: 'kernel', endpoint: '198.51.100.7:51820', lastHandshake: 5007 },
      { host: hostIdOf(3), received: 1, sent: 2 },
    ],
    facts: undefined,
  })
  await backend.apply([peer(2, { endpoint: { address: '2001:db8::2', port: 51820 } })])
  t.match(
    kernel.device.peers,
    [{ endpoint: { family: 6 } }],
    'its record has changed; the other peer is gone',
  )
})

test('a port that is taken refuses the settings', async (t) => {
  const kernel = new FakeKernel()
  kernel.kind = 'wireguard'
  kernel.taken = 51820
  const engine = new KernelEngine(kernel, name)
  const refused = { code: 'TUNNEL_UNAVAILABLE', message: /errno=-98/ }
  await t.rejects(engine.set(['listen_port=51820']), refused)
  await t.rejects(engine.set(['nonsense']), { message: /errno=-71/ })
})

/** A keeper of the device as the daemon holds it. */
function holder(kernel: FakeKernel, endUserspace: () => Promise<void> = async () => undefined) {
  const [clock, log, meter] = [new FakeClock(), new MemoryLog(), new MemoryMeter()]
  const troubles: string[] = []
  const deps = { clock, log, meter, endUserspace, ip: kernel, wireguard: kernel }
  const keeper = new Keeper(
    { ...deps, onTrouble: (why) => troubles.push(why) },
    { name, mtu: 1380, privateKey: keyOf(9) },
  )
  let ups = 0
  const running = keeper.run(() => ups++)
  const stop = async (): Promise<void> => {
    keeper.close()
    await running
  }
  /** Waits for a state while time goes by. */
  const reach = (what: string, probe: () => boolean): Promise<true> =>
    until(what, () => {
      if (probe()) return true
      clock.advance(millis(50))
      return false
    })
  return { keeper, troubles, meter, reach, stop, ups: () => ups }
}

test('a device is made, found again, and made again when it goes', async (t) => {
  const kernel = new FakeKernel()
  const first = holder(kernel)
  await first.reach('up', () => first.ups() === 1)
  t.strictSame(kernel.lines.splice(0), [
    'link add dev drover0 mtu 1380 type wireguard',
    'link set dev drover0 addrgenmode none',
    'link set dev drover0 mtu 1380 up',
  ])
  await first.stop()
  t.equal(kernel.kind, 'wireguard', 'it outlives the daemon')
  kernel.change(name, { privateKey: bytesOf(9), peers: [] })
  const second = holder(kernel)
  await second.reach('found', () => second.ups() === 1)
  t.notOk(
    kernel.lines.some((line) => /link (add|del)/.test(line)),
    'the same device',
  )
  kernel.kind = undefined
  await second.reach('up again', () => second.ups() === 2 && second.keeper.running)
  t.equal(second.meter.values.get('drover_worker_restarts_total{"worker":"tunnel"}'), 1)
  await second.stop()
})

test('a userspace engine makes way, also one that came back', async (t) => {
  const kernel = new FakeKernel()
  kernel.kind = 'tun'
  let ended = 0
  const held = holder(kernel, async () => {
    ended++
    kernel.kind = ended === 1 ? 'tun' : undefined
  })
  await held.reach('up', () => held.ups() === 1)
  t.equal(kernel.kind, 'wireguard')
  t.equal(ended, 1, 'its process is ended first')
  t.ok(kernel.lines.includes('link del dev drover0'), 'a TUN device without a process is removed')
  await held.stop()
})

test("what is somebody else's is left alone and said", async (t) => {
  const kernel = new FakeKernel()
  kernel.kind = 'bridge'
  const held = holder(kernel)
  await held.reach('trouble', () => held.troubles.length > 0)
  t.match(held.troubles[0], /drover0 is of kind bridge/)
  kernel.kind = 'wireguard'
  kernel.device = { ...blank, privateKey: bytesOf(1) }
  await held.reach('another trouble', () => /another key/.test(held.troubles.at(-1) ?? ''))
  t.strictSame(kernel.lines, [], 'nothing is changed')
  const place = { name, privateKey: keyOf(9) }
  await t.rejects(removeKernelDevice({ ip: kernel, wireguard: kernel }, place), { code: 'TUNNEL_NAME' })
  kernel.kind = undefined
  await held.reach('up', () => held.ups() === 1)
  t.equal(held.troubles.at(-1), '')
  await held.stop()
})

test('the way back: our device is removed, and who stands by takes over', async (t) => {
  const kernel = new FakeKernel()
  kernel.kind = 'wireguard'
  kernel.device = { ...blank, privateKey: bytesOf(9) }
  const said: string[] = []
  let looks = 0
  const pause = async (): Promise<void> => {
    looks++
    if (looks === 2)
      await removeKernelDevice({ ip: kernel, wireguard: kernel }, { name, privateKey: keyOf(9) })
  }
  await standBy({ wireguard: kernel, pause, say: (text) => said.push(text) }, name)
  t.equal(looks, 2)
  t.match(said, [/stands by/, /takes over/])
  t.equal(kernel.kind, undefined)
  await removeKernelDevice({ ip: kernel, wireguard: kernel }, { name, privateKey: keyOf(9) })
  await standBy({ wireguard: kernel, pause, say: (text) => said.push(text) }, name)
  t.equal(said.length, 2, 'nothing in the way, nothing said')
})
