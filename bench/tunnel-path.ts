/**
 * What a packet costs inside of a tunnel process, without the kernel: a TCP packet of 46 segments is cut and sealed,
 * opened and put together again, by what the packet thread is made of; and what of that are OpenSSL's primitives and
 * the calls of them. The fastest twentieth of many rounds hardly depends on what else the machine does, so that two
 * checkouts can be compared on a busy one.
 */
import { randomFillSync } from 'node:crypto'
import type { Arena } from '../linux/arena.ts'
import { makeArena } from '../linux/ffi.ts'
import { fusedPrimitives, opensslCurve, opensslPrimitives } from '../linux/openssl.ts'
import { maxPieces } from '../linux/tun.ts'
import { DroverError } from '../model/errors.ts'
import { instant, millis } from '../model/time.ts'
import { ComposedAead, type Primitives } from '../tunnel/userspace/chacha20-poly1305.ts'
import type { Memory } from '../tunnel/userspace/checksum.ts'
import { OpensslCrypto } from '../tunnel/userspace/handshake-crypto.ts'
import { Inbound } from '../tunnel/userspace/inbound.ts'
import { Outbound } from '../tunnel/userspace/outbound.ts'
import { SEGMENTER_ROOM, Segmenter } from '../tunnel/userspace/segment.ts'
import { summedMemory } from '../tunnel/userspace/simd-sum.ts'
import { UNREACHABLE_ROOM, Unreachable } from '../tunnel/userspace/unreachable.ts'
import { gso, virtioHeaderSize, writeVirtio } from '../tunnel/userspace/virtio.ts'
import { Device, SCRATCH_LENGTH } from '../tunnel/wireguard/device.ts'
import { endpointV4 } from '../tunnel/wireguard/endpoint.ts'
import { loadSodium } from '../tunnel/wireguard/sodium.ts'
import { origin } from './report.ts'
import { keep, markdown, percentile } from './table.ts'

export const pathUsage = 'npm run bench -- tunnel-path'

const rounds = 8000
const segments = 46
/** With timestamps, for an MTU of 1420. */
const [headers, payload] = [52, 1368]
const packetLength = headers + segments * payload
const now = millis(1)
const somewhere = endpointV4(0x7f000001, 9)
const bytes = (length: number): Uint8Array => randomFillSync(new Uint8Array(length))

export async function benchPath(args: readonly string[]): Promise<void> {
  if (args.length > 0) throw new DroverError('USAGE', pathUsage)
  const summed = summedMemory(1 << 23)
  const arena = makeArena(1 << 23, summed?.buffer)
  const single = opensslPrimitives(arena)
  if (summed === undefined || single === undefined)
    throw new DroverError('USAGE', 'this Node has neither SIMD nor the primitives of OpenSSL')
  const memory: Memory = { bytes: arena.bytes, view: arena.view, sum: summed.sum }
  const packet = arena.take(1 << 17) + 256
  const fused = fusedPrimitives(arena) ?? single
  const wholes = await pathOf(arena, memory, fused, packet)
  const rows = [...wholes, ...partsOf(arena, memory, { fused, single }, packet)]
  const table = markdown(['nanoseconds a packet of 1,420 bytes', 'fastest twentieth', 'median'], rows)
  const secrets = markdown(
    ['nanoseconds a shared secret of a handshake', 'fastest twentieth', 'median'],
    await secretsOf(arena, single),
  )
  const text = `# A packet's way inside of the process\n\n${await origin()}\n\n${table}\n\n${secrets}\n`
  process.stdout.write(`\n${text}\nkept in ${keep('tunnel-path', text)}\n`)
}

type Row = readonly [string, string, string]

/** Each row of `ways` in turn, over and over; the time is divided by `packets`. */
function timed(ways: Readonly<Record<string, () => void>>, packets: number): readonly Row[] {
  const entries = Object.entries(ways).map(([name, run]) => ({ name, run, took: [] as number[] }))
  for (let round = -rounds / 2; round < rounds; round++)
    for (const { run, took } of entries) {
      const from = process.hrtime.bigint()
      run()
      if (round >= 0) took.push(Number(process.hrtime.bigint() - from) / packets)
    }
  return entries.map(({ name, took }) => [
    name,
    percentile(took, 0.05).toFixed(0),
    percentile(took, 0.5).toFixed(0),
  ])
}

