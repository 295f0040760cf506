/**
 * Inner packets that lie about themselves, cut and coalesced: they may be dropped, but nothing outside of a packet
 * is read or written. What is read outside would make a difference between memory filled with zeros and with ones;
 * a read behind the last packet is outside of the memory.
 */
import { test } from 'tap'
import { plainSum, type Sum } from '../../../tunnel/userspace/checksum.ts'
import { Coalescer } from '../../../tunnel/userspace/coalesce.ts'
import { SEGMENTER_ROOM, Segmenter } from '../../../tunnel/userspace/segment.ts'
import { summedMemory } from '../../../tunnel/userspace/simd-sum.ts'
import {
  completed,
  honestPacket,
  LyingArena,
  lie,
  randomShape,
  type Shape,
} from '../../support/lying-packets.ts'
import { SeededRandom } from '../../support/ports.ts'
import { fuzzRounds } from '../../support/wireguard.ts'

const seed = Number(process.env.DROVER_SEED ?? 9)
const sizes = { all: 8192, area: SEGMENTER_ROOM }

/** What came out: undefined where the packet was refused. */
type Outcome = readonly Uint8Array[] | undefined

interface Subject {
  readonly arena: LyingArena
  /** Cuts the one packet of the arena. */
  cut(): Outcome
  /** Joins all of them: the pieces of each packet to write, one after the other. */
  join(): Outcome
}

/** Whether a checksum is left to the receiver: the same for both subjects. */
const isMarked = (length: number): boolean => length % 3 === 0

function subjectOf(fill: number, { buffer, sum }: { buffer: ArrayBuffer; sum: Sum }): Subject {
  const arena = new LyingArena(buffer, sizes, fill)
  const memory = { bytes: arena.bytes, view: arena.view, sum }
  const coalescer = new Coalescer(memory, { limit: 16, pieces: 16, udp: true, completes: true })
  const segmenter = new Segmenter(memory, { scratch: arena.area.at })
  const taken = (at: number, length: number): Uint8Array => {
    if (!arena.holds(at, length)) throw new RangeError(`${length} bytes at ${at}`)
    return arena.bytes.slice(at, at + length)
  }
  return {
    arena,
    cut() {
      const [{ at, length } = { at: 0, length: 0 }] = arena.packets
      if (!segmenter.begin(at, length, isMarked(length))) return undefined
      const segments: Uint8Array[] = []
      while (segmenter.next()) {
        segments.push(taken(segmenter.at, segmenter.length))
        // What sealing may overwrite: padding behind a segment.
        const end = segmenter.at + segmenter.length
        arena.bytes.fill(0xee, end, Math.min(end + (-segmenter.length & 15), at + length))
      }
      return segments
    },
    join() {
      for (const { at, length } of arena.packets) coalescer.add(at, length, isMarked(length))
      const { count, end, at, length } = coalescer.finish()
      return Array.from({ length: count }, (_, packet) => {
        const from = packet === 0 ? 0 : (end[packet - 1] ?? 0)
        const pieces = Array.from({ length: (end[packet] ?? 0) - from }, (_, piece) => {
          const head = piece === 0 ? 10 : 0
          return taken((at[from + piece] ?? 0) - head, (length[from + piece] ?? 0) + head)
        })
        return Uint8Array.from(Buffer.concat(pieces))
      })
    },
  }
}

const plainMemory = (() => {
  const buffer = new ArrayBuffer(sizes.all)
  return { buffer, sum: plainSum(new DataView(buffer)) }
})()
/** One sums in JavaScript, one with SIMD: they must agree, too. */
const subjects = [subjectOf(0, plainMemory), subjectOf(0xff, summedMemory(sizes.all) ?? plainMemory)] as const

const same = (one: Outcome, other: Outcome): boolean =>
  one === other ||
  (one !== undefined &&
    one.length === other?.length &&
    one.every((packet, index) => Buffer.compare(packet, other[index] ?? packet) === 0))

/** The outcome of both subjects, which is the same; throws where memory outside of the packets matters. */
function outcomeOf(packets: readonly Uint8Array[], act: (subject: Subject) => Outcome): Outcome {
  const outcomes = subjects.map((subject) => {
    subject.arena.put(packets)
    const outcome = act(subject)
    if (subject.arena.touched) throw new RangeError('written outside of the packets')
    return outcome
  })
  if (!same(outcomes[0], outcomes[1])) throw new RangeError('read outside of the packets')
  return outcomes[0]
}

const shown = (packets: readonly Uint8Array[]): string =>
  packets.map((packet) => Buffer.from(packet).toString('hex')).join('\n')

function fuzz(
  count: number,
  next: (random: SeededRandom) => readonly Uint8Array[],
  act: (subject: Subject) => Outcome,
  judge: (outcome: Outcome, packets: readonly Uint8Array[]) => string | undefined,
): void {
  const random = new SeededRandom(seed)
  for (let round = 0; round < count; round++) {
    const packets = next(random)
    try {
      const wrong = judge(outcomeOf(packets, act), packets)
      if (wrong !== undefined) throw new RangeError(wrong)
    } catch (cause) {
      throw new Error(`DROVER_SEED=${seed}, round ${round}:\n${shown(packets)}`, { cause })
    }
  }
}

test(`packets of the TUN device that lie are cut or dropped (DROVER_SEED=${seed})`, async (t) => {
  const rounds = fuzzRounds(200_000)
  let refused = 0
  let segments = 0
  const next = (random: SeededRandom): readonly Uint8Array[] => {
    const offload = random.below(4) > 0
    const shape = randomShape(random, offload ? 3000 : 300)
    return [lie(random, honestPacket(random, shape, offload ? 1 + random.below(400) : 0))]
  }
  const judge = (outcome: Outcome): string | undefined => {
    if (outcome === undefined) refused++
    else segments += outcome.length
    return outcome?.some((packet) => packet.length > 3100) === true ? 'a segment is too long' : undefined
  }
  fuzz(rounds, next, (subject) => subject.cut(), judge)
  t.ok(refused > rounds / 10 && refused < rounds * 0.9, `${refused} of ${rounds} refused`)
  t.ok(segments > rounds, `${segments} segments`)
})

/** A run of one flow, of which some lie. */
function flowOf(random: SeededRandom): readonly Uint8Array[] {
  const shape = randomShape(random, 400)
  let sequence = random.below(2 ** 31)
  return Array.from({ length: 1 + random.below(5) }, () => {
    const payload = random.below(5) === 0 ? random.below(shape.payload + 1) : shape.payload
    const part: Shape = { ...shape, payload }
    const packet = completed(part, honestPacket(random, part, 0, sequence))
    sequence = (sequence + payload) >>> 0
    return random.below(3) === 0 ? lie(random, packet) : packet
  })
}

test(`packets of peers that lie are written as they are or joined (DROVER_SEED=${seed})`, async (t) => {
  const rounds = fuzzRounds(40_000)
  let packets = 0
  let joined = 0
  const judge = (outcome: Outcome, given: readonly Uint8Array[]): string | undefined => {
    const written = (outcome ?? []).reduce((sum, packet) => sum + packet.length - 10, 0)
    const came = given.reduce((sum, packet) => sum + packet.length - 10, 0)
    packets += given.length
    joined += given.length - (outcome?.length ?? 0)
    return written > came ? 'more came out than went in' : undefined
  }
  fuzz(rounds, flowOf, (subject) => subject.join(), judge)
  t.ok(joined > packets / 20, `${joined} of ${packets} packets were joined to others`)
})
