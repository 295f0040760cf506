/**
 * What people declared about services: external addresses and host names, and aliases of other services. Pure.
 */
import type { Environment } from '../../model/environment.ts'
import { type Ipv4, isIpv6, parseIpv4 } from '../../model/ip.ts'
import type { DeclaredService } from '../../model/records.ts'
import { isWithin, type Name, parseName } from '../codec/name.ts'
import { linkedName, serviceName, type Target, targetOf } from './targets.ts'

export interface Declared {
  readonly services: ReadonlyMap<Name, DeclaredService>
  /** Service aliases with the names that they stand for. */
  readonly aliases: ReadonlyMap<Name, readonly Name[]>
}

export const nothingDeclared: Declared = { services: new Map(), aliases: new Map() }

export function declaredIn(environment: Environment, domain: Name): Declared {
  const services = new Map<Name, DeclaredService>()
  const aliases = new Map<Name, readonly Name[]>()
  for (const declared of environment.services.values()) {
    const name = serviceName(domain, { stack: declared.stack, service: declared.name })
    if (name === undefined) continue
    if (declared.kind !== 'dnsService') services.set(name, declared)
    else
      aliases.set(
        name,
        declared.targets.flatMap((text) => linkedName(text, declared.stack, domain) ?? []),
      )
  }
  return { services, aliases }
}

/** Addresses before host name: a CNAME stands alone (RFC 1034 3.6.2). */
export function declaredTarget(declared: DeclaredService, found: Target | undefined): Target {
  const own = found?.is === 'addresses' ? found : undefined
  const four = declared.externalIps.flatMap((text) => parseIpv4(text) ?? [])
  const six = declared.externalIps.filter(isIpv6)
  const hostname = declared.hostname === null ? undefined : parseName(declared.hostname)
  const count = (own?.four.length ?? 0) + four.length + six.length
  if (count === 0 && hostname !== undefined) return { is: 'alias', name: hostname }
  const parts = own?.parts === undefined ? {} : { parts: own.parts }
  return { ...targetOf([...new Set([...(own?.four ?? []), ...four])], six), ...parts }
}

/** All addresses behind a service alias; aliases of aliases are followed once each, so loops end. */
export function unionOf(
  start: Name,
  { aliases }: Declared,
  targetAt: (name: Name) => Target | undefined,
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
    const target = targetAt(name)
    if (target?.is === 'alias') hosts.push(target.name)
    if (target?.is !== 'addresses') continue
    for (const address of target.four) four.add(address)
    for (const address of target.six) six.add(address)
  }
  const [host] = hosts
  if (four.size + six.size === 0 && host !== undefined) return { is: 'alias', name: host }
  return targetOf([...four], [...six])
}

/** Names of declared services that lead to each other in a circle, the first one again at the end. */
export function declaredLoop(
  services: ReadonlyMap<string, DeclaredService>,
  domain: string,
): readonly Name[] | undefined {
  const next = new Map([...services.values()].flatMap((service) => stepsOf(service, parseName(domain) ?? '')))
  const done = new Set<Name>()
  const follow = (name: Name, path: readonly Name[]): readonly Name[] | undefined => {
    if (path.includes(name)) return [...path.slice(path.indexOf(name)), name]
    if (done.has(name)) return undefined
    done.add(name)
    for (const to of next.get(name) ?? []) {
      const found = follow(to, [...path, name])
      if (found !== undefined) return found
    }
    return undefined
  }
  for (const name of next.keys()) {
    const found = follow(name, [])
    if (found !== undefined) return found
  }
  return undefined
}

/** Where one declared service leads, inside of the domain. */
function stepsOf(service: DeclaredService, domain: Name): readonly (readonly [Name, readonly Name[]])[] {
  const name = serviceName(domain, { stack: service.stack, service: service.name })
  if (name === undefined) return []
  const { kind, targets, stack, hostname } = service
  if (kind === 'dnsService') return [[name, targets.flatMap((text) => linkedName(text, stack, domain) ?? [])]]
  const host = hostname === null ? undefined : parseName(hostname)
  return [[name, host !== undefined && isWithin(host, domain) ? [host] : []]]
}
