/**
 * snapshot → the peers of a host: every other host with its key, its endpoint, and the addresses that it holds.
 */
import type { Environment } from '../model/environment.ts'
import { heldBy } from '../model/holding.ts'
import type { HostId, HostRecord } from '../model/records.ts'
import type { Instant } from '../model/time.ts'
import type { PresharedKeys } from '../pki/preshared.ts'
import type { Peer } from './backend.ts'
import { checksumMarks } from './engine-facts.ts'

const compare = (one: string, other: string): number => (one < other ? -1 : one > other ? 1 : 0)

/** `presharedKeys`: what this host shares with the others; without it no peer gets a preshared key. */
export function peersFor(
  environment: Environment,
  self: HostId,
  presharedKeys?: PresharedKeys,
): readonly Peer[] {
  const peers: Peer[] = []
  const own = environment.hosts.get(self)?.record
  const keys = new Set([own?.wireguardKey])
  const { uuid } = environment.settings
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
      ...presharedWith(own, record),
    })
  }
  return peers

  function presharedWith(one: HostRecord | undefined, other: HostRecord): Pick<Peer, 'presharedKey'> {
    const since = presharedSince(one, other)
    const presharedKey = since && presharedKeys?.(other.signingKey, { environment: uuid, since })
    return presharedKey === undefined ? {} : { presharedKey }
  }
}

/**
 * Which preshared key two hosts use, by what both have published, so that both come to the same: the older of their
 * newest ones, whatever their clocks say; none unless both want one.
 */
export function presharedSince(one: HostRecord | undefined, other: HostRecord): Instant | undefined {
  if (one?.presharedSince === undefined || other.presharedSince === undefined) return undefined
  return one.presharedSince < other.presharedSince ? one.presharedSince : other.presharedSince
}
