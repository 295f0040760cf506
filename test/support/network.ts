/** A host's network as the composition root would build it, in a test's namespace. */
import { CommandIp } from '../../linux/ip.ts'
import { CommandIptables } from '../../linux/iptables.ts'
import { ProcNetns } from '../../linux/netns.ts'
import { CommandNft } from '../../linux/nft.ts'
import { SystemSysctl } from '../../linux/sysctl.ts'
import { type Cidr, type Ipv4, parseIpv4 } from '../../model/ip.ts'
import type { ContainerId } from '../../model/records.ts'
import { NetworkApplier } from '../../network/apply.ts'
import { type AttachPlan, attachPlan } from '../../network/attach-plan.ts'
import type { HostPlan } from '../../network/host-plan.ts'
import { networkNames } from '../../network/names.ts'
import { rulesetOf } from '../../network/ruleset.ts'
import type { TestContainer, TestNetns } from './netns.ts'
import { MemoryLog } from './ports.ts'

export const ip4 = (text: string): Ipv4 => {
  const address = parseIpv4(text)
  if (address === undefined) throw new TypeError(`not an address: ${text}`)
  return address
}

export const serversAddress = ip4('169.254.169.250')

export function applierIn(space: TestNetns, environment = 'default'): NetworkApplier {
  const { runner } = space
  const ip = new CommandIp({ runner }, {})
  const nft = new CommandNft({ runner }, {})
  const iptables = new CommandIptables({ runner, nft }, {})
  const sysctl = new SystemSysctl({ runner }, {})
  const deps = { ip, nft, iptables, sysctl, netns: new ProcNetns(), log: new MemoryLog() }
  return new NetworkApplier(deps, { names: networkNames(environment) })
}

export interface PlanParts {
  readonly environment?: string
  readonly subnet?: string
  readonly managed?: string
  readonly tunnel?: string
  /** Into the tunnel, or as `NETWORK DEVICE`. */
  readonly routes?: readonly string[]
  readonly bridges?: readonly string[]
  /** Engine's addresses of containers of other environments, and of unmanaged ones of this. */
  readonly others?: readonly string[]
  readonly guests?: readonly string[]
  /** Of DNS and metadata. */
  readonly ports?: readonly [number, number]
  readonly mtus?: Readonly<Record<string, number>>
  readonly ipsec?: Partial<Pick<HostPlan, 'links' | 'answers'>> & { readonly owned?: readonly string[] }
}

export function hostPlanOf(parts: PlanParts): HostPlan {
  const { environment = 'default', tunnel = 'drover0', routes = [], bridges = ['docker0'] } = parts
  const subnet = (parts.subnet ?? '10.42.0.0/16') as Cidr
  const managed = parts.managed === undefined ? undefined : ip4(parts.managed)
  const [dnsPort, metadataPort] = parts.ports ?? [10053, 10080]
  const servers = { address: serversAddress, dnsPort, metadataPort }
  const { links = [], answers = [], owned = [] } = parts.ipsec ?? {}
  const byIpsec = links.map(({ name }) => name)
  return {
    subnet,
    managed,
    addresses: managed === undefined ? [serversAddress] : [managed, serversAddress],
    tunnel: { name: tunnel, mtu: 1380 },
    links,
    devices: [tunnel, ...byIpsec],
    anchor: serversAddress,
    routes: routes.map((route) => {
      const [to, device = tunnel] = route.split(' ')
      return { to: to as Cidr, device }
    }),
    answers,
    mtus: new Map(Object.entries(parts.mtus ?? {}) as [Cidr, number][]),
    ruleset: rulesetOf(networkNames(environment), subnet, servers),
    elements: new Map([
      ['subnet', [subnet]],
      ['tunnels', [tunnel, ...byIpsec]],
      ['ipsecs', byIpsec],
      ['owned', [...owned]],
      ['bridges', [...bridges]],
      ['others', [...(parts.others ?? [])]],
      ['guests', [...(parts.guests ?? [])]],
    ]),
  }
}

export function attachPlanOf(
  container: TestContainer,
  address: string,
  host: string,
  parts: {
    readonly id?: string
    readonly environment?: string
    readonly outward?: boolean
    readonly subnet?: string
  } = {},
): AttachPlan {
  const id = (parts.id ?? container.pid.toString(16)).padEnd(64, '0') as ContainerId
  const { pid, inode } = container
  return attachPlan(
    { container: id, pid, inode, address: ip4(address), outward: parts.outward ?? false },
    {
      names: networkNames(parts.environment ?? 'default'),
      subnet: (parts.subnet ?? '10.42.0.0/16') as Cidr,
      host: ip4(host),
      mtu: 1380,
      servers: serversAddress,
    },
  )
}

/** Everything of a namespace that attaching could change. */
export async function stateOf(space: TestNetns): Promise<string> {
  const commands = [
    'ip -j addr',
    'ip -j -4 route show table all',
    'ip -j -4 neigh show nud permanent',
    'nft list ruleset',
    'iptables-nft-save',
    'cat /proc/net/ip_tables_names',
  ]
  const texts = await Promise.all(commands.map((line) => space.sh(line)))
  return texts.join('\n').replace(/^#.*$/gm, '')
}
