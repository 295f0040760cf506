/**
 * Which addresses a host may send from, as networks: its blocks without the pins that others hold inside of them,
 * and its own confirmed pins. Pure.
 */
import type { Environment } from './environment.ts'
import { type Cidr, cidrOf, contains, type Ipv4, ipv4At, networkOf } from './ip.ts'
import type { HostId } from './records.ts'

const compare = (one: string, other: string): number => (one < other ? -1 : one > other ? 1 : 0)

/** In stable order. */
export function heldBy(
  { blocks, pins }: Pick<Environment, 'blocks' | 'pins'>,
  host: HostId,
): readonly Cidr[] {
  const counting = [...pins].filter(([, claim]) => claim.confirmed)
  const elsewhere = counting.filter(([, claim]) => claim.host !== host).map(([address]) => address)
  const own = counting.filter(([, claim]) => claim.host === host).map(([address]) => cidrOf(address, 32))
  const held = [...blocks].filter(([, claim]) => claim.host === host).map(([cidr]) => cidr)
  return [...new Set([...held.flatMap((cidr) => without(cidr, elsewhere)), ...own])].sort(compare)
}

/** A network without some addresses, as the fewest networks. */
export function without(cidr: Cidr, addresses: readonly Ipv4[]): readonly Cidr[] {
  const inside = addresses.filter((address) => contains(cidr, address))
  if (inside.length === 0) return [cidr]
  const { first, bits, size } = networkOf(cidr)
  if (bits === 32) return []
  const halves = [first, ipv4At(first, size / 2)].map((half) => cidrOf(half, bits + 1))
  return halves.flatMap((half) => without(half, inside))
}
