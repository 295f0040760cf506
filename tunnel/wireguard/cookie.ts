/**
 * mac1, mac2 and cookies (paper 5.4.4 and 5.4.7). `CookieGuard` is the receiving side: it checks macs and gives
 * cookies out, and keeps no state per asker. `CookieJar` is the sending side towards one peer: it stamps messages
 * and remembers the last cookie.
 */
import { utf8 } from '../../model/bytes.ts'
import type { Random } from '../../model/ports.ts'
import { COOKIE_LATENCY, COOKIE_LIFETIME, LABEL_COOKIE, LABEL_MAC1 } from './constants.ts'
import { type Crypto, equalSecrets, hash, mac } from './crypto.ts'
import type { Endpoint } from './endpoint.ts'
import { type CookieReply, encodeCookieReply } from './messages.ts'

const mac1Of = (key: Uint8Array, bytes: Uint8Array): Uint8Array => mac(key, bytes.subarray(0, -32))
const mac2Of = (cookie: Uint8Array, bytes: Uint8Array): Uint8Array => mac(cookie, bytes.subarray(0, -16))

/** What cookies are made with, and since when. */
export interface CookieSecret {
  readonly secret: Uint8Array
  readonly secretAt: number
}

export class CookieGuard {
  readonly #deps: { readonly crypto: Crypto; readonly random: Random }
  readonly #mac1Key: Uint8Array
  readonly #cookieKey: Uint8Array
  #secret: Uint8Array
  #secretAt = Number.NEGATIVE_INFINITY

  constructor(deps: { readonly crypto: Crypto; readonly random: Random }, publicKey: Uint8Array) {
    this.#deps = deps
    this.#mac1Key = hash(utf8(LABEL_MAC1), publicKey)
    this.#cookieKey = hash(utf8(LABEL_COOKIE), publicKey)
    this.#secret = deps.random.bytes(32)
  }

  state(): CookieSecret {
    return { secret: this.#secret, secretAt: this.#secretAt }
  }

  restore({ secret, secretAt }: CookieSecret): void {
    this.#secret = secret
    this.#secretAt = secretAt
  }

  /** Whether the sender knows our public key. */
  mac1Fits(bytes: Uint8Array): boolean {
    return equalSecrets(mac1Of(this.#mac1Key, bytes), bytes.subarray(-32, -16))
  }

  /** Whether the sender has shown that it receives at `from`. */
  mac2Fits(bytes: Uint8Array, from: Endpoint, now: number): boolean {
    return equalSecrets(mac2Of(this.#cookieFor(from, now), bytes), bytes.subarray(-16))
  }

  /** The answer to a handshake message that is to be sent again with mac2. */
  reply(bytes: Uint8Array, sender: number, from: Endpoint, now: number): Uint8Array {
    const nonce = this.#deps.random.bytes(24)
    const cookie = this.#cookieFor(from, now)
    const mac1 = bytes.subarray(-32, -16)
    const sealedCookie = this.#deps.crypto.sealExtended(this.#cookieKey, nonce, cookie, mac1)
    return encodeCookieReply({ receiver: sender, nonce, sealedCookie })
  }

  #cookieFor(from: Endpoint, now: number): Uint8Array {
    if (now - this.#secretAt >= COOKIE_LIFETIME) {
      this.#secret = this.#deps.random.bytes(32)
      this.#secretAt = now
    }
    return mac(this.#secret, from.bytes)
  }
}

export interface CookieJarState {
  readonly lastMac1: Uint8Array | undefined
  readonly cookie: Uint8Array | undefined
  readonly cookieAt: number
}

export class CookieJar {
  readonly #publicKey: Uint8Array
  /** Hashed when it is first needed: a tunnel with many peers must be there soon. */
  #mac1Key: Uint8Array | undefined
  #lastMac1: Uint8Array | undefined
  #cookie: Uint8Array | undefined
  #cookieAt = 0

  constructor(publicKey: Uint8Array) {
    this.#publicKey = publicKey
  }

  /** Writes both macs into a message; mac2 only while there is a fresh cookie. */
  stamp(bytes: Uint8Array, now: number): void {
    this.#mac1Key ??= hash(utf8(LABEL_MAC1), this.#publicKey)
    const mac1 = mac1Of(this.#mac1Key, bytes)
    bytes.set(mac1, bytes.length - 32)
    this.#lastMac1 = mac1
    if (this.#cookie === undefined || now - this.#cookieAt >= COOKIE_LIFETIME - COOKIE_LATENCY) return
    bytes.set(mac2Of(this.#cookie, bytes), bytes.length - 16)
  }

  state(): CookieJarState {
    return { lastMac1: this.#lastMac1, cookie: this.#cookie, cookieAt: this.#cookieAt }
  }

  restore(state: CookieJarState): void {
    this.#lastMac1 = state.lastMac1
    this.#cookie = state.cookie
    this.#cookieAt = state.cookieAt
  }

  /** Keeps the cookie of an authentic reply to the last message that was stamped; false for any other. */
  keep(crypto: Crypto, reply: CookieReply, now: number): boolean {
    if (this.#lastMac1 === undefined) return false
    const key = hash(utf8(LABEL_COOKIE), this.#publicKey)
    const cookie = crypto.openExtended(key, reply.nonce, reply.sealedCookie, this.#lastMac1)
    if (cookie === undefined) return false
    this.#cookie = cookie
    this.#cookieAt = now
    this.#lastMac1 = undefined
    return true
  }
}
