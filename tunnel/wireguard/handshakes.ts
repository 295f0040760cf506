/**
 * The handshake side of a device: makes initiations, answers them, takes responses and cookies in, and decides
 * under load whom to answer at all (paper 5.3, 5.4, 6.1). It owns the indices. It decides nothing about data and
 * returns what has to be sent.
 */
import type { Random } from '../../model/ports.ts'
import type { Aead } from './aead.ts'
import { INITIATION_INTERVAL, KEY_LENGTH } from './constants.ts'
import { CookieGuard, type CookieSecret } from './cookie.ts'
import type { Crypto } from './crypto.ts'
import type { Drops } from './drops.ts'
import type { Endpoint } from './endpoint.ts'
import { LoadMeter, type LoadState, SourceLimiter } from './load.ts'
import { type CookieReply, decodeHandshake, type Initiation, type Response, readU32 } from './messages.ts'
import {
  consumeInitiation,
  consumeResponse,
  consumeTimestamp,
  createInitiation,
  createResponse,
  type Initiated,
  type KeyPair,
  type TransportKeys,
} from './noise.ts'
import type { Peer } from './peer.ts'
import { Session, type SessionFacts } from './session.ts'
import { isLater, type Tai64n } from './tai64n.ts'

/**
 * - `reply`: send it back, nothing else happened (a cookie).
 * - `answered`: send it back; the peer has a new `next` session.
 * - `established`: the peer has a new `current` session.
 */
export type HandshakeOutcome =
  | { readonly is: 'nothing' }
  | { readonly is: 'reply'; readonly bytes: Uint8Array }
  | { readonly is: 'answered'; readonly bytes: Uint8Array; readonly peer: Peer }
  | { readonly is: 'established'; readonly peer: Peer }

/** What strangers are held off with. */
export interface Defences {
  /** Undefined without a private key. */
  readonly cookies: CookieSecret | undefined
  readonly load: LoadState
}

export interface HandshakesDeps {
  readonly crypto: Crypto
  readonly aead: Aead
  readonly random: Random
  readonly tai64n: Tai64n
  readonly drops: Drops
  readonly peerOf: (publicKey: Uint8Array) => Peer | undefined
}

const NOTHING: HandshakeOutcome = { is: 'nothing' }

export class Handshakes {
  readonly #deps: HandshakesDeps
  readonly #load: LoadMeter
  readonly #sources = new SourceLimiter()
  readonly #initiated = new Map<number, Peer>()
  /** Looked up by the data path for each packet. */
  readonly sessions = new Map<number, Session<Peer>>()
  #self: KeyPair | undefined
  #guard: CookieGuard | undefined

  constructor(deps: HandshakesDeps, options: { readonly loadLimit: number }) {
    this.#deps = deps
    this.#load = new LoadMeter(options.loadLimit)
  }

  get tai64n(): Tai64n {
    return this.#deps.tai64n
  }

  get self(): KeyPair | undefined {
    return this.#self
  }

  /** How much it keeps: the sum of all its tables. */
  get size(): number {
    return this.#initiated.size + this.sessions.size + this.#sources.size
  }

