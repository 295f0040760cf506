/**
 * When the device counts as under load, and who may still speak to it then (paper 5.3 and 5.4.7): a load meter
 * over handshake messages, and token buckets per source address. Memory is bounded whatever arrives.
 */
import type { Endpoint } from './endpoint.ts'

const WINDOW = 1000
/** Load lasts this long after the last overfull window, so that the state does not flap. */
const AFTERGLOW = 1000

export interface LoadState {
  /** When the present window began, and what it has counted. */
  readonly from: number
  readonly count: number
  /** Until when the device counts as under load. */
  readonly until: number
}

export class LoadMeter {
  readonly #limit: number
  #from = noLoad.from
  #count = noLoad.count
  #until = noLoad.until

  /** `limit` messages a second are still no load. */
  constructor(limit: number) {
    this.#limit = limit
  }

  state(): LoadState {
    return { from: this.#from, count: this.#count, until: this.#until }
  }

  restore({ from, count, until }: LoadState): void {
    this.#from = from
    this.#count = count
    this.#until = until
  }

  /** Counts one message and says whether the device is under load. */
  note(now: number): boolean {
    if (now - this.#from >= WINDOW) {
      this.#from = now
      this.#count = 0
    }
    this.#count++
    if (this.#count > this.#limit) this.#until = now + AFTERGLOW
    return now < this.#until
  }
}

/** Before the first message. */
export const noLoad: LoadState = {
  from: Number.NEGATIVE_INFINITY,
  count: 0,
  until: Number.NEGATIVE_INFINITY,
}

const RATE = 20 // messages a second, as in wireguard-go and the kernel
const BURST = 5
const COST = 1000 / RATE
const MAX_TOKENS = BURST * COST
const SOURCES = 4096

interface Bucket {
  tokens: number
  at: number
}

/** By IPv4 address or IPv6 /64. A full table refuses strangers until old buckets have filled up again. */
export class SourceLimiter {
  readonly #buckets = new Map<string, Bucket>()
  #sweptAt = 0

  get size(): number {
    return this.#buckets.size
  }

  allows(from: Endpoint, now: number): boolean {
    this.#sweep(now)
    const key = from.bytes.subarray(0, from.family === 4 ? 4 : 8).join()
    const bucket = this.#buckets.get(key)
    if (bucket === undefined) {
      if (this.#buckets.size >= SOURCES) return false
      this.#buckets.set(key, { tokens: MAX_TOKENS - COST, at: now })
      return true
    }
    bucket.tokens = Math.min(MAX_TOKENS, bucket.tokens + (now - bucket.at))
    bucket.at = now
    if (bucket.tokens < COST) return false
    bucket.tokens -= COST
    return true
  }

  #sweep(now: number): void {
    if (now - this.#sweptAt < WINDOW) return
    this.#sweptAt = now
    for (const [key, bucket] of this.#buckets) if (now - bucket.at > WINDOW) this.#buckets.delete(key)
  }
}
