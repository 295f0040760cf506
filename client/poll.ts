/**
 * How to wait for a change of what was seen: the query of a long poll. Pure.
 */

/** What the last question brought. */
export interface Seen {
  /** Undefined where nothing is. */
  readonly value: unknown
  readonly etag: string | null
}

/** `seconds` as the service takes them. */
export const pollQuery = (value: string, seconds: number): string =>
  `?${new URLSearchParams({ wait: 'true', value, maxWait: String(seconds) })}`

/**
 * What to give as `value=` so that the poll ends when something else is there. Undefined where the path itself cannot
 * be waited for, and `/version` must be: the original knows no ETag, so only scalars; null and fractions have more
 * than one text.
 */
export function heldValue({ value, etag }: Seen): string | undefined {
  if (value === undefined) return ''
  if (typeof value === 'string') return value
  if (typeof value === 'boolean' || Number.isSafeInteger(value)) return String(value)
  return typeof value === 'object' && value !== null && etag !== null ? etag : undefined
}