  get defences(): Defences {
    return { cookies: this.#guard?.state(), load: this.#load.state() }
  }

  /** Cookies that another device gave out are honoured; sources may burst once more. Once the key is set. */
  defend({ cookies, load }: Defences): void {
    if (cookies !== undefined) this.#guard?.restore(cookies)
    this.#load.restore(load)
  }

  /** Sets or takes away our own key. */
  identify(privateKey: Uint8Array | undefined): void {
    const { crypto } = this.#deps
    this.#self = privateKey && { privateKey, publicKey: crypto.publicKey(privateKey) }
    this.#guard = this.#self && new CookieGuard(this.#deps, this.#self.publicKey)
  }

  /** Computes what all handshakes with a peer share. */
  acquaint(peer: Peer): void {
    peer.sharedStatic = this.#self && this.#deps.crypto.shared(this.#self.privateKey, peer.publicKey)
  }

  /** A new initiation; it replaces one that is under way. */
  initiate(peer: Peer, now: number): Uint8Array | undefined {
    const self = this.#self
    if (self === undefined) return undefined
    this.abandon(peer)
    const { crypto, random, tai64n } = this.#deps
    const fresh = { ephemeral: random.bytes(KEY_LENGTH), index: this.#freeIndex(), timestamp: tai64n.next() }
    const made = createInitiation(crypto, self, peer, fresh)
    if (made === undefined) return undefined
    this.#initiated.set(fresh.index, peer)
    peer.initiated = made.state
    peer.jar.stamp(made.message, now)
    return made.message
  }

  /** Goes on with an initiation that another device sent. */
  resume(peer: Peer, initiated: Initiated): void {
    this.#initiated.set(initiated.index, peer)
    peer.initiated = initiated
  }

  /** Forgets a handshake under way. */
  abandon(peer: Peer): void {
    if (peer.initiated === undefined) return
    this.#initiated.delete(peer.initiated.index)
    peer.initiated.ephemeral.privateKey.fill(0)
    peer.initiated = undefined
  }

  end(sessions: readonly Session<Peer>[]): void {
    for (const session of sessions) {
      this.sessions.delete(session.localIndex)
      session.close()
    }
  }

  /** Any datagram that is not a transport message. `bytes` may be kept. */
  receive(bytes: Uint8Array, from: Endpoint, now: number): HandshakeOutcome {
    const message = decodeHandshake(bytes)
    if (message === undefined) return this.#dropped('malformed')
    if (message.is === 'cookie-reply') return this.#receiveCookie(message, now)
    if (this.#guard?.mac1Fits(bytes) !== true) return this.#dropped('mac1')
    if (this.#load.note(now)) {
      if (!this.#guard.mac2Fits(bytes, from, now)) {
        this.#deps.drops.cookieSent++
        return { is: 'reply', bytes: this.#guard.reply(bytes, message.sender, from, now) }
      }
      if (!this.#sources.allows(from, now)) return this.#dropped('rateLimited')
    }
    return message.is === 'initiation'
      ? this.#receiveInitiation(message, now)
      : this.#receiveResponse(message, now)
  }

  #receiveInitiation(message: Initiation, now: number): HandshakeOutcome {
    const { crypto, random, peerOf } = this.#deps
    const consumed = this.#self && consumeInitiation(crypto, this.#self, message)
    const peer = consumed && peerOf(consumed.remoteStatic)
    if (consumed === undefined || peer === undefined) return this.#dropped('handshake')
    const opened = consumeTimestamp(crypto, peer, message, consumed)
    if (opened === undefined) return this.#dropped('handshake')
    if (!isLater(opened.timestamp, peer.timestamp)) return this.#dropped('replayedHandshake')
    if (now - peer.lastInitiationReceived < INITIATION_INTERVAL) return this.#dropped('rateLimited')
    const fresh = { ephemeral: random.bytes(KEY_LENGTH), index: this.#freeIndex() }
    const made = createResponse(crypto, peer, opened.state, fresh)
    if (made === undefined) return this.#dropped('handshake')
    peer.timestamp = opened.timestamp
    peer.lastInitiationReceived = now
    peer.jar.stamp(made.message, now)
    const session = this.#session(peer, made.keys, {
      localIndex: fresh.index,
      remoteIndex: message.sender,
      initiator: false,
      createdAt: now,
    })
    this.end(peer.installAnswered(session))
    return { is: 'answered', bytes: made.message, peer }
  }

  #receiveResponse(message: Response, now: number): HandshakeOutcome {
    const peer = this.#initiated.get(message.receiver)
    const state = peer?.initiated
    if (peer === undefined || state === undefined || this.#self === undefined)
      return this.#dropped('unknownIndex')
    const keys = consumeResponse(this.#deps.crypto, this.#self, peer, state, message)
    if (keys === undefined) return this.#dropped('handshake')
    this.abandon(peer)
    const session = this.#session(peer, keys, {
      localIndex: state.index,
      remoteIndex: message.sender,
      initiator: true,
      createdAt: now,
    })
    this.end(peer.installInitiated(session))
    return { is: 'established', peer }
  }

  #receiveCookie(message: CookieReply, now: number): HandshakeOutcome {
    const peer = this.#initiated.get(message.receiver) ?? this.sessions.get(message.receiver)?.owner
    if (peer === undefined) return this.#dropped('unknownIndex')
    return peer.jar.keep(this.#deps.crypto, message, now) ? NOTHING : this.#dropped('handshake')
  }

  #session(peer: Peer, keys: TransportKeys, facts: Omit<SessionFacts<Peer>, 'owner'>): Session<Peer> {
    const session = new Session(this.#deps.aead, keys, { ...facts, owner: peer })
    this.sessions.set(session.localIndex, session)
    return session
  }

  #dropped(reason: keyof Drops): HandshakeOutcome {
    this.#deps.drops[reason]++
    return NOTHING
  }

  #freeIndex(): number {
    for (;;) {
      const index = readU32(this.#deps.random.bytes(4), 0)
      if (!this.sessions.has(index) && !this.#initiated.has(index)) return index
    }
  }
}
