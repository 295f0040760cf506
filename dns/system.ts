/**
 * The clock and the randomness of the DNS worker. Its clock stands still while the machine sleeps: what the cache
 * holds then is kept a little longer, no more.
 */
import { createHmac, randomBytes, randomFillSync } from 'node:crypto'
import type { Clock, Random } from '../model/ports.ts'
import { instant, millis } from '../model/time.ts'

export const workerClock: Clock = {
  now: () => instant(Date.now()),
  boot: () => millis(performance.now()),
  after: (delay, action) => {
    const timer = setTimeout(action, delay).unref()
    return { cancel: () => clearTimeout(timer) }
  },
}

const secret = randomBytes(32)

/** Keyed anew with every start of the thread: an old cookie is then merely replaced. */
export const workerHash = (bytes: Uint8Array): Uint8Array =>
  createHmac('sha256', secret).update(bytes).digest()

export const workerRandom: Random = {
  bytes: (length) => randomFillSync(new Uint8Array(length)),
}
