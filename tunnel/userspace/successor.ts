/**
 * The side that takes a tunnel over: the control thread's end of the channel to the predecessor. That the tunnel is
 * taken is said by the packet thread itself, right before its first packet.
 */
import { Socket } from 'node:net'
import { HANDOVER_READS } from '../wireguard/handover.ts'
import { encodeFrame, FrameReader } from './handover.ts'

export class PredecessorChannel {
  readonly #socket: Socket
  readonly #state: Promise<Uint8Array | undefined>

  constructor(fd: number) {
    this.#socket = new Socket({ fd, readable: true, writable: true })
    const reader = new FrameReader()
    this.#state = new Promise((resolve) => {
      this.#socket.on('data', (chunk) => {
        const bytes = Buffer.from(chunk)
        for (const frame of reader.push(bytes)) if (frame.is === 'state') resolve(frame.state)
        bytes.fill(0)
      })
      this.#socket.on('error', () => resolve(undefined))
      this.#socket.once('close', () => resolve(undefined))
    })
  }

  /** Everything is loaded. Answers the state, or undefined when the predecessor has died without giving it. */
  ready(): Promise<Uint8Array | undefined> {
    this.#socket.write(encodeFrame({ is: 'ready', reads: HANDOVER_READS }))
    return this.#state
  }

  /** Says why the tunnel is not taken. */
  refuse(why: string): Promise<void> {
    return new Promise((resolve) => this.#socket.end(encodeFrame({ is: 'refused', why }), () => resolve()))
  }

  close(): void {
    this.#socket.destroy()
  }
}
