/**
 * Names of addresses (RFC 1035 3.5). Inside the environment's subnet they are ours and are never forwarded: what
 * runs here is nobody else's business.
 */
import { type Cidr, type Ipv4, networkOf } from '../../model/ip.ts'
import { labelsOf, type Name } from '../codec/name.ts'

/** Above the names of all addresses (RFC 1035 3.5). */
export const reverseRoot = 'in-addr.arpa'

export type Reverse =
  | { readonly is: 'address'; readonly address: Ipv4; readonly apex: Name }
  /** Above addresses of ours and wholly ours. */
  | { readonly is: 'branch'; readonly apex: Name }
  /** Ours, and cannot exist. */
  | { readonly is: 'nothing'; readonly apex: Name }

/** What a name under in-addr.arpa means inside the subnet; undefined when it is not ours. */
export function reverseOf(name: Name, subnet: Cidr): Reverse | undefined {
  if (!name.endsWith(`.${reverseRoot}`)) return undefined
  const labels = labelsOf(name.slice(0, -reverseRoot.length - 1)).toReversed()
  const octets = labels.slice(0, 4)
  if (!octets.every(isOctet)) return undefined
  const from = octets.reduce((sum, octet, at) => sum + Number(octet) * 256 ** (3 - at), 0)
  const to = from + 256 ** (4 - octets.length) - 1
  const { first, last, bits } = networkOf(subnet)
  if (from < first || to > last) return undefined
  const apex = [...octets.slice(0, Math.ceil(bits / 8)).toReversed(), reverseRoot].join('.')
  if (labels.length > 4) return { is: 'nothing', apex }
  return octets.length === 4 ? { is: 'address', address: from as Ipv4, apex } : { is: 'branch', apex }
}

const isOctet = (text: string): boolean => /^(0|[1-9]\d{0,2})$/.test(text) && Number(text) < 256

/** The name whose PTR record tells of an address. */
export const reverseName = (address: Ipv4): Name =>
  `${[0, 8, 16, 24].map((shift) => (address >>> shift) & 255).join('.')}.${reverseRoot}`
