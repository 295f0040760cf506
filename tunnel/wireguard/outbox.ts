/**
 * Handshake messages and cookies on their way out: bounded, first in, first out. When nobody fetches them the
 * newest are dropped; whoever sent the handshake message retries.
 */
import type { Endpoint } from './endpoint.ts'

const LIMIT = 1024

interface Message {
  readonly to: Endpoint
  readonly bytes: Uint8Array
}

export class Outbox {
  #messages: Message[] = []
  #head = 0

  get size(): number {
    return this.#messages.length - this.#head
  }

  /** False when there is no room. */
  push(to: Endpoint, bytes: Uint8Array): boolean {
    if (this.size >= LIMIT) return false
    this.#messages.push({ to, bytes })
    return true
  }

  shift(): Message | undefined {
    const message = this.#messages[this.#head]
    if (message === undefined) return undefined
    this.#head++
    if (this.#head === this.#messages.length) {
      this.#messages = []
      this.#head = 0
    }
    return message
  }
}
