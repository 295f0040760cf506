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
