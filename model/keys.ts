/**
 * The layout of the store: one function per key, one parser for all of them.
 * Under `/drover/v1/<environment>/` only a host writes its own keys; `blocks/` and `addresses/` are the only
 * contended ones and are taken by compare-and-swap.
 */
import { type Cidr, formatIpv4, type Ipv4, parseCidr, parseIpv4 } from './ip.ts'
import { type ContainerId, containerIdField, type HostId, hostIdField } from './records.ts'

export interface Keys {
  readonly prefix: string
  readonly settings: string
  host(id: HostId): string
  alive(id: HostId): string
  head(id: HostId): string
  block(cidr: Cidr): string
  pin(address: Ipv4): string
  containersOf(host: HostId): string
  container(host: HostId, id: ContainerId): string
  readonly services: string
  service(stack: string, name: string): string
  /** The list of removed hosts. */
  readonly removed: string
  /** The list of authorities. */
  readonly authorities: string
  readonly promotions: string
  /** What two hosts say to each other while one gives the key of the CA to the other. */
  promotion(host: HostId): string
  readonly tokens: string
  token(id: string): string
  readonly certificates: string
  /** The next certificate of a host, where it picks it up. */
  certificate(host: HostId): string
}

export function keysOf(environment: string): Keys {
  const prefix = `/drover/v1/${encodeURIComponent(environment)}/`
  return {
    prefix,
    settings: `${prefix}settings`,
    host: (id) => `${prefix}hosts/${id}`,
    alive: (id) => `${prefix}alive/${id}`,
    head: (id) => `${prefix}heads/${id}`,
    block: (cidr) => `${prefix}blocks/${cidr}`,
    pin: (address) => `${prefix}addresses/${formatIpv4(address)}`,
    containersOf: (host) => `${prefix}containers/${host}/`,
    container: (host, id) => `${prefix}containers/${host}/${id}`,
    services: `${prefix}services/`,
    service: (stack, name) => `${prefix}services/${encodeURIComponent(stack)}/${encodeURIComponent(name)}`,
    removed: `${prefix}removed`,
    authorities: `${prefix}authorities`,
    promotions: `${prefix}promotions/`,
    promotion: (host) => `${prefix}promotions/${host}`,
    tokens: `${prefix}tokens/`,
    token: (id) => `${prefix}tokens/${id}`,
    certificates: `${prefix}certificates/`,
    certificate: (host) => `${prefix}certificates/${host}`,
  }
}

export type KeyMeaning =
  | { readonly is: 'settings' }
  | { readonly is: 'host'; readonly host: HostId }
  | { readonly is: 'alive'; readonly host: HostId }
  | { readonly is: 'head'; readonly host: HostId }
  | { readonly is: 'block'; readonly cidr: Cidr }
  | { readonly is: 'pin'; readonly address: Ipv4 }
  | { readonly is: 'container'; readonly host: HostId; readonly container: ContainerId }
  | { readonly is: 'service'; readonly stack: string; readonly name: string }
  | { readonly is: 'removed' }
  | { readonly is: 'authorities' }
  | { readonly is: 'promotion'; readonly host: HostId }
  | { readonly is: 'token' }
  | { readonly is: 'certificate'; readonly host: HostId }
  | { readonly is: 'unknown' }

const hostKinds = new Map([
  ['hosts', 'host'],
  ['alive', 'alive'],
  ['heads', 'head'],
  ['certificates', 'certificate'],
  ['promotions', 'promotion'],
] as const)

/** What a key stands for; `unknown` for whatever somebody else put under our prefix. */
export function meaningOf(prefix: string, key: string): KeyMeaning {
  const [kind = '', ...rest] = key.slice(prefix.length).split('/')
  const tail = rest.join('/')
  if (kind === 'settings' && rest.length === 0) return { is: 'settings' }
  if (kind === 'removed' && rest.length === 0) return { is: 'removed' }
  if (kind === 'authorities' && rest.length === 0) return { is: 'authorities' }
  if (kind === 'tokens' && rest.length === 1) return { is: 'token' }
  const perHost = hostKinds.get(kind as 'hosts')
  if (perHost !== undefined) {
    const host = hostIdField.safeParse(tail)
    return host.success ? { is: perHost, host: host.data } : { is: 'unknown' }
  }
  if (kind === 'blocks') {
    const cidr = parseCidr(tail)
    return cidr === undefined ? { is: 'unknown' } : { is: 'block', cidr }
  }
  if (kind === 'addresses') {
    const address = parseIpv4(tail)
    return address === undefined ? { is: 'unknown' } : { is: 'pin', address }
  }
  if (kind === 'containers' && rest.length === 2) {
    const host = hostIdField.safeParse(rest[0])
    const container = containerIdField.safeParse(rest[1])
    if (host.success && container.success)
      return { is: 'container', host: host.data, container: container.data }
  }
  if (kind === 'services' && rest.length === 2) return serviceMeaning(rest)
  return { is: 'unknown' }
}

function serviceMeaning([stack = '', name = '']: readonly string[]): KeyMeaning {
  try {
    return { is: 'service', stack: decodeURIComponent(stack), name: decodeURIComponent(name) }
  } catch {
    return { is: 'unknown' }
  }
}
