/**
 * A stream between two processes that blocks: for a thread that has no event loop to serve and something to wait for.
 * Leaves no copy of what passes through. Knows nothing of messages.
 */
import { errors, type Libc } from './ffi.ts'
import type { Reactor } from './reactor.ts'

/** Bytes of the arena that streams of one thread pass through. */
export const STREAM_ROOM = 65_536

export interface StreamDeps {
  readonly libc: Libc
  readonly reactor: Reactor
  /** The offset of STREAM_ROOM bytes. */
  readonly room: number
}

export class Stream {
  readonly #deps: StreamDeps
  readonly #fd: number

  constructor(deps: StreamDeps, fd: number) {
    this.#deps = deps
    this.#fd = fd
  }

  /** Writes all; less where the other side has gone. */
  write(bytes: Uint8Array): void {
    const { libc, room } = this.#deps
    for (let at = 0; at < bytes.length; ) {
      const piece = bytes.subarray(at, at + STREAM_ROOM)
      libc.arena.bytes.set(piece, room)
      const written = libc.write(this.#fd, room, piece.length)
      if (written >= 0) at += written
      else if (!this.#again(written, 'writable')) break
    }
    this.#wipe()
  }

  /** What has come, at least a byte; undefined at the end. */
  read(): Uint8Array | undefined {
    const { libc, room } = this.#deps
    let length: number
    do length = libc.read(this.#fd, room, STREAM_ROOM)
    while (length < 0 && this.#again(length, 'readable'))
    const bytes = length > 0 ? libc.arena.bytes.slice(room, room + length) : undefined
    this.#wipe()
    return bytes
  }

  close(): void {
    this.#deps.libc.close(this.#fd)
  }

  /** Waits where that is all that is wrong. */
  #again(result: number, wanted: 'readable' | 'writable'): boolean {
    if (result === -errors.EAGAIN) this.#deps.reactor.until(this.#fd, wanted)
    return result === -errors.EAGAIN || result === -errors.EINTR
  }

  #wipe(): void {
    const { libc, room } = this.#deps
    libc.arena.bytes.fill(0, room, room + STREAM_ROOM)
  }
}
