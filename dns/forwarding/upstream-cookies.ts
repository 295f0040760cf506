/**
 * Cookies towards upstreams (RFC 7873): each is shown eight bytes of its own, and what it puts behind them once it
 * has given some. One that has done so proves with every datagram that it is no forger's. Pure.
 */
import type { Random } from '../../model/ports.ts'
import type { Upstream } from './upstreams.ts'

const clientLength = 8

interface Jar {
  readonly client: Uint8Array
  server: Uint8Array
}

export type Proof =
  /** It came back, or this upstream gives none. */
  | 'good'
  /** One with other bytes than ours: nobody's answer to us (section 5.3). */
  | 'forged'
  /** None, from an upstream that has given one before. */
  | 'missing'

export class UpstreamCookies {
  readonly #random: Random
  readonly #jars = new Map<string, Jar>()

  constructor(random: Random) {
    this.#random = random
  }

  /** What a question to it carries. */
  shown(upstream: Upstream): Uint8Array {
    const { client, server } = this.#jarOf(upstream)
    return Uint8Array.from([...client, ...server])
  }

  /** What the cookie of an answer says; a new one is remembered. */
  judge(upstream: Upstream, cookie: Uint8Array | undefined): Proof {
    const jar = this.#jarOf(upstream)
    if (cookie === undefined) return jar.server.length === 0 ? 'good' : 'missing'
    if (!jar.client.every((byte, at) => cookie[at] === byte)) return 'forged'
    jar.server = cookie.slice(clientLength)
    return 'good'
  }

  /** It has stopped giving them. */
  forget(upstream: Upstream): void {
    this.#jarOf(upstream).server = new Uint8Array(0)
  }

  #jarOf({ address, port }: Upstream): Jar {
    const key = `${address} ${port}`
    const known = this.#jars.get(key)
    if (known !== undefined) return known
    const jar = { client: this.#random.bytes(clientLength), server: new Uint8Array(0) }
    this.#jars.set(key, jar)
    return jar
  }
}