async function pathOf(arena: Arena, memory: Memory, primitives: Primitives, packet: number) {
  const [here, there] = await acquainted(arena, primitives)
  const area = () => ({ at: arena.take(1 << 19), length: 1 << 19 })
  let written = 0
  const writeBatch = ({ count }: { readonly count: number }): 'works' => {
    written += count
    return 'works'
  }
  const sealed: (readonly [number, number])[] = []
  const udp = { add: (at: number, length: number) => void sealed.push([at, length]), flush: () => undefined }
  const segmenter = new Segmenter(memory, { scratch: arena.take(SEGMENTER_ROOM) })
  const unreachable = new Unreachable(memory, { room: arena.take(UNREACHABLE_ROOM) })
  const tun = { writeBatch }
  const outbound = new Outbound(
    { memory, device: here, segmenter, udp, tun, unreachable },
    { area: area(), vnetHeader: true },
  )
  const options = { limit: 4096, pieces: maxPieces, udp: true, completes: true, area: area() }
  const inbound = new Inbound({ memory, tun }, options)
  let sequence = 0
  const out = (): void => {
    writePacket(memory.view, packet, sequence++ * segments * payload)
    sealed.length = 0
    outbound.take(packet, packetLength, now)
    outbound.flush()
  }
  const back = (): void => {
    for (const [at, length] of sealed) {
      const into = inbound.place(at, length)
      if (there.receive(memory.bytes, at, length, somewhere, now, into) === 'packet')
        inbound.add(there.packet)
    }
    inbound.write()
  }
  const rows = timed({ 'cut and sealed': out, 'opened and put together': back }, segments)
  if (written !== rounds * 1.5) throw new RangeError(`${written} packets came out of ${rounds * 1.5}`)
  return rows
}

/** Two devices with a session. */
async function acquainted(arena: Arena, primitives: Primitives): Promise<readonly [Device, Device]> {
  const { crypto } = await loadSodium()
  const aead = new ComposedAead({ arena, primitives })
  const keys = [bytes(32), bytes(32)] as const
  const made = ([own, other]: readonly [0 | 1, 0 | 1]): Device => {
    const scratch = { memory: arena.bytes, offset: arena.take(SCRATCH_LENGTH), length: SCRATCH_LENGTH }
    const deps = { crypto, aead, random: { bytes }, wall: () => instant(Date.now()) }
    const device = new Device(deps, { scratch })
    const allowedIps = [{ address: Uint8Array.of(10, 0, 0, other + 1), bits: 32 }]
    const peer = { publicKey: crypto.publicKey(keys[other]), endpoint: somewhere, allowedIps }
    device.configure({ privateKey: keys[own], peers: [{ ...peer, persistentKeepalive: 25 }] }, now)
    return device
  }
  const [here, there] = [made([0, 1]), made([1, 0])]
  for (let step = 0; step < 4; step++)
    for (const [from, to] of [
      [here, there],
      [there, here],
    ] as const)
      for (let next = from.nextTransmit(now); next !== undefined; next = from.nextTransmit(now))
        to.receive(arena.bytes, next.offset, next.length, somewhere, now)
  return [here, there]
}

interface Ways {
  readonly fused: Primitives
  readonly single: Primitives
}

/** The foreign functions with what they are given for a packet, with nothing, and the sum. */
function partsOf(arena: Arena, memory: Memory, { fused, single }: Ways, at: number): readonly Row[] {
  const [key, target, tag] = [arena.take(64), arena.take(2048), arena.take(16)]
  const often = 50
  const each = (run: () => void) => (): void => {
    for (let time = 0; time < often; time++) run()
  }
  const length = headers + payload
  const parts = {
    'of that: ChaCha20 and Poly1305, one call': each(() =>
      fused.chacha20Poly1305(at, target, length + 64, key, key + 32, at, length + 20, tag),
    ),
    'instead: ChaCha20, one call': each(() => single.chacha20(at, target, length + 64, key, key + 32)),
    'instead: Poly1305, three calls': each(() => single.poly1305(at, length + 20, key, tag)),
    'of these: one call that does nothing': each(() => single.chacha20(at, target, 0, key, key + 32)),
    'of that: the sum': each(() => void memory.sum(at, length)),
  }
  return timed(parts, often)
}

/** X25519 as handshakes call it. */
async function secretsOf(arena: Arena, primitives: Primitives): Promise<readonly Row[]> {
  const curve = opensslCurve(arena)
  const { crypto: sodium } = await loadSodium()
  const [own, other] = [bytes(32), sodium.publicKey(bytes(32))]
  const makers = {
    libsodium: sodium,
    ...(curve && { OpenSSL: new OpensslCrypto({ arena, primitives, curve }) }),
  }
  const ways = Object.entries(makers).map(
    ([name, crypto]) => [name, () => void crypto.shared(own, other)] as const,
  )
  return timed(Object.fromEntries(ways), 1)
}

/** A TCP packet as a TUN device with offloads gives it. */
function writePacket(view: DataView, at: number, sequence: number): void {
  writeVirtio(view, at - virtioHeaderSize, gso.tcpV4, payload, headers, 20, 16)
  for (let index = 0; index < headers; index += 4) view.setUint32(at + index, 0)
  view.setUint16(at, 0x4500)
  view.setUint16(at + 2, packetLength)
  view.setUint16(at + 6, 0x4000)
  view.setUint16(at + 8, 0x4006)
  view.setUint32(at + 12, 0x0a000001)
  view.setUint32(at + 16, 0x0a000002)
  view.setUint32(at + 24, sequence >>> 0)
  view.setUint16(at + 32, 0x8010)
  view.setUint32(at + 40, 0x0101080a)
}
