/**
 * Whose request it is when a proxy passes it on. X-Forwarded-For counts only from proxies that the operator trusts,
 * and only its part that they wrote themselves: the last address that is none of theirs.
 */
import { type Cidr, contains, parseIpv4 } from '../model/ip.ts'

/** A client: its address, and whether a trusted proxy said so. */
export interface Client {
  readonly address: string
  readonly forwarded: boolean
}

export class Proxies {
  readonly #trusted: readonly Cidr[]

  constructor({ trusted }: { readonly trusted: readonly Cidr[] }) {
    this.#trusted = trusted
  }

  /** `peer` is the other end of the connection, `forwardedFor` the header with all its lines joined. */
  clientOf(peer: string, forwardedFor: string | undefined): Client {
    if (forwardedFor === undefined || !this.trusts(peer)) return { address: peer, forwarded: false }
    const chain = forwardedFor.split(',').map((address) => address.trim())
    const address = chain.findLast((each) => !this.trusts(each)) ?? chain[0] ?? ''
    return { address, forwarded: true }
  }

  trusts(address: string): boolean {
    if (this.#trusted.length === 0) return false
    const parsed = parseIpv4(address.replace(/^::ffff:/, ''))
    return parsed !== undefined && this.#trusted.some((cidr) => contains(cidr, parsed))
  }
}
