/**
 * What a device knows of one peer: keys, endpoint, its sessions (past, current, next) and the order
 * of their replacement, the packets that wait for a session, counters. It sends nothing by itself.
 */
import { CookieJar } from './cookie.ts'
import type { Endpoint } from './endpoint.ts'
import type { Initiated, Partner } from './noise.ts'
import type { Session } from './session.ts'
import { TIMESTAMP_LENGTH } from './tai64n.ts'
import type { PeerTimers } from './timers.ts'

/** How many past sessions are kept. */
const KEPT = 3

export interface Waiting {
  readonly bytes: Uint8Array
  readonly mark: number
}

interface PeerSessions {
  readonly current: Session<Peer> | undefined
  readonly next: Session<Peer> | undefined
  readonly past: readonly Session<Peer>[]
}

export class Peer implements Partner {
  readonly publicKey: Uint8Array
  readonly timers: PeerTimers
  readonly jar: CookieJar
  presharedKey: Uint8Array = new Uint8Array(32)
  sharedStatic: Uint8Array | undefined
  endpoint: Endpoint | undefined
  /** In seconds. */
  persistentKeepalive = 0
  marks = false
  lastHandshake = 0
  receivedBytes = 0
  sentBytes = 0

  initiated: Initiated | undefined
  lastInitiationSent = Number.NEGATIVE_INFINITY
  lastInitiationReceived = Number.NEGATIVE_INFINITY
  /** The greatest timestamp of an initiation of this peer. */
  timestamp: Uint8Array = new Uint8Array(TIMESTAMP_LENGTH)

  current: Session<Peer> | undefined
  /** Made as responder: not sent on before the initiator has shown that it has it. */
  next: Session<Peer> | undefined
  /**
   * Sessions that were current, newest first, for packets still under way. The paper keeps one; three are needed
   * when both sides rekey at once and each still receives on a session that the other began.
   */
  #past: readonly Session<Peer>[] = []

  keepaliveWanted = false
  /** Whether it stands in the device's list of peers with something to transmit. */
  listed = false
  readonly #waiting: Waiting[] = []
  readonly #queueLimit: number

  constructor(publicKey: Uint8Array, timers: PeerTimers, queueLimit: number) {
    this.publicKey = publicKey
    this.timers = timers
    this.jar = new CookieJar(publicKey)
    this.#queueLimit = queueLimit
  }

  get waiting(): number {
    return this.#waiting.length
  }

  get waitingPackets(): readonly Waiting[] {
    return this.#waiting
  }

  /** Sessions that were current, newest first. */
  get past(): readonly Session<Peer>[] {
    return this.#past
  }

  /** Takes over the sessions of a peer in another process. */
  adopt(sessions: PeerSessions): void {
    this.current = sessions.current
    this.next = sessions.next
    this.#past = sessions.past
  }

  /** Keeps a copy; false when the oldest had to go for it. */
  enqueue(bytes: Uint8Array, mark: number): boolean {
    const full = this.#waiting.length >= this.#queueLimit
    if (full) this.#waiting.shift()
    this.#waiting.push({ bytes, mark })
    return !full
  }

  dequeue(): Waiting | undefined {
    return this.#waiting.shift()
  }

  dropWaiting(): number {
    return this.#waiting.splice(0).length
  }

  /** Takes in the session of a handshake we began; answers the sessions that end. */
  installInitiated(session: Session<Peer>): readonly Session<Peer>[] {
    const ended = this.#retire(session.createdAt, this.next, this.current)
    this.current = session
    this.next = undefined
    return ended
  }

  /** Takes in the session of a handshake we answered; one that was never confirmed ends. */
  installAnswered(session: Session<Peer>): readonly Session<Peer>[] {
    const ended = this.next === undefined ? [] : [this.next]
    this.next = session
    return ended
  }

  /** The initiator has used `next`: so may we. */
  promote(): readonly Session<Peer>[] {
    const ended = this.#retire(this.next?.createdAt ?? 0, this.current)
    this.current = this.next
    this.next = undefined
    return ended
  }

  /** Our own key has changed: nothing more is sent; what is under way may still arrive. */
  disown(): readonly Session<Peer>[] {
    const ended = this.next === undefined ? [] : [this.next]
    this.next = undefined
    if (this.current !== undefined) this.current.sendable = false
    return ended
  }

  /** Takes all sessions away. */
  takeSessions(): readonly Session<Peer>[] {
    const sessions = [...this.#past, this.current, this.next]
    this.#past = []
    this.current = undefined
    this.next = undefined
    return sessions.filter((each) => each !== undefined)
  }

  /** Keeps what may still be received on; keys past their time are not kept for forward secrecy's sake. */
  #retire(now: number, ...sessions: readonly (Session<Peer> | undefined)[]): readonly Session<Peer>[] {
    const all = [...sessions.filter((each) => each !== undefined), ...this.#past]
    this.#past = all.filter((each) => each.mayReceive(now)).slice(0, KEPT)
    return all.filter((each) => !this.#past.includes(each))
  }
}
