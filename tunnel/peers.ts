/**
 * snapshot → the peers of a host: every other host with its key, its endpoint, and the addresses that it holds.
 * A pinned address belongs to its holder alone, also where it lies inside of another host's block.
 */
import type { Environment } from '../model/environment.ts'
import { type Cidr, cidrOf, contains, type Ipv4, ipv4At, networkOf } from '../model/ip.ts'
import type { HostId } from '../model/records.ts'
import type { Peer } from './backend.ts'
import { checksumMarks } from './engine-facts.ts'

const compare = (one: string, other: string): number => (one < other ? -1 : one > other ? 1 : 0)

export function peersFor(environment: Environment, self: HostId): readonly Peer[] {
  const peers: Peer[] = []
  const own = environment.hosts.get(self)?.record.wireguardKey
  const keys = new Set([own])
  for (const { record } of [...environment.hosts.values()].sort((a, b) =>
    compare(a.record.id, b.record.id),
  )) {
    if (record.id === self || record.wireguardKey === '' || keys.has(record.wireguardKey)) continue
    keys.add(record.wireguardKey)
    peers.push({
      host: record.id,
      publicKey: record.wireguardKey,
      endpoint: { address: record.endpoint.address, port: record.endpoint.wireguard },
      allowed: allowedOf(environment, record.id),
      marks: record.wireguardEngine === 'userspace' && record.capabilities.includes(checksumMarks),
      ...(record.ipsec === undefined ? {} : { ipsec: record.ipsec }),
    })
  }
  return peers
}

function allowedOf({ blocks, pins }: Environment, host: HostId): readonly Cidr[] {
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
