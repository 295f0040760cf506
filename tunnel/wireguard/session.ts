/**
 * One pair of transport keys with its counters and its age (paper 5.4.5, 5.4.6, 6.2). It knows when it must not
 * be used any more; who renews it is the peer's matter.
 */
import type { Aead, AeadKey } from './aead.ts'
import {
  REJECT_AFTER_MESSAGES,
  REJECT_AFTER_TIME,
  REKEY_AFTER_MESSAGES,
  REKEY_AFTER_TIME,
  REKEY_ON_RECEIVE_AFTER,
} from './constants.ts'
import type { Drops } from './drops.ts'
import { MARK_CHECKSUM, readCounter, TRANSPORT_HEADER, writeTransportHeader } from './messages.ts'
import type { TransportKeys } from './noise.ts'
import { ReplayWindow } from './replay.ts'

export interface SessionFacts<Owner> {
  readonly owner: Owner
  readonly localIndex: number
  readonly remoteIndex: number
  readonly initiator: boolean
  readonly createdAt: number
}

/** `Owner` is the peer. */
export class Session<Owner> {
  readonly owner: Owner
  readonly localIndex: number
  readonly remoteIndex: number
  readonly initiator: boolean
  readonly createdAt: number
  readonly sendKey: AeadKey
  readonly receiveKey: AeadKey
  /** As they were negotiated, for a successor; wiped on close. */
  readonly keys: TransportKeys
  readonly window = new ReplayWindow()
  /** The counter of the next packet. */
  counter = 0
  /** False once our own static key has changed: it may still receive. */
  sendable = true
  closed = false

  /** `keys` belong to the session from here on. */
  constructor(aead: Aead, keys: TransportKeys, facts: SessionFacts<Owner>) {
    this.owner = facts.owner
    this.localIndex = facts.localIndex
    this.remoteIndex = facts.remoteIndex
    this.initiator = facts.initiator
    this.createdAt = facts.createdAt
    this.sendKey = aead.prepare(keys.send)
    this.receiveKey = aead.prepare(keys.receive)
    this.keys = keys
  }

  /** Seals with the next counter; the message begins a TRANSPORT_HEADER before `into`. */
  seal(memory: Uint8Array, offset: number, length: number, into: number, mark: number): void {
    const counter = this.counter++
    this.sendKey.seal(memory, offset, length, into, counter)
    // After sealing, which uses the bytes in front of the text.
    writeTransportHeader(memory, into - TRANSPORT_HEADER, this.remoteIndex, counter, mark)
  }

  /** Authenticates and opens the message at `offset`; says why it does not count. */
  open(
    memory: Uint8Array,
    offset: number,
    length: number,
    into: number,
    now: number,
  ): keyof Drops | undefined {
    if (memory[offset + 2] !== 0 || memory[offset + 3] !== 0) return 'reserved'
    if ((memory[offset + 1] ?? 0) > MARK_CHECKSUM) return 'reserved'
    const counter = readCounter(memory, offset)
    if (!this.mayReceive(now) || counter >= REJECT_AFTER_MESSAGES) return 'expired'
    const sealed = offset + TRANSPORT_HEADER
    if (!this.receiveKey.open(memory, sealed, length - TRANSPORT_HEADER, into, counter))
      return 'unauthenticated'
    return this.window.accept(counter) ? undefined : 'replayed'
  }

  maySend(now: number): boolean {
    return this.sendable && this.counter < REJECT_AFTER_MESSAGES && this.mayReceive(now)
  }

  mayReceive(now: number): boolean {
    return now - this.createdAt < REJECT_AFTER_TIME
  }

  /** Paper 6.2: after a packet was sent on it. */
  wantsRenewalOnSend(now: number): boolean {
    return (
      this.counter >= REKEY_AFTER_MESSAGES || (this.initiator && now - this.createdAt >= REKEY_AFTER_TIME)
    )
  }

  /** Paper 6.2: after a packet was received. */
  wantsRenewalOnReceive(now: number): boolean {
    return this.initiator && now - this.createdAt >= REKEY_ON_RECEIVE_AFTER
  }

  close(): void {
    this.closed = true
    this.sendKey.close()
    this.receiveKey.close()
    this.keys.send.fill(0)
    this.keys.receive.fill(0)
  }
}
