/**
 * Whether a subnet is free on this machine: what it collides with, named, and one that is free instead. Pure;
 * what is Drover's own does not count.
 */
import type { Link, Route } from '../linux/ip.ts'
import type { NftTable } from '../linux/nft.ts'
import type { EngineNetwork } from '../model/engine.ts'
import { type Cidr, cidrOf, type Ipv4, networkOf, overlaps, parseCidr, parseIpv4 } from '../model/ip.ts'
import { routeProtocol, tablePrefix } from './names.ts'

export interface Occupied {
  /** For a person: `interface eth0`, `route by eth0`, `Docker network shop_default`. */
  readonly by: string
  readonly cidr: Cidr
}

export interface Overlap extends Occupied {
  /** A network of the same size that collides with nothing; undefined where none was found. */
  readonly free: Cidr | undefined
}

export function occupiedOf(
  links: readonly Link[],
  routes: readonly Route[],
  networks: readonly EngineNetwork[],
): readonly Occupied[] {
  const byLink = links.flatMap(({ name, addresses }) =>
    addresses
      .filter(({ label }) => !label.startsWith('lo:dr'))
      .map(({ address, bits }) => ({ by: `interface ${name}`, cidr: cidrOf(address, bits) })),
  )
  const byNetwork = networks.flatMap(({ name, subnets }) =>
    subnets.flatMap((subnet) => {
      const cidr = parseCidr(subnet)
      return cidr === undefined ? [] : [{ by: `Docker network ${name}`, cidr }]
    }),
  )
  const byRoute = routes.flatMap(({ to, device, protocol, type }) =>
    to === 'default' || protocol === routeProtocol ? [] : [{ by: `route by ${device ?? type}`, cidr: to }],
  )
  return [...byNetwork, ...byLink, ...byRoute]
}

/** Networks of other environments on this machine, as their tables say; their links and routes are Drover's own. */
export const neighboursOf = (tables: ReadonlyMap<string, NftTable>, own: string): readonly Occupied[] =>
  [...tables].flatMap(([name, { sets }]) => {
    const cidr = parseCidr(sets.get('subnet')?.[0] ?? '')
    return name === own || cidr === undefined
      ? []
      : [{ by: `the environment ${name.slice(tablePrefix.length)} of this machine`, cidr }]
  })

/** The first collision; undefined when the subnet can be used. */
export function overlapOf(subnet: Cidr, occupied: readonly Occupied[]): Overlap | undefined {
  const found = occupied.find(({ cidr }) => overlaps(cidr, subnet))
  return found === undefined ? undefined : { ...found, free: freeNetwork(networkOf(subnet).bits, occupied) }
}

/** Private space (RFC 1918), from where people look least. */
const spaces = ['10.42.0.0-10.255.255.255', '10.0.0.0-10.41.255.255', '172.16.0.0-172.31.255.255']

function freeNetwork(bits: number, occupied: readonly Occupied[]): Cidr | undefined {
  const step = Math.max(networkOf(cidrOf(0 as Ipv4, bits)).size, 65_536)
  for (const space of spaces) {
    const [from = 0, to = 0] = space.split('-').map((text) => parseIpv4(text) ?? 0)
    for (let at = Math.ceil(from / step) * step; at + step - 1 <= to; at += step) {
      const cidr = cidrOf(at as Ipv4, bits)
      if (!occupied.some((one) => overlaps(one.cidr, cidr))) return cidr
    }
  }
  return undefined
}

/** One line for an operator. */
export const overlapText = (subnet: Cidr, { by, cidr, free }: Overlap): string =>
  `${subnet} overlaps ${by} (${cidr})${free === undefined ? '' : `; --subnet ${free} is free`}`
