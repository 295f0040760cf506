/**
 * The zone of an environment: every local name with what it stands for, and for each container of this host how it
 * sees the names. Pure projection of a snapshot; plain maps that cross to the worker as they are.
 */
import type { Environment } from '../model/environment.ts'
import type { Ipv4 } from '../model/ip.ts'
import { dnsLabel } from '../model/names.ts'
import { isWithin, type Name, parentOf, parseName } from './name.ts'
import { addressOf, isPresent, serviceTargets, type Target, targetOf, type Zone } from './targets.ts'
import { viewsOf } from './views.ts'

export interface ZoneOptions {
  /** Where DNS and metadata answer: the address of `rancher-metadata`. */
  readonly service: Ipv4
}

export const metadataName = 'rancher-metadata'

export function zoneOf(environment: Environment, { service }: ZoneOptions): Zone {
  const domain = parseName(environment.settings.domain) ?? 'rancher.internal'
  const names = new Map<Name, Target>(serviceTargets(environment, domain))
  const pointers = addContainers(environment, domain, names)
  names.set(`${metadataName}.${domain}`, targetOf([service]))
  addBranches(names, domain)
  const { views, askers } = viewsOf(environment, domain, names)
  const { revision, settings } = environment
  return { revision, domain, subnet: settings.subnet, names, views, askers, pointers }
}

/** A container's own name gives its address whatever its health and state, as long as its host is there. */
function addContainers(environment: Environment, domain: Name, names: Map<Name, Target>): Map<Ipv4, Name> {
  const pointers = new Map<Ipv4, Name>()
  const addresses = new Map<Name, Set<Ipv4>>()
  const sharing: [Ipv4, Name][] = []
  for (const container of environment.containers.values()) {
    const label = dnsLabel(container.name)
    if (label === undefined) continue
    const name = `${label}.${domain}`
    const found = addresses.get(name) ?? new Set<Ipv4>()
    addresses.set(name, found)
    const address = addressOf(environment, container)
    if (address === null) continue
    if (isPresent(environment, container)) found.add(address)
    if (container.networkFrom === null) pointers.set(address, name)
    else sharing.push([address, name])
  }
  for (const [address, name] of sharing) if (!pointers.has(address)) pointers.set(address, name)
  for (const [name, found] of addresses) names.set(name, targetOf([...found].sort((a, b) => a - b)))
  return pointers
}

function addBranches(names: Map<Name, Target>, domain: Name): void {
  for (const name of [...names.keys()]) {
    for (let up = parentOf(name); isWithin(up, domain) && !names.has(up); up = parentOf(up))
      names.set(up, { is: 'branch' })
  }
}
