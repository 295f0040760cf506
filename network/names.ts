/**
 * Every name that Drover leaves in the kernel, derived from the environment's: two environments can share a
 * machine, and a daemon that knows nothing finds what an earlier one made. Pure.
 */
import { formatIpv4, type Ipv4, parseIpv4 } from '../model/ip.ts'
import type { ContainerId, HostId } from '../model/records.ts'
import { uuidOf } from '../model/uuid.ts'

export interface NetworkNames {
  /** The nftables table, family inet. */
  readonly table: string
  /** Begins the name of every veth on the host. */
  readonly veth: string
  /** Label of our addresses on `lo`. */
  readonly label: string
  /** Comment of our iptables rules. */
  readonly comment: string
  /** Whether it is the environment of whatever names none: of containers without the label, and of the host itself. */
  readonly primary: boolean
}

/** The container's end of a veth; one environment per container. */
export const managedDevice = 'managed0'

/** Marks our routes (`proto 208`, free in /etc/iproute2/rt_protos). */
export const routeProtocol = '208'

/**
 * How a peer is asked by one backend, and answers by it (ruleset.ts): what came in by a backend is marked, and what
 * answers it is routed by that backend's table. Environments share them, their peers differ.
 */
export const answering = {
  wireguard: { mark: 0x20800001, table: 20801 },
  ipsec: { mark: 0x20800002, table: 20802 },
} as const

/** Of the rules that lead to those tables: behind `local`, before everything that people make. */
export const rulePriority = 208

/** Tables of all environments begin with this. */
export const tablePrefix = 'drover_'

const digest = (length: number, ...path: readonly string[]): string =>
  uuidOf(...path)
    .replaceAll('-', '')
    .slice(0, length)

export function networkNames(environment: string): NetworkNames {
  const plain = /^[A-Za-z0-9_]{1,40}$/.test(environment)
  const slug = plain
    ? environment
    : `${environment.replace(/[^A-Za-z0-9_]/g, '_').slice(0, 40)}_${digest(6, 'table', environment)}`
  const primary = environment === 'default'
  const veth = primary ? 'dr' : `dr${digest(3, 'veth', environment)}`
  const table = `${tablePrefix}${slug}`
  return { table, veth, label: `lo:${veth}`, comment: table, primary }
}

/** What one attachment says about itself in its link's alias. */
export interface Tag {
  readonly container: ContainerId
  /** Inode of the container's network namespace. */
  readonly inode: number
  readonly address: Ipv4
  /** It has no other network: its way to the world is ours. */
  readonly outward: boolean
}

/** Host end of a veth: 12 characters in the default environment, 15 in others. */
export const vethName = (names: NetworkNames, container: ContainerId, inode: number): string =>
  `${names.veth}${digest(10, 'attachment', container, String(inode))}`

export const aliasOf = (names: NetworkNames, tag: Tag): string =>
  [names.table, tag.container, tag.inode, formatIpv4(tag.address), tag.outward ? 'outward' : 'overlay'].join(
    '/',
  )

/** Alias of the interface that leads to a peer. */
export const peerAliasOf = (names: NetworkNames, host: HostId): string => `${peerAlias(names)}${host}`

/** Aliases of all such interfaces begin with this. */
export const peerAlias = (names: NetworkNames): string => `${names.table}/peer/`

/** The tag in a link's alias; undefined for links that are not of this environment. */
export function tagOf(names: NetworkNames, alias: string): Tag | undefined {
  const [table, container = '', inode = '', address = '', kind] = alias.split('/')
  const parsed = parseIpv4(address)
  if (table !== names.table || parsed === undefined || !/^\d+$/.test(inode)) return undefined
  return {
    container: container as ContainerId,
    inode: Number(inode),
    address: parsed,
    outward: kind === 'outward',
  }
}
