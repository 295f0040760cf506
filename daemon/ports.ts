/**
 * The system's clock and randomness, as model/ports.ts wants them.
 */
import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import type { Clock, Random, Timer } from '../model/ports.ts'
import { type Instant, instant, type Millis, millis } from '../model/time.ts'

export class SystemClock implements Clock {
  #offset = 0
  #compareAt = 0

  now(): Instant {
    return instant(Date.now())
  }

  /** The monotonic clock, moved forward by what /proc/uptime shows the machine to have been suspended. */
  boot(): Millis {
    const monotonic = performance.now()
    if (monotonic >= this.#compareAt) {
      this.#compareAt = monotonic + 1000
      const uptime = Number.parseFloat(readFileSync('/proc/uptime', 'latin1')) * 1000
      if (uptime - monotonic - this.#offset > 100) this.#offset = uptime - monotonic
    }
    return millis(monotonic + this.#offset)
  }

  after(delay: Millis, action: () => void): Timer {
    const timer = setTimeout(action, delay).unref()
    return { cancel: () => clearTimeout(timer) }
  }
}

export class SystemRandom implements Random {
  bytes(length: number): Uint8Array {
    return randomBytes(length)
  }
}
