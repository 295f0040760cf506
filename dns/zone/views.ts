/**
 * How the containers of this host see the names: their search lists and the names that links give to them alone.
 * Containers that see the same share one view.
 */
import type { Environment } from '../../model/environment.ts'
import { type Ipv4, parseIpv4 } from '../../model/ip.ts'
import { dnsLabel } from '../../model/names.ts'
import type { ContainerRecord } from '../../model/records.ts'
import { isWithin, type Name, parseName } from '../codec/name.ts'
import {
  type Asker,
  addressOf,
  type Lookup,
  linkedName,
  serviceName,
  type Target,
  type View,
  viewOfOthers,
} from './targets.ts'

/** The view of whoever is no container of this host. */
export const everybody = ''

interface Seen {
  /** Of the view. */
  readonly key: string
  readonly view: View
  readonly sources: readonly Ipv4[]
}

/** Containers whose view is their record's affair alone, so that it lasts as long as that. */
export type SeenBefore = WeakMap<ContainerRecord, Seen>

export function viewsOf(
  environment: Environment,
  containers: Iterable<ContainerRecord>,
  { seenBefore, ...around }: Surroundings & { readonly seenBefore: SeenBefore },
) {
  const views = new Map<string, View>([[everybody, viewOfOthers(around.domain)]])
  const askers = new Map<Ipv4, Asker>()
  const local = [...containers]
  // The owner of a shared network namespace speaks for its address.
  local.sort((one, other) => Number(one.networkFrom !== null) - Number(other.networkFrom !== null))
  for (const container of local) {
    const alone = container.networkFrom === null && !hasLinks(environment, container)
    const known = alone ? seenBefore.get(container) : undefined
    const seen = known ?? seenBy(environment, container, around)
    if (alone && known === undefined) seenBefore.set(container, seen)
    const { key, view, sources } = seen
    if (!views.has(key)) views.set(key, view)
    for (const address of sources)
      if (!askers.has(address)) askers.set(address, { view: key, container: container.id })
  }
  return { views, askers }
}

function seenBy(environment: Environment, container: ContainerRecord, around: Surroundings): Seen {
  const names = linksOf(environment, container, around)
  const view: View = { search: searchOf(container, around.domain), names, upstreams: container.dns }
  const key = JSON.stringify([view.search, [...names], view.upstreams])
  return { key, view, sources: sourcesOf(environment, container) }
}

const hasLinks = ({ services }: Environment, { stack, service, links }: ContainerRecord): boolean =>
  Object.keys(links).length > 0 || (services.size > 0 && services.has(`${stack}/${service}`))

/** The addresses that a container asks from. */
export function sourcesOf(environment: Environment, container: ContainerRecord): readonly Ipv4[] {
  const managed = addressOf(environment, container)
  const engine = container.engineAddresses.flatMap((text) => parseIpv4(text) ?? [])
  return managed === null ? engine : [managed, ...engine]
}

/** Service, stack, what the container was started with, the domain; only what is ours to answer. */
function searchOf(container: ContainerRecord, domain: Name): readonly Name[] {
  const { stack, service } = container
  const own: (Name | undefined)[] = []
  if (stack !== null && service !== null) own.push(serviceName(domain, { stack, service }))
  const stackLabel = stack === null ? undefined : dnsLabel(stack)
  if (stackLabel !== undefined) own.push(parseName(`${stackLabel}.${domain}`))
  const asked = container.dnsSearch
    .map(parseName)
    .filter((name) => name !== undefined && isWithin(name, domain))
  return [...new Set([...own, ...asked, domain].filter((name) => name !== undefined))]
}

interface Surroundings {
  readonly domain: Name
  readonly zone: Pick<Lookup<Name, Target>, 'has'>
}

/** Container links first: a service link of the same name wins. */
function linksOf(environment: Environment, container: ContainerRecord, around: Surroundings) {
  const names = new Map<Name, Target>()
  for (const [link, linked] of Object.entries(container.links)) {
    const alias = dnsLabel(link)
    const label = dnsLabel(linked.replace(/^\//, ''))
    if (alias === undefined || label === undefined || !around.zone.has(`${label}.${around.domain}`)) continue
    addLink(names, `${alias}.${around.domain}`, `${label}.${around.domain}`)
  }
  const declared = environment.services.get(`${container.stack}/${container.service}`)
  for (const [linked, text] of Object.entries(declared?.links ?? {})) {
    const target = linkedName(linked.toLowerCase(), container.stack ?? '', around.domain)
    const alias = dnsLabel(text)
    if (target === undefined || alias === undefined || !around.zone.has(target)) continue
    addLink(names, `${alias}.${around.domain}`, target)
    addLink(names, `${alias}.${target.split('.').slice(1).join('.')}`, target)
  }
  return names
}

function addLink(names: Map<Name, Target>, alias: Name, target: Name): void {
  if (alias !== target) names.set(alias, { is: 'same', name: target })
}
