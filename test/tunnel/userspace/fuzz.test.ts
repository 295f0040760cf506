/**
 * Inner packets that lie about themselves, cut and coalesced: they may be dropped, but nothing outside of a packet
 * is read or written. What is read outside would make a difference between memory filled with zeros and with ones;
 * a read behind the last packet is outside of the memory.
 */
import { test } from 'tap'
import { Coalescer } from '../../../tunnel/userspace/coalesce.ts'
import { type Segments, segment } from '../../../tunnel/userspace/segment.ts'
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
const rounds = fuzzRounds(200_000)
const size = 24 * 1024
const areaSize = 16 * 1024
const limit = 64

/** What came out: undefined where the packet was refused. */
type Outcome = readonly Uint8Array[] | undefined

interface Subject {
  readonly arena: LyingArena
  /** Cuts the one packet of the arena. */
  cut(): Outcome
  /** Joins all of them: the pieces of each packet to write, one after the other. */
  join(): Outcome
}

function subjectOf(fill: number): Subject {
  const arena = new LyingArena(size, areaSize, fill)
  const coalescer = new Coalescer(arena, { limit: 16, pieces: 16 })
  const out = { count: 0, next: 0, end: arena.area.end, before: 16, after: 32 }
  const segments: Segments = { ...out, at: new Uint32Array(limit), length: new Uint32Array(limit) }
  const taken = (at: number, length: number): Uint8Array => {
    if (!arena.holds(at, length)) throw new RangeError(`${length} bytes at ${at}`)
    return arena.bytes.slice(at, at + length)
  }
  return {
    arena,
    cut() {
      segments.count = 0
      segments.next = arena.area.at
      const [{ at, length } = { at: 0, length: 0 }] = arena.packets
      if (!segment(arena, at, length, segments)) return undefined
      const { count } = segments
      return Array.from({ length: count }, (_, i) => taken(segments.at[i] ?? 0, segments.length[i] ?? 0))
    },
    join() {
      for (const { at, length } of arena.packets) coalescer.add(at, length)
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

const subjects = [subjectOf(0), subjectOf(0xff)] as const

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
  let packets = 0
  let joined = 0
  const judge = (outcome: Outcome, given: readonly Uint8Array[]): string | undefined => {
    const written = (outcome ?? []).reduce((sum, packet) => sum + packet.length - 10, 0)
    const came = given.reduce((sum, packet) => sum + packet.length - 10, 0)
    packets += given.length
    joined += given.length - (outcome?.length ?? 0)
    return written > came ? 'more came out than went in' : undefined
  }
  fuzz(rounds / 5, flowOf, (subject) => subject.join(), judge)
  t.ok(joined > packets / 20, `${joined} of ${packets} packets were joined to others`)
})
