/**
 * Who asks, by the address that the question comes from; nothing else is trusted. A container on this host may
 * ask from its address on an engine network, which means something here only. Containers of other hosts have a
 * metadata service of their own: here they are known only where a trusted proxy speaks for them.
 */
import type { Environment } from '../model/environment.ts'
import { type Ipv4, parseIpv4 } from '../model/ip.ts'
import type { ContainerRecord } from '../model/records.ts'
import { isRunning } from '../model/services.ts'
import type { Client } from './forwarded.ts'

export type Asker =
  | { readonly is: 'container'; readonly record: ContainerRecord }
  /** This host, a container on its network, or somebody unknown: they see the host and no container. */
  | { readonly is: 'host' }
  /** More than one container could be it: it sees neither. */
  | { readonly is: 'ambiguous' }

export interface Askers {
  at(client: Client): Asker
}

const host: Asker = { is: 'host' }
const ambiguous: Asker = { is: 'ambiguous' }

/** Containers that share a namespace are the one that owns it. */
function ownerOf(candidates: readonly ContainerRecord[]): Asker {
  if (candidates.length === 0) return host
  const owners = candidates.filter(({ networkFrom }) => networkFrom === null)
  const running = (owners.length === 0 ? candidates : owners).filter(isRunning)
  const [only, ...others] = running.length === 0 ? owners : running
  return only !== undefined && others.length === 0 ? { is: 'container', record: only } : ambiguous
}

const push = <K>(map: Map<K, ContainerRecord[]>, key: K, record: ContainerRecord): void => {
  const found = map.get(key)
  if (found === undefined) map.set(key, [record])
  else found.push(record)
}

/** `isOwn` says whether an address is one of this machine's. */
export function askersOf(environment: Environment, isOwn: (address: string) => boolean): Askers {
  const records = [...environment.containers.values()]
  const here = records.filter(({ host }) => host === environment.self)
  const managed = byManaged(here)
  const local = new Map<string, ContainerRecord[]>()
  for (const record of here) {
    if (!isRunning(record)) continue
    for (const address of new Set(record.engineAddresses)) push(local, address, record)
  }
  let everywhere: ReadonlyMap<Ipv4, readonly ContainerRecord[]> | undefined
  const holdersOf = ({ forwarded }: Client, address: Ipv4): readonly ContainerRecord[] => {
    if (forwarded) everywhere ??= byManaged(records)
    return (forwarded ? everywhere : managed)?.get(address) ?? []
  }
  return {
    at(client) {
      const plain = client.address.replace(/^::ffff:/, '')
      const address = parseIpv4(plain)
      const known = address === undefined ? [] : holdersOf(client, address)
      if (known.length > 0) return ownerOf(known)
      return isOwn(plain) ? host : ownerOf(local.get(plain) ?? [])
    },
  }
}

function byManaged(records: readonly ContainerRecord[]): ReadonlyMap<Ipv4, readonly ContainerRecord[]> {
  const map = new Map<Ipv4, ContainerRecord[]>()
  for (const record of records) if (record.address !== null) push(map, record.address, record)
  return map
}
