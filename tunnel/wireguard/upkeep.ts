/**
 * What keeps peers connected, apart from data: when a handshake begins, what its messages bring about, what the
 * timers of all peers ask for (paper 6), and who has something to transmit. It seals nothing.
 */
import { unreachable } from '../../model/errors.ts'
import type { Instant } from '../../model/time.ts'
import { REKEY_TIMEOUT } from './constants.ts'
import type { Drops } from './drops.ts'
import { type Endpoint, withoutSource } from './endpoint.ts'
import type { Handshakes } from './handshakes.ts'
import { Outbox } from './outbox.ts'
import type { Peer } from './peer.ts'
import type { TimerAction } from './timers.ts'

const NEVER = Number.POSITIVE_INFINITY

export interface UpkeepDeps {
  readonly handshakes: Handshakes
  readonly drops: Drops
  readonly wall: () => Instant
}

export class Upkeep {
  readonly outbox = new Outbox()
  readonly #deps: UpkeepDeps
  /** Peers with waiting packets or a keepalive to send on a session. */
  #ready: Peer[] = []
  /** Not later than the earliest timer of any peer. */
  deadline = NEVER

  constructor(deps: UpkeepDeps) {
    this.#deps = deps
  }

  get size(): number {
    return this.outbox.size + this.#ready.length
  }

  /** Begins a handshake unless one began less than REKEY_TIMEOUT ago (paper 6.4). */
  initiate(peer: Peer, now: number, retry = false): void {
    if (peer.endpoint === undefined) return
    if (!retry) peer.timers.attemptsBegin(now)
    if (now - peer.lastInitiationSent < REKEY_TIMEOUT) {
      if (peer.current?.maySend(now) !== true) peer.timers.retryBy(peer.lastInitiationSent + REKEY_TIMEOUT)
      this.wake(peer)
      return
    }
    // The last one was not answered: it may be our own address that answers do not come back to.
    if (peer.initiated !== undefined) peer.endpoint = withoutSource(peer.endpoint)
    const message = this.#deps.handshakes.initiate(peer, now)
    if (message === undefined) return
    peer.lastInitiationSent = now
    peer.timers.initiationSent(now)
    this.#transmit(peer, peer.endpoint, message)
  }

  /** Sends an empty packet, now or as soon as there is a session. */
  keepAlive(peer: Peer, now: number): void {
    peer.keepaliveWanted = true
    if (peer.current?.maySend(now) === true) this.list(peer)
    else this.initiate(peer, now)
  }

  /** Any datagram that is not a transport message. `bytes` may be kept. */
  receive(bytes: Uint8Array, from: Endpoint, now: number): void {
    const outcome = this.#deps.handshakes.receive(bytes, from, now)
    if (outcome.is === 'nothing') return
    if (outcome.is === 'reply') {
      if (!this.outbox.push(from, outcome.bytes)) this.#deps.drops.outbox++
      return
    }
    const { peer } = outcome
    this.authenticated(peer, from, bytes.length, now)
    peer.timers.sessionDerived(now)
    if (outcome.is === 'answered') {
      peer.timers.authenticatedSent(now)
      this.#transmit(peer, from, outcome.bytes)
    } else {
      peer.keepaliveWanted = true
      this.established(peer)
    }
  }

  /** The peer has shown that it is there: it may have moved (paper 2.1). */
  authenticated(peer: Peer, from: Endpoint, length: number, now: number): void {
    peer.endpoint = from
    peer.receivedBytes += length
    peer.timers.authenticatedReceived(now)
    this.wake(peer)
  }

  /** A new session may be sent on: what waited goes out, and an initiator says something in any case. */
  established(peer: Peer): void {
    peer.lastHandshake = this.#deps.wall()
    peer.timers.handshakeCompleted()
    this.list(peer)
  }

  /** The next peer that may have something to transmit; it stays first until `passOver`. */
  nextReady(): Peer | undefined {
    return this.#ready[0]
  }

  passOver(): void {
    const peer = this.#ready.shift()
    if (peer !== undefined) peer.listed = false
  }

  forget(peer: Peer): void {
    this.#deps.handshakes.abandon(peer)
    this.#deps.handshakes.end(peer.takeSessions())
    this.#ready = this.#ready.filter((each) => each !== peer)
    peer.dropWaiting()
  }

  /** Does what is due of all peers. */
  timeout(peers: Iterable<Peer>, now: number): void {
    this.deadline = NEVER
    for (const peer of peers) {
      if (peer.timers.earliest <= now)
        for (let action = peer.timers.due(now); action !== undefined; action = peer.timers.due(now))
          this.#run(action, peer, now)
      this.wake(peer)
    }
  }

  /** Call after the timers of a peer moved. */
  wake(peer: Peer): void {
    if (peer.timers.earliest < this.deadline) this.deadline = peer.timers.earliest
  }

  #run(action: TimerAction, peer: Peer, now: number): void {
    switch (action) {
      case 'retry':
        this.initiate(peer, now, true)
        break
      case 'silence':
        peer.endpoint = peer.endpoint && withoutSource(peer.endpoint)
        this.initiate(peer, now)
        break
      case 'keepalive':
      case 'persistent':
        this.keepAlive(peer, now)
        break
      case 'give-up':
        this.#deps.handshakes.abandon(peer)
        this.#deps.drops.queue += peer.dropWaiting()
        peer.keepaliveWanted = false
        break
      case 'erase':
        this.#deps.handshakes.abandon(peer)
        this.#deps.handshakes.end(peer.takeSessions())
        break
      default:
        unreachable(action)
    }
  }

  /** Call after a peer got something to transmit that needs no new session. */
  list(peer: Peer): void {
    if (peer.listed || (peer.waiting === 0 && !peer.keepaliveWanted)) return
    peer.listed = true
    this.#ready.push(peer)
  }

  #transmit(peer: Peer, to: Endpoint, message: Uint8Array): void {
    peer.sentBytes += message.length
    this.wake(peer)
    if (!this.outbox.push(to, message)) this.#deps.drops.outbox++
  }
}
