/**
 * Cookies that a client gets and shows again (RFC 7873, in the layout of RFC 9018): with them it knows our answers
 * from a forger's. Nobody is refused for want of one. Pure; the keyed hash comes in.
 */
import type { Ipv4 } from '../../model/ip.ts'
import type { Clock } from '../../model/ports.ts'

export interface CookieDeps {
  readonly clock: Clock
  /** Keyed with a secret; at least eight bytes. */
  readonly hash: (bytes: Uint8Array) => Uint8Array
}

const clientLength = 8
const hashLength = 8

/** The client's cookie with ours behind it. */
export function answeredCookie({ clock, hash }: CookieDeps, shown: Uint8Array, from: Ipv4): Uint8Array {
  const cookie = Buffer.alloc(clientLength + 8 + hashLength)
  cookie.set(shown.subarray(0, clientLength))
  cookie.writeUInt8(1, clientLength) // version, and three reserved bytes
  cookie.writeUInt32BE(Math.floor(clock.now() / 1000) % 2 ** 32, clientLength + 4)
  const hashed = Buffer.alloc(clientLength + 8 + 4)
  hashed.set(cookie.subarray(0, clientLength + 8))
  hashed.writeUInt32BE(from, clientLength + 8)
  cookie.set(hash(hashed).subarray(0, hashLength), clientLength + 8)
  return cookie
}
