import { test } from 'tap'
import { maxPieces } from '../../../linux/tun.ts'
import { plainSum } from '../../../tunnel/userspace/checksum.ts'
import { Coalescer, type CoalescerOptions } from '../../../tunnel/userspace/coalesce.ts'
import { SEGMENTER_ROOM, Segmenter } from '../../../tunnel/userspace/segment.ts'
import { summedMemory } from '../../../tunnel/userspace/simd-sum.ts'
import { SeededRandom } from '../../support/ports.ts'

const summed = summedMemory(4 << 20)
if (summed === undefined) throw new TypeError('this Node has no SIMD')
const view = new DataView(summed.buffer)
const memory = { bytes: new Uint8Array(summed.buffer), view, sum: summed.sum }
const segmenter = new Segmenter(memory, { scratch: 4096 - SEGMENTER_ROOM })
/** Where the packet to be cut lies. */
const here = 8192
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

interface Cut {
  readonly packet: Uint8Array
  readonly mark: number
}

/**
 * The segments of what lies `here`; undefined when it lies. Each is used as sealing uses it: what is in front of it
 * and up to 15 bytes behind it are overwritten before the next.
 */
function cut(length: number, marks = false): Cut[] | undefined {
  if (!segmenter.begin(here, length, marks)) return undefined
  const packets: Cut[] = []
  while (segmenter.next()) {
    const { at, mark } = segmenter
    packets.push({ packet: memory.bytes.slice(at, at + segmenter.length), mark })
    memory.bytes.fill(0xdd, at - 64, at - 32)
    memory.bytes.fill(0, at + segmenter.length, at + ((segmenter.length + 15) & ~15))
  }
  return packets
}

const packetsOf = (length: number): Uint8Array[] => (cut(length) ?? []).map(({ packet }) => packet)

const shapeOf = (tcp: boolean): Shape => ({
  v4: random.below(2) === 0,
  tcp,
  options: tcp ? random.below(11) : 0,
  payload: between(1, 20_000),
  size: random.below(10) === 0 ? between(1, 60) : between(100, 1500),
  flags: 0x10 | (random.below(4) === 0 ? 0x08 : 0) | (random.below(8) === 0 ? 0x01 : 0),
  port: between(1, 60_000),
})

