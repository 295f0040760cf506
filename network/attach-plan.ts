/**
 * What one container needs to be in the environment, as data and as the lines of two `ip -batch` runs: routed,
 * not bridged; a /32 on `managed0`, permanent neighbours on both sides, and its own default route untouched
 * unless it has no other network. Every line but the one that makes the veth can be repeated. Pure.
 */
import { type Cidr, formatIpv4, type Ipv4 } from '../model/ip.ts'
import type { ContainerId } from '../model/records.ts'
import { aliasOf, managedDevice, type NetworkNames, routeProtocol, type Tag, vethName } from './names.ts'

export interface AttachPlan extends Tag {
  /** The veth's end on the host. */
  readonly link: string
  readonly alias: string
  /** Any process in the container's network namespace. */
  readonly pid: number
  /** MAC of the container's end: 02:d0 and the address. */
  readonly mac: string
  readonly mtu: number
  /** The host's managed address: what the host is seen as. */
  readonly host: Ipv4
  readonly subnet: Cidr
  /** Reached through the veth: the subnet and the servers' address; everything for an outward one. */
  readonly routes: readonly string[]
}

export interface AttachWish {
  readonly container: ContainerId
  readonly pid: number
  readonly inode: number
  readonly address: Ipv4
  /** `--network none`: managed0 becomes its default route, masqueraded by the host. */
  readonly outward: boolean
}

export interface AttachPlanOptions {
  readonly names: NetworkNames
  readonly subnet: Cidr
  readonly host: Ipv4
  readonly mtu: number
  /** 169.254.169.250 in production. */
  readonly servers: Ipv4
}

/** Link-local, the same in every container; nobody has it as an address. */
const gateway = '169.254.1.1'
const gatewayMac = '02:d0:a9:fe:01:01'

export const macOf = (address: Ipv4): string =>
  `02:d0:${[24, 16, 8, 0].map((shift) => ((address >>> shift) & 255).toString(16).padStart(2, '0')).join(':')}`

export function attachPlan(wish: AttachWish, options: AttachPlanOptions): AttachPlan {
  const { names, subnet, host, mtu, servers } = options
  return {
    ...wish,
    link: vethName(names, wish.container, wish.inode),
    alias: aliasOf(names, wish),
    mac: macOf(wish.address),
    mtu,
    host,
    subnet,
    routes: [subnet, `${formatIpv4(servers)}/32`, ...(wish.outward ? ['default'] : [])],
  }
}

/** Makes the veth, its far end in the namespace at `netns` at once: no half of it is ever on the host alone. */
export const vethLine = (plan: AttachPlan, netns: string): string =>
  `link add name ${plan.link} address ${gatewayMac} mtu ${plan.mtu} type veth ` +
  `peer name ${managedDevice} address ${plan.mac} mtu ${plan.mtu} netns ${netns}`

/** The host's side. IPv6 stays off: it would come up by itself and has no rules. */
export function hostLines(plan: AttachPlan): readonly string[] {
  return [
    `link set dev ${plan.link} alias ${plan.alias}`,
    `link set dev ${plan.link} addrgenmode none`,
    `link set dev ${plan.link} mtu ${plan.mtu} up`,
    ...wayTo(plan.link, plan.address, plan.host),
  ]
}

/** How the host reaches an attached container. */
export const wayTo = (link: string, address: Ipv4, host: Ipv4 | undefined): readonly string[] => [
  `neigh replace ${formatIpv4(address)} lladdr ${macOf(address)} dev ${link} nud permanent`,
  `route replace ${formatIpv4(address)}/32 dev ${link} scope link proto ${routeProtocol}` +
    (host === undefined ? '' : ` src ${formatIpv4(host)}`),
]

/** The container's side. */
export function insideLines(plan: AttachPlan): readonly string[] {
  const own = formatIpv4(plan.address)
  return [
    `link set dev ${managedDevice} addrgenmode none`,
    `link set dev ${managedDevice} mtu ${plan.mtu} up`,
    `addr replace ${own}/32 dev ${managedDevice}`,
    `neigh replace ${gateway} lladdr ${gatewayMac} dev ${managedDevice} nud permanent`,
    `route replace ${gateway}/32 dev ${managedDevice} scope link src ${own}`,
    ...plan.routes.map((to) => `route replace ${to} via ${gateway} dev ${managedDevice} onlink src ${own}`),
  ]
}
