/** The machine's own clock, for tests that wait for the real thing. */
import type { Clock } from '../../model/ports.ts'
import { instant, millis } from '../../model/time.ts'

export const realClock: Clock = {
  now: () => instant(Date.now()),
  boot: () => millis(performance.now()),
  after: (delay, action) => {
    const timer = setTimeout(action, delay)
    return { cancel: () => clearTimeout(timer) }
  },
}

/** Timers of the machine, while the time of day stands still: a slow machine makes nothing older. */
export const standingClock: Clock = { ...realClock, now: () => instant(0), boot: () => millis(0) }