test('segments have the whole payload, right lengths and right checksums', async (t) => {
  for (let round = 0; round < rounds; round++) {
    const shape = shapeOf(random.below(3) > 0)
    const length = write(shape, here)
    const whole = memory.bytes.slice(here, here + length)
    const headers = length - shape.payload
    const packets = packetsOf(length)
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

test('checksums left to the receiver are those of the pseudo header', async (t) => {
  for (let round = 0; round < rounds; round++) {
    const shape = shapeOf(random.below(3) > 0)
    const length = write(shape, here)
    const whole = memory.bytes.slice(here - 10, here + length)
    const complete = packetsOf(length)
    memory.bytes.set(whole, here - 10)
    const marked = cut(length, true) ?? []
    if (marked.length !== complete.length) t.fail(`count, seed ${seed} round ${round}`)
    for (const [index, { packet, mark }] of marked.entries()) {
      const start = shape.v4 ? 20 : 40
      const field = start + (shape.tcp ? 16 : 6)
      const sum = naiveSum(packet.subarray(start))
      const checksum = ~sum & 0xffff
      new DataView(packet.buffer).setUint16(field, checksum === 0 && !shape.tcp ? 0xffff : checksum)
      if (mark !== 1 || !same([packet], [complete[index] ?? packet]))
        t.fail(`completed otherwise, seed ${seed} round ${round}`)
    }
  }
})

test('what is no plain TCP or UDP goes out complete, whatever the receiver can', async (t) => {
  const single = (change: (at: number) => void): Cut | undefined => {
    const length = write({ ...shapeOf(false), v4: true, payload: 100 }, here)
    memory.bytes[here - 9] = 0
    change(here)
    return cut(length, true)?.[0]
  }
  t.equal(single(() => undefined)?.mark, 1)
  const fragment = single((at) => view.setUint16(at + 6, 0x2000))
  t.equal(fragment?.mark, 0)
  t.equal(single((at) => view.setUint8(at + 9, 136))?.mark, 0, 'UDP-Lite')
  t.equal(single((at) => view.setUint16(at + 24, 1))?.mark, 0, 'a UDP length that lies')
  t.equal(single((at) => view.setUint8(at - 10, 0))?.mark, 0, 'it was complete')
  const plain = single((at) => view.setUint8(at - 10, 0))
  t.ok(plain !== undefined && fragment !== undefined)
})

interface Group {
  readonly pieces: number
  /** With its virtio header. */
  readonly whole: Uint8Array
}

/** Puts packets back into memory as if they had been opened, and coalesces them. */
function coalesce(
  packets: readonly Uint8Array[],
  marked: (index: number) => boolean = () => false,
  options: Partial<CoalescerOptions> = {},
): Group[] {
  const coalescer = new Coalescer(memory, {
    limit: 4096,
    pieces: maxPieces,
    udp: true,
    completes: true,
    ...options,
  })
  let at = 2 << 20
  for (const [index, packet] of packets.entries()) {
    at += 64
    memory.bytes.set(packet, at)
    coalescer.add(at, packet.length, marked(index))
    at += packet.length + 16
  }
  const gathered = coalescer.finish()
  return Array.from({ length: gathered.count }, (_, index) => {
    const from = index === 0 ? 0 : (gathered.end[index - 1] ?? 0)
    const to = gathered.end[index] ?? 0
    const parts = Array.from({ length: to - from }, (_, piece) => {
      const place = gathered.at[from + piece] ?? 0
      return memory.bytes.slice(place - (piece === 0 ? 10 : 0), place + (gathered.length[from + piece] ?? 0))
    })
    return { pieces: to - from, whole: Uint8Array.from(Buffer.concat(parts)) }
  })
}

/** Cuts what was coalesced again, each with its virtio header. */
function cutAgain(groups: readonly { whole: Uint8Array }[]): Uint8Array[] {
  return groups.flatMap(({ whole }) => {
    memory.bytes.set(whole, here - 10)
    return packetsOf(whole.length - 10)
  })
}

const sorted = (packets: readonly Uint8Array[]): Uint8Array[] => [...packets].sort(Buffer.compare)

const same = (one: readonly Uint8Array[], other: readonly Uint8Array[]): boolean =>
  one.length === other.length &&
  one.every((packet, index) => Buffer.from(packet).equals(other[index] ?? packet))

/** A shape whose segments a receiver may join: no more than the longest run, none of nothing. */
const joinable = (tcp: boolean): Shape => {
  const shape = { ...shapeOf(tcp), size: between(400, 1500) }
  return { ...shape, flags: shape.flags & ~0x01 }
}

test('coalescing and cutting again gives the same packets, and fewer writes', async (t) => {
  for (let round = 0; round < rounds; round++) {
    const packets = packetsOf(write(joinable(random.below(3) > 0), here))
    const groups = coalesce(packets)
    if (!same(cutAgain(groups), packets)) t.fail(`not the same, seed ${seed} round ${round}`)
    if (groups.length !== 1) t.fail(`${groups.length} writes, seed ${seed} round ${round}`)
  }
})

test('packets whose checksums were left to us are joined without being summed, also with others', async (t) => {
  for (let round = 0; round < rounds; round++) {
    const length = write(joinable(random.below(3) > 0), here)
    const whole = memory.bytes.slice(here - 10, here + length)
    const complete = packetsOf(length)
    memory.bytes.set(whole, here - 10)
    const marked = (cut(length, true) ?? []).map(({ packet }) => packet)
    const left = complete.map(() => random.below(2) === 0)
    const mixed = complete.map((packet, index) => (left[index] ? (marked[index] ?? packet) : packet))
    const groups = coalesce(mixed, (index) => left[index] === true)
    if (groups.length !== 1) t.fail(`${groups.length} writes, seed ${seed} round ${round}`)
    if (!same(cutAgain(groups), complete)) t.fail(`not the same, seed ${seed} round ${round}`)
    const single = coalesce(mixed, (index) => left[index] === true, { pieces: 1 })
    if (!same(cutAgain(single), complete)) t.fail(`not completed, seed ${seed} round ${round}`)
    const bare = coalesce(mixed, (index) => left[index] === true, { pieces: 1, completes: false })
    const found = bare.map((group) => group.whole.slice(10))
    if (!same(found, complete)) t.fail(`not completed by ourselves, seed ${seed} round ${round}`)
  }
})

test('a marked packet that cannot have been sent so is dropped', async (t) => {
  const coalescer = new Coalescer(memory, { limit: 8, pieces: 4, udp: true, completes: true })
  const length = write({ ...shapeOf(true), v4: true, payload: 100, size: 100 }, here)
  t.ok(coalescer.add(here, length, true))
  view.setUint16(here + 6, 0x2000)
  t.notOk(coalescer.add(here, length, true), 'a fragment')
  t.notOk(coalescer.add(here, 24, true), 'too short for anything')
  t.equal(coalescer.finish().count, 1)
})

test('UDP is joined only where the device can cut it again', async (t) => {
  const packets = packetsOf(write({ ...joinable(false), payload: 5000, size: 1000 }, here))
  t.equal(coalesce(packets).length, 1)
  t.equal(coalesce(packets, () => false, { udp: false }).length, packets.length)
  const many = packetsOf(write({ ...joinable(false), payload: 13_000, size: 100 }, here))
  t.same(
    coalesce(many).map(({ pieces }) => pieces),
    [64, 64, 2],
    'the kernel takes 64 segments',
  )
})

test('UDP without a checksum stays alone and keeps its place', async (t) => {
  const packets = packetsOf(write({ ...joinable(false), v4: true, payload: 4000, size: 1000 }, here))
  const bare = packets[1] ?? new Uint8Array(1)
  new DataView(bare.buffer).setUint16(26, 0)
  const groups = coalesce(packets)
  t.same(
    groups.map(({ pieces }) => pieces),
    [1, 1, 2],
  )
  t.ok(same([groups[1]?.whole.slice(10) ?? bare], [bare]))
})

test('a larger packet does not follow a smaller one in a run', async (t) => {
  for (const tcp of [true, false]) {
    const shape = { ...shapeOf(tcp), options: 0, flags: 0x10 }
    const packets = packetsOf(write({ ...shape, payload: 1300, size: 500 }, here))
    const large = packetsOf(write({ ...shape, payload: 900, size: 900 }, here))
    const [small = new Uint8Array(0)] = packets.slice(2)
    const head = (packet: Uint8Array): Uint8Array => {
      // The same flow, and a sequence that follows.
      packet.set(small.subarray(0, 2))
      return packet
    }
    t.same(
      coalesce([small, ...large.map(head)]).map(({ pieces }) => pieces),
      [1, 1],
    )
    t.same(coalesce(packets).length, 1)
  }
})

test('a packet that was damaged stays alone and damaged', async (t) => {
  for (let round = 0; round < rounds; round++) {
    const shape = joinable(random.below(3) > 0)
    const packets = packetsOf(write({ ...shape, payload: 6000, size: 1000 }, here))
    const victim = packets[random.below(packets.length)] ?? new Uint8Array(1)
    const offset = random.below(victim.length)
    victim[offset] = (victim[offset] ?? 0) ^ (1 << random.below(8))
    const again = cutAgain(coalesce(packets))
    // Of UDP, what is behind it may overtake it: it may be of another flow now, or no UDP at all.
    const ordered = shape.tcp ? same(again, packets) : same(sorted(again), sorted(packets))
    if (!ordered) t.fail(`mended, seed ${seed} round ${round} offset ${offset}`)
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
    ['a fragment', (at) => memory.view.setUint16(at + 6, 0x2000)],
    ['a TCP header of nothing', (at) => memory.view.setUint8(at + 32, 0x10)],
  ]
  for (const [what, lie] of lies) {
    const length = write(base, here)
    lie(here)
    t.equal(cut(length), undefined, what)
    t.notOk(segmenter.next())
  }
  for (let round = 0; round < rounds; round++) {
    memory.bytes.set(random.bytes(300), here - 10)
    cut(between(0, 290), round % 2 === 0)
  }
  write(base, here)
  memory.bytes.fill(0, here - 10, here)
  memory.bytes[here - 10] = 1
  view.setUint16(here - 4, 65_000, true)
  t.equal(cut(100), undefined, 'a checksum field beyond the packet')
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

test('sums by SIMD are those of JavaScript', async (t) => {
  const plain = plainSum(view)
  memory.bytes.set(random.bytes(70_000), 1 << 20)
  memory.bytes.fill(0xff, (1 << 20) + 70_000, (1 << 20) + 140_000)
  for (let round = 0; round < 10 * rounds; round++) {
    const at = (1 << 20) + random.below(74_000)
    const length = round % 2 === 0 ? random.below(200) : random.below(65_536)
    if (memory.sum(at, length) !== plain(at, length)) t.fail(`${length} bytes at ${at}, seed ${seed}`)
  }
  t.throws(() => memory.sum((4 << 20) - 10, 20), /out of bounds/)
})
