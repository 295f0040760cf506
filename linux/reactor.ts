/**
 * Waits in the kernel until one of a few descriptors is ready or a time is over: the heart of a blocking packet
 * loop in a thread of its own. Never use it in a thread that has an event loop to serve.
 */
import { errors, type Libc } from './ffi.ts'

const pollfdSize = 8
const event = { in: 1, out: 4, error: 8 | 16 | 32 }

export type Readiness = 'idle' | 'readable' | 'broken'

export class Reactor {
  readonly #libc: Libc
  readonly #table: number
  readonly #limit: number
  #count = 0

  constructor(libc: Libc, limit = 8) {
    this.#libc = libc
    this.#limit = limit
    this.#table = libc.arena.take(limit * pollfdSize)
  }

  /** Replaces what is waited for; `ready` then speaks of the same order. */
  watch(fds: readonly number[]): void {
    if (fds.length > this.#limit) throw new RangeError('too many descriptors')
    const { view } = this.#libc.arena
    for (let index = 0; index < fds.length; index++) {
      view.setInt32(this.#table + index * pollfdSize, fds[index] ?? -1, true)
      view.setUint32(this.#table + index * pollfdSize + 4, event.in, true)
    }
    this.#count = fds.length
  }

  /** Blocks for `timeout` milliseconds at most, without end when it is negative. */
  wait(timeout: number): void {
    const result = this.#libc.poll(this.#table, this.#count, timeout)
    if (result < 0 && result !== -errors.EINTR) throw new RangeError(`poll answers ${result}`)
    if (result < 0) this.watch(this.#fds())
  }

  /** Blocks until one descriptor is ready, or broken. Replaces what is waited for. */
  until(fd: number, wanted: 'readable' | 'writable'): void {
    this.watch([fd])
    if (wanted === 'writable') this.#libc.arena.view.setUint32(this.#table + 4, event.out, true)
    this.wait(-1)
  }

  ready(index: number): Readiness {
    const revents = this.#libc.arena.view.getUint16(this.#table + index * pollfdSize + 6, true)
    if ((revents & event.error) !== 0) return 'broken'
    return (revents & event.in) !== 0 ? 'readable' : 'idle'
  }

  /** The descriptors again: `watch` with them clears what `ready` says. */
  #fds(): number[] {
    return Array.from({ length: this.#count }, (_, index) =>
      this.#libc.arena.view.getInt32(this.#table + index * pollfdSize, true),
    )
  }
}
