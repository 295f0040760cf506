/**
 * The largest packet that the path to one peer carries inside of the tunnel: path MTU discovery by probes at the
 * packetization layer (RFC 8899), sans IO. Sizes to ask for come out, which of them were answered goes in. It
 * believes no size that was not answered, and gives one up only for several losses while a smaller one passes:
 * a peer that does not answer at all changes nothing.
 */
import { type Millis, millis, minutes, seconds } from '../model/time.ts'
import type { BackendName } from './choice.ts'

/** WireGuard pads to a multiple of 16 bytes (paper 5.4.6): sizes between two of them are the same on the wire. */
const step = 16
/** MIN_PLPMTU: fits into the 576 bytes that every IPv4 host takes (RFC 791 3.2), tunnel included. */
const leastMtu = 512
/** Passes wherever anything does: says whether the peer answers at all. */
const marker = 64
/** MAX_PROBES of RFC 8899 5.1.2. */
const maxProbes = 3
/** One probe asks whether a narrow path has grown; RFC 8899's timer would make containers wait for ten minutes. */
const raiseEvery = seconds(60)
/** Without traffic nothing is lost; traffic asks by `suspect`. */
const confirmEvery = minutes(10)
const firstPause = seconds(1)
const lastPause = seconds(60)
/** Of one volley: seven sizes cut the range in eight. */
const volleySize = 7
const shortestWait = millis(250)
const longestWait = millis(2000)
const never = Number.POSITIVE_INFINITY

/**
 * What a tunnel puts around a packet: IP and UDP, then WireGuard's transport header and tag, or the header, IV, trailer
 * and tag of ESP (RFC 4303, RFC 4106), which pads the packets of a search by two bytes.
 */
export const overheadOver = (family: 4 | 6, backend: BackendName): number =>
  (family === 4 ? 20 : 40) + 8 + (backend === 'ipsec' ? 8 + 8 + 2 + 2 + 16 : 16 + 16)

type Phase =
  | { readonly is: 'complete' }
  /** `low` was answered in this search; 0 while nothing was. `losses`: how often larger sizes were not, in a row. */
  | { readonly is: 'searching'; low: number; readonly losses: Map<number, number> }

export class PathMtuSearch {
  readonly #most: number
  #ceiling: number
  #mtu: number | undefined
  #phase: Phase = { is: 'complete' }
  #asked: readonly number[] = []
  #confirmAt = Number.NEGATIVE_INFINITY
  #raiseAt = never
  #pause: number = firstPause
  /** Of the slowest of the last answers, milliseconds; shrinks slowly. */
  #roundTrip = 125

  /** `most`: the MTU of the tunnel's device. */
  constructor(most: number) {
    this.#most = most
    this.#ceiling = most
  }

  /** PLPMTU; undefined until a probe has been answered. */
  get mtu(): number | undefined {
    return this.#mtu
  }

