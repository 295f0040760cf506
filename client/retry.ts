/**
 * When to try again: exponential backoff with jitter, so that a thousand containers that lost their server do not
 * come back in one instant.
 */

const first = 200
const longest = 10_000

/** Milliseconds before try `attempt` (1 is the first repetition); `random` is in [0, 1). */
export function delayBefore(attempt: number, random: number): number {
  const whole = Math.min(longest, first * 2 ** Math.min(attempt - 1, 20))
  return whole / 2 + (whole / 2) * random
}
