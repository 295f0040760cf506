/**
 * snapshot → the peers of a host: every other host with its key, its endpoint, and the addresses that it holds.
 */
import type { Environment } from '../model/environment.ts'
import { heldBy } from '../model/holding.ts'
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
      allowed: heldBy(environment, record.id),
      marks: record.wireguardEngine === 'userspace' && record.capabilities.includes(checksumMarks),
      ...(record.ipsec === undefined ? {} : { ipsec: record.ipsec }),
    })
  }
  return peers
}