  /** How long to wait for answers. */
  get patience(): Millis {
    return millis(Math.min(longestWait, Math.max(shortestWait, 4 * this.#roundTrip)))
  }

  /** When `next` has something to ask. */
  deadline(): number {
    if (this.#asked.length > 0) return never
    if (this.#phase.is === 'searching') return Number.NEGATIVE_INFINITY
    return Math.min(this.#confirmAt, this.#raiseAt)
  }

  /** The sizes to ask for now; then `settle`. */
  next(now: Millis): readonly number[] {
    if (this.deadline() > now) return []
    this.#asked = this.#phase.is === 'searching' ? this.#volley(this.#phase) : this.#upkeep(now)
    return this.#asked
  }

  /** What became of the sizes that `next` gave: answered ones with their round-trip time, the others are lost. */
  settle(answers: ReadonlyMap<number, Millis>, now: Millis): void {
    const asked = this.#asked.filter((size) => size <= this.#ceiling)
    const answered = asked.filter((size) => answers.has(size))
    const lost = asked.filter((size) => !answers.has(size))
    this.#asked = []
    if (answers.size > 0) {
      this.#roundTrip = Math.max(0.75 * this.#roundTrip, ...answers.values())
      this.#pause = firstPause
    }
    const best = Math.max(0, ...answered)
    if (this.#phase.is === 'complete') this.#settleUpkeep(best, lost, now)
    else if (answers.size === 0) this.#giveUp(now)
    else {
      const { losses } = this.#phase
      this.#phase.low = Math.max(this.#phase.low, best)
      for (const size of lost) losses.set(size, (losses.get(size) ?? 0) + 1)
      this.#conclude(this.#phase, now)
    }
  }

  /** What the kernel has learned of the path from ICMP, less the tunnel's overhead: nothing larger is believed. */
  limit(size: number, now: Millis): void {
    const whole = size >= this.#most ? this.#most : size - (size % step)
    const ceiling = Math.min(this.#most, Math.max(leastMtu, whole))
    if (ceiling === this.#ceiling) return
    const fell = ceiling < this.#ceiling
    this.#ceiling = ceiling
    if (!fell) {
      if (this.#mtu !== undefined) this.#raiseAt = now
      return
    }
    if (this.#mtu !== undefined && this.#mtu > ceiling) this.#mtu = ceiling
    this.#phase = { is: 'complete' }
    this.#confirmAt = now
    this.#raiseAt = this.#mtu === undefined || this.#mtu === ceiling ? never : now
  }

  /** Large packets may be on their way into a hole: asks for the present size at once. */
  suspect(now: Millis): void {
    this.#confirmAt = Math.min(this.#confirmAt, now)
  }

  /** For tests: throws where the state contradicts itself. */
  checkInvariants(): void {
    const isSize = (size: number): boolean =>
      size >= leastMtu && size <= this.#ceiling && (size % step === 0 || size === this.#most)
    if (!isSize(this.#ceiling)) throw new RangeError(`ceiling ${this.#ceiling}`)
    if (this.#mtu !== undefined && !isSize(this.#mtu)) throw new RangeError(`mtu ${this.#mtu}`)
    if (this.#asked.length > volleySize + 2) throw new RangeError(`${this.#asked.length} probes at once`)
    if (this.#phase.is === 'complete') return
    const { low, losses } = this.#phase
    if (low > 0 && low !== marker && !isSize(low)) throw new RangeError(`low ${low}`)
    for (const [size, count] of losses)
      if (size <= low || !isSize(size) || count > maxProbes)
        throw new RangeError(`${size} was lost ${count} times above ${low}`)
  }

  /** Confirms the present size, or the first; asks whether the next larger one passes by now. */
  #upkeep(now: Millis): readonly number[] {
    const present = this.#mtu ?? this.#ceiling
    const larger = this.#above(present)
    const sizes: number[] = []
    if (this.#confirmAt <= now) {
      sizes.push(present)
      this.#confirmAt = now + confirmEvery
    }
    if (this.#raiseAt <= now && larger !== undefined) sizes.push(larger)
    if (this.#raiseAt <= now) this.#raiseAt = larger === undefined ? never : now + raiseEvery
    return sizes
  }

  #settleUpkeep(best: number, lost: readonly number[], now: Millis): void {
    const present = this.#mtu ?? this.#ceiling
    if (lost.includes(present) && best < present) {
      this.#phase = { is: 'searching', low: 0, losses: new Map([[present, 1]]) }
      return
    }
    if (best < present) return
    const grown = best > present
    this.#mtu = best
    if (best === this.#ceiling) this.#raiseAt = never
    else if (grown) this.#phase = { is: 'searching', low: best, losses: new Map() }
    else if (this.#raiseAt === never) this.#raiseAt = now + raiseEvery
  }

  /**
   * Sizes that cut what is open into equal parts, once more the least that was lost, and one that is sure to pass:
   * without its answer the others' silence says nothing.
   */
  #volley({ low, losses }: Phase & { readonly is: 'searching' }): readonly number[] {
    const lost = least(losses)
    const open: number[] = []
    for (let size = this.#above(low); size !== undefined && size < (lost ?? never); size = this.#above(size))
      open.push(size)
    const sizes = spread(open, volleySize, lost === undefined)
    sizes.unshift(low === 0 ? marker : low)
    if (lost !== undefined && (losses.get(lost) ?? 0) < maxProbes) sizes.push(lost)
    return sizes
  }

  /** Once no size is open, what was answered counts; once the next one was lost often enough, the search ends. */
  #conclude({ low, losses }: Phase & { readonly is: 'searching' }, now: Millis): void {
    for (const size of losses.keys()) if (size <= low) losses.delete(size)
    const lost = least(losses)
    const larger = this.#above(low)
    if (larger !== undefined && larger !== lost) return
    const total = [...losses.values()].reduce((sum, count) => sum + count, 0)
    const found = Math.max(leastMtu, low)
    if (total >= maxProbes || found > (this.#mtu ?? found)) this.#mtu = found
    if (lost !== undefined && (losses.get(lost) ?? 0) < maxProbes) return
    this.#mtu = found
    this.#phase = { is: 'complete' }
    this.#confirmAt = now + confirmEvery
    this.#raiseAt = found === this.#ceiling ? never : now + raiseEvery
  }

  /** Nothing was answered, not even the smallest: that says nothing of sizes. */
  #giveUp(now: Millis): void {
    this.#roundTrip = Math.min(2 * this.#roundTrip, longestWait / 4)
    this.#phase = { is: 'complete' }
    this.#confirmAt = now + this.#pause
    this.#pause = Math.min(2 * this.#pause, lastPause)
  }

  /** The next larger size that makes a difference; undefined at the ceiling. */
  #above(size: number): number | undefined {
    if (size < leastMtu) return leastMtu
    return size >= this.#ceiling ? undefined : Math.min(size - (size % step) + step, this.#ceiling)
  }
}

const least = (losses: ReadonlyMap<number, number>): number | undefined =>
  losses.size === 0 ? undefined : Math.min(...losses.keys())

/** At most `count` of the sizes, evenly; with `last`, the largest is among them. */
function spread(sizes: readonly number[], count: number, last: boolean): number[] {
  if (sizes.length <= count) return [...sizes]
  const parts = last ? count : count + 1
  const picked = Array.from({ length: count }, (_, at) => {
    const index = Math.round(((at + 1) * (sizes.length + (last ? 0 : 1))) / parts) - 1
    return sizes[index] ?? 0
  })
  return [...new Set(picked)]
}
