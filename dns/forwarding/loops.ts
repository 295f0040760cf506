/**
 * Upstreams that lead back to us, told by a question that only we can have asked: each upstream is asked for a name
 * of its own, and whichever name comes back as a question names the upstream that forwarded it. Pure.
 */
import type { Random } from '../../model/ports.ts'
import type { Name } from '../codec/name.ts'
import type { Upstream } from './upstreams.ts'

/** Nobody's (RFC 6761 6.2). */
const zone = 'drover-loop.test'

export class Loops {
  readonly #random: Random
  readonly #asked = new Map<Name, Upstream>()

  constructor(random: Random) {
    this.#random = random
  }

  /** A name to ask each of them for; names of before mean nothing any more. */
  namesFor(upstreams: readonly Upstream[]): ReadonlyMap<Name, Upstream> {
    this.#asked.clear()
    for (const upstream of upstreams) {
      const label = Array.from(this.#random.bytes(8), (byte) => byte.toString(16).padStart(2, '0')).join('')
      this.#asked.set(`${label}.${zone}`, upstream)
    }
    return this.#asked
  }

  /** The upstream that a question came back from. */
  upstreamOf(name: Name): Upstream | undefined {
    return name.endsWith(zone) ? this.#asked.get(name) : undefined
  }
}
