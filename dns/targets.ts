/**
 * What local names stand for, and what services mean in these terms: which of their containers are given, what
 * people declared about them. Pure; zone.ts puts the whole together.
 */
import type { Environment } from '../model/environment.ts'
import { type Cidr, type Ipv4, isIpv6, parseIpv4 } from '../model/ip.ts'
import { dnsLabel } from '../model/names.ts'
import type { ContainerId, ContainerRecord, DeclaredService } from '../model/records.ts'
import { byIndex, isRunning } from '../model/services.ts'
import { type Name, parseName } from './name.ts'

export type Target =
  | { readonly is: 'addresses'; readonly four: readonly Ipv4[]; readonly six: readonly string[] }
  /** A host name elsewhere: a CNAME. */
  | { readonly is: 'alias'; readonly name: Name }
  /** Whatever that other local name stands for. */
  | { readonly is: 'same'; readonly name: Name }
  /** Only names below it exist: an empty non-terminal (RFC 8020). */
  | { readonly is: 'branch' }

/** How some askers see the names: where short names are looked up, and names that only they have. */
export interface View {
  readonly search: readonly Name[]
  readonly names: ReadonlyMap<Name, Target>
}

export interface Asker {
  readonly view: string
  readonly container: ContainerId
}

export interface Zone {
  readonly revision: number
  readonly domain: Name
  readonly subnet: Cidr
  readonly names: ReadonlyMap<Name, Target>
  /** By a key that is equal for equal views; '' is everybody else's. */
  readonly views: ReadonlyMap<string, View>
  /** Containers of this host by source address. */
  readonly askers: ReadonlyMap<Ipv4, Asker>
  /** Names of addresses inside the subnet. */
  readonly pointers: ReadonlyMap<Ipv4, Name>
}

/** The address a container answers on: its own, or that of the container whose network it shares. */
export function addressOf(environment: Environment, container: ContainerRecord): Ipv4 | null {
  if (container.address !== null || container.networkFrom === null) return container.address
  return environment.containers.get(container.networkFrom)?.address ?? null
}

export const isPresent = (environment: Environment, container: ContainerRecord): boolean =>
  container.host === environment.self || environment.hosts.get(container.host)?.present === true

const isHealthy = ({ health }: ContainerRecord): boolean => health === 'none' || health === 'healthy'

/** Running, healthy and reachable ones; when there are none, all that run. */
function addressesOf(environment: Environment, containers: readonly ContainerRecord[]): readonly Ipv4[] {
  const running = [...containers].sort(byIndex).filter(isRunning)
  const good = running.filter((container) => isHealthy(container) && isPresent(environment, container))
  const given = good.some((container) => addressOf(environment, container) !== null) ? good : running
  return [...new Set(given.flatMap((container) => addressOf(environment, container) ?? []))]
}

export const targetOf = (four: readonly Ipv4[], six: readonly string[] = []): Target => ({
  is: 'addresses',
  four,
  six,
})

/** The name of a service, or of a sidekick of it; undefined when some part is no DNS label. */
export function serviceName(
  domain: Name,
  { stack, service, sidekick }: { stack: string; service: string; sidekick?: string | null },
): Name | undefined {
  const labels = [sidekick ?? undefined, service, stack].filter((part) => part !== undefined).map(dnsLabel)
  return labels.includes(undefined) ? undefined : parseName([...labels, domain].join('.'))
}

/** Every service and sidekick with a name that DNS can carry. */
export function serviceTargets(environment: Environment, domain: Name): ReadonlyMap<Name, Target> {
  const groups = new Map<Name, ContainerRecord[]>()
  for (const container of environment.containers.values()) {
    const { stack, service, sidekick } = container
    if (stack === null || service === null) continue
    const name = serviceName(domain, { stack, service, sidekick })
    if (name === undefined) continue
    const group = groups.get(name)
    if (group === undefined) groups.set(name, [container])
    else group.push(container)
  }
  const targets = new Map<Name, Target>()
  for (const [name, containers] of groups) targets.set(name, targetOf(addressesOf(environment, containers)))
  addDeclared(environment, domain, targets)
  return targets
}

function addDeclared(environment: Environment, domain: Name, targets: Map<Name, Target>): void {
  const aliases = new Map<Name, readonly Name[]>()
  for (const declared of environment.services.values()) {
    const name = serviceName(domain, { stack: declared.stack, service: declared.name })
    if (name === undefined) continue
    if (declared.kind === 'dnsService') aliases.set(name, aliasTargets(declared, domain))
    else targets.set(name, declaredTarget(declared, targets.get(name)))
  }
  for (const name of aliases.keys()) targets.set(name, unionOf(name, targets, aliases))
}

const aliasTargets = (declared: DeclaredService, domain: Name): readonly Name[] =>
  declared.targets.flatMap((text) => linkedName(text, declared.stack, domain) ?? [])

/** The name behind `stack/service`, or behind `service` in the same stack. */
export function linkedName(text: string, stack: string, domain: Name): Name | undefined {
  const [first = '', second, ...rest] = text.split('/')
  if (rest.length > 0) return undefined
  return second === undefined
    ? serviceName(domain, { stack, service: first })
    : serviceName(domain, { stack: first, service: second })
}

/** Addresses before host name: a CNAME stands alone (RFC 1034 3.6.2). */
function declaredTarget(declared: DeclaredService, found: Target | undefined): Target {
  const own = found?.is === 'addresses' ? found.four : []
  const four = declared.externalIps.flatMap((text) => parseIpv4(text) ?? [])
  const six = declared.externalIps.filter(isIpv6)
  const hostname = declared.hostname === null ? undefined : parseName(declared.hostname)
  if (own.length + four.length + six.length === 0 && hostname !== undefined)
    return { is: 'alias', name: hostname }
  return targetOf([...new Set([...own, ...four])], six)
}

/** All addresses behind a service alias; aliases of aliases are followed once each, so loops end. */
function unionOf(
  start: Name,
  targets: ReadonlyMap<Name, Target>,
  aliases: ReadonlyMap<Name, readonly Name[]>,
): Target {
  const four = new Set<Ipv4>()
  const six = new Set<string>()
  const hosts: Name[] = []
  const seen = new Set<Name>()
  const pending = [start]
  for (let name = pending.pop(); name !== undefined; name = pending.pop()) {
    if (seen.has(name)) continue
    seen.add(name)
    const further = aliases.get(name)
    if (further !== undefined) {
      pending.push(...further)
      continue
    }
    const target = targets.get(name)
    if (target?.is === 'alias') hosts.push(target.name)
    if (target?.is !== 'addresses') continue
    for (const address of target.four) four.add(address)
    for (const address of target.six) six.add(address)
  }
  const [host] = hosts
  if (four.size + six.size === 0 && host !== undefined) return { is: 'alias', name: host }
  return targetOf([...four], [...six])
}
