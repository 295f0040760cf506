import { test } from 'tap'
import { maxPieces } from '../../../linux/tun.ts'
import { Coalescer } from '../../../tunnel/userspace/coalesce.ts'
import { type Segments, segment } from '../../../tunnel/userspace/segment.ts'
import { SeededRandom } from '../../support/ports.ts'

const room = 4 << 20
const memory = (() => {
  const bytes = new Uint8Array(room)
  return { bytes, view: new DataView(bytes.buffer) }
})()
const seed = Number(process.env.DROVER_TEST_SEED ?? 42)
const rounds = Number(process.env.DROVER_TEST_ROUNDS ?? 300)
const random = new SeededRandom(seed)
const between = (low: number, high: number): number => low + random.below(high - low + 1)

/** RFC 1071, word by word, in network order. */
function naiveSum(bytes: Uint8Array): number {
  let sum = 0
  for (let at = 0; at < bytes.length; at += 2) sum += ((bytes[at] ?? 0) << 8) + (bytes[at + 1] ?? 0)
  while (sum > 0xffff) sum = (sum & 0xffff) + Math.floor(sum / 65536)
  return sum
}

function transportValid(packet: Uint8Array): boolean {
  const v4 = (packet[0] ?? 0) >> 4 === 4
  const transport = v4 ? 20 : 40
  const addresses = v4 ? packet.subarray(12, 20) : packet.subarray(8, 40)
  const length = packet.length - transport
  const protocol = packet[v4 ? 9 : 6] ?? 0
  const pseudo = Uint8Array.from([...addresses, length >> 8, length & 255, 0, protocol])
  return naiveSum(Uint8Array.from([...pseudo, ...packet.subarray(transport)])) === 0xffff
}

interface Shape {
  readonly v4: boolean
  readonly tcp: boolean
  readonly options: number
  readonly payload: number
  readonly size: number
  readonly flags: number
  readonly port: number
}

/** A large packet at `at`, its virtio header before it; checksums as the kernel leaves them. */
function write(shape: Shape, at: number): number {
  const { bytes, view } = memory
  const transport = shape.v4 ? 20 : 40
  const own = shape.tcp ? 20 + shape.options * 4 : 8
  const length = transport + own + shape.payload
  bytes.set(random.bytes(length), at)
  bytes[at] = shape.v4 ? 0x45 : 0x60
  const protocol = shape.tcp ? 6 : 17
  if (shape.v4) {
    view.setUint16(at + 2, length)
    view.setUint16(at + 6, 0x4000)
    bytes[at + 9] = protocol
  } else {
    view.setUint16(at + 4, length - 40)
    bytes[at + 6] = protocol
  }
  view.setUint16(at + transport, shape.port)
  if (shape.tcp) {
    bytes[at + transport + 12] = (own / 4) << 4
    bytes[at + transport + 13] = shape.flags
  } else view.setUint16(at + transport + 4, length - transport)
  bytes.fill(0, at - 10, at)
  bytes[at - 10] = 1
  bytes[at - 9] = shape.tcp ? (shape.v4 ? 1 : 4) : 5
  view.setUint16(at - 8, random.below(65_536), true)
  view.setUint16(at - 6, shape.size, true)
  view.setUint16(at - 4, transport, true)
  view.setUint16(at - 2, shape.tcp ? 16 : 6, true)
  return length
}

const fresh = (): Segments => ({
  count: 0,
  next: 1 << 20,
  end: room,
  before: 16,
  after: 32,
  at: new Uint32Array(4096),
  length: new Uint32Array(4096),
})

const packetsOf = (out: Segments): Uint8Array[] =>
  Array.from({ length: out.count }, (_, index) => {
    const at = out.at[index] ?? 0
    return memory.bytes.slice(at, at + (out.length[index] ?? 0))
  })

const shapeOf = (tcp: boolean): Shape => ({
  v4: random.below(2) === 0,
  tcp,
  options: tcp ? random.below(11) : 0,
  payload: between(1, 20_000),
  size: between(100, 1500),
  flags: 0x10 | (random.below(4) === 0 ? 0x08 : 0) | (random.below(8) === 0 ? 0x01 : 0),
  port: between(1, 60_000),
})

test('segments have the whole payload, right lengths and right checksums', async (t) => {
  for (let round = 0; round < rounds; round++) {
    const shape = shapeOf(random.below(3) > 0)
    const length = write(shape, 1024)
    const whole = memory.bytes.slice(1024, 1024 + length)
    const out = fresh()
    if (!segment(memory, 1024, length, out)) t.fail(`refused, seed ${seed} round ${round}`)
    const headers = length - shape.payload
    const packets = packetsOf(out)
    if (packets.length !== Math.ceil(shape.payload / shape.size)) t.fail(`count, seed ${seed} round ${round}`)
    const payload = Buffer.concat(packets.map((packet) => packet.subarray(headers)))
    if (!payload.equals(whole.subarray(headers))) t.fail(`payload, seed ${seed} round ${round}`)
    for (const packet of packets) {
      const view = new DataView(packet.buffer)
      const total = shape.v4 ? view.getUint16(2) : view.getUint16(4) + 40
      if (total !== packet.length) t.fail(`length, seed ${seed} round ${round}`)
      if (shape.v4 && naiveSum(packet.subarray(0, 20)) !== 0xffff) t.fail(`header, round ${round}`)
      if (!transportValid(packet)) t.fail(`checksum, seed ${seed} round ${round}`)
    }
  }
})

