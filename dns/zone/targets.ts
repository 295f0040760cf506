/**
 * What local names stand for. Pure; projection.ts puts the whole together.
 */
import type { Environment } from '../../model/environment.ts'
import type { Cidr, Ipv4 } from '../../model/ip.ts'
import { dnsLabel } from '../../model/names.ts'
import type { ContainerId, ContainerRecord } from '../../model/records.ts'
import { longestName, type Name } from '../codec/name.ts'

export type Target =
  | {
      readonly is: 'addresses'
      readonly four: readonly Ipv4[]
      readonly six: readonly string[]
      /** What names below it stand for; of services only. */
      readonly parts?: Parts
    }
  /** Where a port is served: SRV. */
  | { readonly is: 'servers'; readonly port: number; readonly servers: readonly Name[] }
  /** A host name elsewhere: a CNAME. */
  | { readonly is: 'alias'; readonly name: Name }
  /** Whatever that other local name stands for. */
  | { readonly is: 'same'; readonly name: Name }
  /** Only names below it exist: an empty non-terminal (RFC 8020). */
  | { readonly is: 'branch' }

/** A service taken apart; flat lists, because there are many. */
export interface Parts {
  /** The number of each container and, in the same order, its address. */
  readonly indexes: readonly number[]
  readonly addresses: readonly Ipv4[]
  readonly ports: readonly Port[]
}

/** An exposed port, with the numbers of the containers that are given for it. */
export type Port = readonly [port: number, protocol: string, indexes: readonly number[]]

/** How some askers see the names: where short names are looked up, and names that only they have. */
export interface View {
  readonly search: readonly Name[]
  readonly names: ReadonlyMap<Name, Target>
  /** Resolvers of their own for what is not ours; empty for the host's. */
  readonly upstreams: readonly string[]
}

/** Of whoever is no container of this host. */
export const viewOfOthers = (domain: Name): View => ({ search: [domain], names: new Map(), upstreams: [] })

export interface Asker {
  readonly view: string
  readonly container: ContainerId
}

/** As much of a map as answers need: what it holds may be worked out when it is asked for. */
export interface Lookup<Key, Value> extends Entries<Key, Value> {
  get(key: Key): Value | undefined
  has(key: Key): boolean
}

/** As a Map tells of its own: of a hundred thousand, iterators would be half of the work. */
export interface Entries<Key, Value> {
  forEach(visit: (value: Value, key: Key) => void): void
}

export interface Zone {
  readonly revision: number
  readonly domain: Name
  readonly subnet: Cidr
  readonly names: Lookup<Name, Target>
  /** By a key that is equal for equal views; '' is everybody else's. */
  readonly views: ReadonlyMap<string, View>
  /** Containers of this host by source address. */
  readonly askers: ReadonlyMap<Ipv4, Asker>
  /** Names of addresses inside the subnet. */
  readonly pointers: Lookup<Ipv4, Name>
}

export const metadataName = 'rancher-metadata'

/** The address a container answers on: its own, or that of the container whose network it shares. */
export function addressOf(environment: Environment, container: ContainerRecord): Ipv4 | null {
  if (container.address !== null || container.networkFrom === null) return container.address
  return environment.containers.get(container.networkFrom)?.address ?? null
}

export const isPresent = (environment: Environment, container: ContainerRecord): boolean =>
  container.host === environment.self || environment.hosts.get(container.host)?.present === true

const none: readonly string[] = []

export const targetOf = (four: readonly Ipv4[], six: readonly string[] = none): Target => ({
  is: 'addresses',
  four,
  six,
})

/** The name of a service, or of a sidekick of it; undefined when some part is no DNS label. */
export function serviceName(
  domain: Name,
  { stack, service, sidekick }: { stack: string; service: string; sidekick?: string | null },
): Name | undefined {
  const labels = [dnsLabel(service), dnsLabel(stack)]
  if (sidekick !== undefined && sidekick !== null) labels.unshift(dnsLabel(sidekick))
  if (labels.includes(undefined)) return undefined
  const name = `${labels.join('.')}.${domain}`
  return name.length > longestName ? undefined : name
}

/** The name behind `stack/service`, or behind `service` in the same stack. */
export function linkedName(text: string, stack: string, domain: Name): Name | undefined {
  const [first = '', second, ...rest] = text.split('/')
  if (rest.length > 0) return undefined
  return second === undefined
    ? serviceName(domain, { stack, service: first })
    : serviceName(domain, { stack: first, service: second })
}
