/**
 * The three versions of the contract and how their objects differ (rancher.md 1.3). The middle one is the base:
 * the oldest shows names where it shows objects, the newest lower-cases names.
 */
import { lower } from './container.ts'
import { type Dict, isDict, isList, nilList, nilMap, type Value } from './value.ts'

export type Version = 'v1' | 'v2' | 'v3'

const known: ReadonlyMap<string, Version> = new Map([
  ['2015-07-25', 'v1'],
  ['2015-12-19', 'v2'],
  ['2016-07-29', 'v3'],
  ['latest', 'v3'],
])

export const versionNames: readonly string[] = [...known.keys()]

export const versionOf = (name: string): Version | undefined => known.get(name)

/** The version whose containers a version shows. */
export const ofContainers = (version: Version): Version => (version === 'v1' ? 'v2' : version)

/** Ports are given separately: the versions fill in different addresses. */
export function containerIn(version: Version, base: Dict, ports: readonly string[]): Dict {
  if (version !== 'v3') return { ...base, ports }
  return {
    ...base,
    name: lower(base.name),
    ports: ports.length === 0 ? nilList : ports,
    service_name: lower(base.service_name),
    stack_name: lower(base.stack_name),
  }
}

export function serviceIn(version: Version, base: Dict, containers: readonly Dict[]): Dict {
  const members: Value = version === 'v1' ? containers.map(nameOf) : containers
  const shown = containers.length === 0 ? nilList : members
  const { links: given = null, sidekicks: names = null } = base
  const links = isDict(given) ? given : {}
  const sidekicks = isList(names) ? names : []
  if (version !== 'v3') {
    const none = Object.keys(links).length === 0
    return { ...base, containers: shown, links: none ? nilMap : links, sidekicks }
  }
  return {
    ...base,
    containers: shown,
    links: lowerKeys(links),
    name: lower(base.name),
    primary_service_name: lower(base.primary_service_name),
    sidekicks: sidekicks.length === 0 ? nilList : sidekicks.map(lower),
    stack_name: lower(base.stack_name),
  }
}

export function stackIn(version: Version, base: Dict, services: readonly Dict[]): Dict {
  if (version === 'v1') return { ...base, services: services.map(nameOf) }
  return version === 'v2' ? { ...base, services } : { ...base, name: lower(base.name), services }
}

export const hostIn = (version: Version, base: Dict, number: number): Dict =>
  version === 'v3' ? base : { ...base, hostId: number }

const nameOf = (dict: Dict): Value => dict.name ?? null

const lowerKeys = (dict: Dict): Dict =>
  Object.fromEntries(Object.entries(dict).map(([key, value]) => [key.toLowerCase(), value]))
