/**
 * Time as values with units. Nothing here reads a clock: `Clock` in ports.ts is the only source of time.
 */
import type { Branded } from './brand.ts'

/** A duration in milliseconds. */
export type Millis = Branded<number, 'Millis'>

/** A point in wall time, milliseconds since the Unix epoch. */
export type Instant = Branded<number, 'Instant'>

export const millis = (value: number): Millis => value as Millis
export const seconds = (value: number): Millis => (value * 1000) as Millis
export const minutes = (value: number): Millis => (value * 60_000) as Millis
export const instant = (value: number): Instant => value as Instant

export const later = (from: Instant, by: Millis): Instant => (from + by) as Instant

const units = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const

/** `90s`, `30m`, `1h` or `7d`; undefined for anything else. */
export function parseDuration(text: string): Millis | undefined {
  const [, count, unit] = /^(\d{1,6})([smhd])$/.exec(text) ?? []
  if (count === undefined || Number(count) === 0) return undefined
  return (Number(count) * units[unit as keyof typeof units]) as Millis
}
