/**
 * TAI64N timestamps of initiations (paper 5.1): 8 bytes of seconds, 4 of nanoseconds, big endian, so that they
 * compare as bytes. Strictly growing whatever the wall clock does; the low bits are cleared, so that they tell
 * nothing about the machine's clock.
 */
import type { Instant } from '../../model/time.ts'

export const TIMESTAMP_LENGTH = 12
/** TAI is ten seconds ahead at the epoch, in the label space that begins at 2^62. */
const BASE = 0x400000000000000an
/** 2^24 ns, about 16.8 ms: the step of whitened timestamps. */
const STEP = 1n << 24n
const SECOND = 1_000_000_000n

export class Tai64n {
  readonly #wall: () => Instant
  /** In nanoseconds of wall time. */
  last = 0n

  constructor(wall: () => Instant) {
    this.#wall = wall
  }

  /** Greater than every one before. */
  next(): Uint8Array {
    const nanos = BigInt(Math.max(0, Math.floor(this.#wall()))) * 1_000_000n
    const seen = whitened(nanos)
    this.last = seen > this.last ? seen : whitened(this.last + STEP)
    return encode(this.last)
  }
}

/** Clears the low 24 bits of the nanoseconds within their second. */
const whitened = (nanos: bigint): bigint => (nanos / SECOND) * SECOND + ((nanos % SECOND) / STEP) * STEP

function encode(nanos: bigint): Uint8Array {
  const bytes = new Uint8Array(TIMESTAMP_LENGTH)
  const view = new DataView(bytes.buffer)
  view.setBigUint64(0, BASE + nanos / SECOND)
  view.setUint32(8, Number(nanos % SECOND))
  return bytes
}

/** Whether one timestamp is later than another. */
export function isLater(one: Uint8Array, other: Uint8Array): boolean {
  for (let at = 0; at < TIMESTAMP_LENGTH; at++) {
    const difference = (one[at] ?? 0) - (other[at] ?? 0)
    if (difference !== 0) return difference > 0
  }
  return false
}
