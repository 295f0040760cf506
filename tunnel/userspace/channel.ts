/**
 * A packet thread's end of the channel between two tunnel processes: says and hears whole frames, so that a state goes
 * from one packet thread to the other without a detour by threads that have an event loop. Pure.
 */
import type { Stream } from '../../linux/stream.ts'
import { encodeFrame, type Frame, FrameReader } from './handover.ts'

export class Channel {
  readonly #stream: Pick<Stream, 'read' | 'write' | 'close'>
  readonly #reader = new FrameReader()
  readonly #heard: Frame[] = []

  constructor(stream: Pick<Stream, 'read' | 'write' | 'close'>) {
    this.#stream = stream
  }

  /** Leaves no copy behind. Whoever has gone meanwhile does not hear it. */
  say(frame: Frame): void {
    const bytes = encodeFrame(frame)
    this.#stream.write(bytes)
    bytes.fill(0)
  }

  /** The next frame; undefined when the other side has gone. What is no frame is a RangeError. */
  hear(): Frame | undefined {
    while (this.#heard.length === 0) {
      const bytes = this.#stream.read()
      if (bytes === undefined) return undefined
      this.#heard.push(...this.#reader.push(bytes))
      bytes.fill(0)
    }
    return this.#heard.shift()
  }

  close(): void {
    this.#stream.close()
  }
}