/** Puts packets back into memory as if they had been opened, and coalesces them. */
function coalesce(packets: readonly Uint8Array[]): { pieces: number; whole: Uint8Array }[] {
  const coalescer = new Coalescer(memory, { limit: 1024, pieces: maxPieces })
  let at = 2 << 20
  for (const packet of packets) {
    at += 32
    memory.bytes.set(packet, at)
    coalescer.add(at, packet.length)
    at += packet.length + 16
  }
  const gathered = coalescer.finish()
  return Array.from({ length: gathered.count }, (_, index) => {
    const from = index === 0 ? 0 : (gathered.end[index - 1] ?? 0)
    const to = gathered.end[index] ?? 0
    const parts = Array.from({ length: to - from }, (_, piece) => {
      const start = (gathered.at[from + piece] ?? 0) - (piece === 0 ? 10 : 0)
      return memory.bytes.slice(
        start,
        (gathered.at[from + piece] ?? 0) + (gathered.length[from + piece] ?? 0),
      )
    })
    return { pieces: to - from, whole: Uint8Array.from(Buffer.concat(parts)) }
  })
}

/** Cuts what was coalesced again, each with its virtio header. */
function cutAgain(groups: readonly { whole: Uint8Array }[]): Uint8Array[] {
  return groups.flatMap(({ whole }) => {
    memory.bytes.set(whole, 1024 - 10)
    const out = fresh()
    return segment(memory, 1024, whole.length - 10, out) ? packetsOf(out) : []
  })
}

const same = (one: readonly Uint8Array[], other: readonly Uint8Array[]): boolean =>
  one.length === other.length &&
  one.every((packet, index) => Buffer.from(packet).equals(other[index] ?? packet))

test('coalescing and cutting again gives the same packets, and fewer writes', async (t) => {
  for (let round = 0; round < rounds; round++) {
    const out = fresh()
    segment(memory, 1024, write(shapeOf(true), 1024), out)
    const packets = packetsOf(out)
    const groups = coalesce(packets)
    if (!same(cutAgain(groups), packets)) t.fail(`not the same, seed ${seed} round ${round}`)
    if (groups.length !== 1) t.fail(`${groups.length} writes, seed ${seed} round ${round}`)
  }
})

test('a larger packet does not follow a smaller one in a run', async (t) => {
  const out = fresh()
  segment(memory, 1024, write({ ...shapeOf(true), payload: 1500, size: 500, flags: 0x10 }, 1024), out)
  const [small = new Uint8Array(0), ...others] = packetsOf(out)
  const [joined] = coalesce(others)
  const whole = joined?.whole ?? new Uint8Array(10)
  whole[1] = 0
  const [large = new Uint8Array(0)] = cutAgain([{ whole }])
  t.ok(transportValid(large))
  t.same(
    coalesce([small, large]).map(({ pieces }) => pieces),
    [1, 1],
  )
  t.same(coalesce([small, ...others]).length, 1)
})

test('a packet that was damaged stays alone and damaged', async (t) => {
  for (let round = 0; round < rounds; round++) {
    const out = fresh()
    segment(memory, 1024, write({ ...shapeOf(true), payload: 6000, size: 1000 }, 1024), out)
    const packets = packetsOf(out)
    const victim = packets[random.below(packets.length)] ?? new Uint8Array(1)
    const offset = random.below(victim.length)
    victim[offset] = (victim[offset] ?? 0) ^ (1 << random.below(8))
    const again = cutAgain(coalesce(packets))
    if (!same(again, packets)) t.fail(`mended, seed ${seed} round ${round} offset ${offset}`)
  }
})

test('headers that lie are refused', async (t) => {
  const base = { ...shapeOf(true), v4: true, options: 0, payload: 3000, size: 1000 }
  const lies: readonly [string, (at: number) => void][] = [
    ['segment size 0', (at) => memory.view.setUint16(at - 6, 0, true)],
    ['transport beyond the packet', (at) => memory.view.setUint16(at - 4, 60_000, true)],
    ['transport inside of the IP header', (at) => memory.view.setUint16(at - 4, 16, true)],
    ['another version', (at) => memory.view.setUint8(at - 9, 4)],
    ['an unknown kind', (at) => memory.view.setUint8(at - 9, 77)],
    ['another protocol', (at) => memory.view.setUint8(at + 9, 17)],
    ['a TCP header of nothing', (at) => memory.view.setUint8(at + 32, 0x10)],
  ]
  for (const [what, lie] of lies) {
    const length = write(base, 1024)
    lie(1024)
    const out = fresh()
    t.notOk(segment(memory, 1024, length, out), what)
    t.equal(out.count, 0)
  }
  for (let round = 0; round < rounds; round++) {
    memory.bytes.set(random.bytes(300), 1024 - 10)
    segment(memory, 1024, between(0, 290), fresh())
  }
  write(base, 1024)
  memory.bytes.fill(0, 1014, 1024)
  memory.bytes[1014] = 1
  memory.view.setUint16(1020, 65_000, true)
  t.notOk(segment(memory, 1024, 100, fresh()), 'a checksum field beyond the packet')
})

test('random bytes pass unchanged', async (t) => {
  for (let round = 0; round < rounds; round++) {
    const packets = Array.from({ length: 5 }, () => random.bytes(between(20, 100)))
    const groups = coalesce(packets)
    if (groups.some(({ pieces }) => pieces !== 1)) t.fail(`joined, seed ${seed} round ${round}`)
    const found = groups.map(({ whole }) => whole.slice(10))
    if (!same(found, packets)) t.fail(`changed, seed ${seed} round ${round}`)
  }
})
