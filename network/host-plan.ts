/**
 * What a host itself needs so that its containers reach those of others, as data: addresses on `lo`, routes
 * into the tunnel, the nftables table, Docker's permission. A pure function of the snapshot; it says nothing
 * of single containers of this host (attach-plan.ts does).
 */
import type { EngineContainer, EngineNetwork } from '../model/engine.ts'
import type { Environment } from '../model/environment.ts'
import { type Cidr, cidrOf, type Ipv4, isWithin, parseIpv4 } from '../model/ip.ts'
import type { HostId } from '../model/records.ts'
import {
  type AnswerTable,
  answersOf,
  type IpsecLinks,
  ipsecDevices,
  linkTo,
  ownedOf,
  type PeerLink,
  type PlannedRoute,
} from './ipsec-plan.ts'
import { type NetworkNames, peerAliasOf } from './names.ts'
import { type Elements, type Ruleset, rulesetOf, type Servers } from './ruleset.ts'

export interface HostPlan {
  readonly subnet: Cidr
  /** The host's own address in the environment; undefined until it owns a block. */
  readonly managed: Ipv4 | undefined
  /** On `lo`, each as /32: the managed one, and the servers'. */
  readonly addresses: readonly Ipv4[]
  readonly tunnel: { readonly name: string; readonly mtu: number }
  /** XFRM interfaces. */
  readonly links: readonly (PeerLink & { readonly alias: string })[]
  /** Every interface that leads to peers. */
  readonly devices: readonly string[]
  /** An address that they hold, where they are several: without one the kernel's loose check of sources is a strict one. */
  readonly anchor: Ipv4
  /** What other hosts hold: routed into a tunnel while it exists. */
  readonly routes: readonly PlannedRoute[]
  /** None where there is one backend only. */
  readonly answers: readonly AnswerTable[]
  /** What the paths of these routes carry. A route that is not named keeps the MTU that it has. */
  readonly mtus: ReadonlyMap<Cidr, number>
  readonly ruleset: Ruleset
  /** Elements that do not follow from attachments. */
  readonly elements: Elements
}

export interface HostPlanOptions {
  readonly names: NetworkNames
  readonly tunnel: { readonly name: string; readonly mtu: number }
  readonly servers: Servers
  /** Docker's bridges: unmanaged containers on them may ask our servers. */
  readonly bridges: readonly string[]
  readonly askers: Askers
  readonly ipsec: IpsecLinks
  /** Path MTUs that are known, inside of the tunnel. */
  readonly pathMtus: ReadonlyMap<HostId, number>
}

/** The engine's addresses of containers that may come by its bridges, each once, as text. */
export interface Askers {
  /** Of other environments. */
  readonly others: readonly string[]
  /** Of this one, without a managed address. */
  readonly guests: readonly string[]
}

/** What the labels of a container say, of all that its network cares for. */
export interface Belonging {
  readonly environment: string
  readonly managed: boolean
}

export function askersOf(
  containers: Iterable<EngineContainer>,
  environment: string,
  belongingOf: (container: EngineContainer) => Belonging,
): Askers {
  const [others, guests] = [new Set<string>(), new Set<string>()]
  for (const container of containers) {
    const belonging = belongingOf(container)
    const own = belonging.environment === environment
    for (const address of container.engineAddresses)
      if (parseIpv4(address) !== undefined && !(own && belonging.managed))
        (own ? guests : others).add(address)
  }
  return { others: [...others].sort(), guests: [...guests].sort() }
}

/** Bridges of the engine: its default ones, and one per user-defined network unless the user named it. */
export const bridgesOf = (networks: readonly EngineNetwork[]): readonly string[] => [
  'docker0',
  'docker_gwbridge',
  ...networks.map(({ id }) => `br-${id.slice(0, 12)}`),
]

export function hostPlan(environment: Environment, options: HostPlanOptions): HostPlan {
  const { names, tunnel, servers, bridges, askers, ipsec, pathMtus } = options
  const { subnet } = environment.settings
  const managed = environment.hosts.get(environment.self)?.record.managed ?? undefined
  const held = routesOf(environment)
  const devices = ipsecDevices(ipsec)
  return {
    subnet,
    managed,
    addresses: managed === undefined ? [servers.address] : [managed, servers.address],
    tunnel,
    links: [...ipsec.links].map(([host, link]) => ({ ...link, alias: peerAliasOf(names, host) })),
    devices: [tunnel.name, ...devices],
    anchor: servers.address,
    routes: held.map(({ to, host }) => ({
      to,
      device: (ipsec.chosen.has(host) ? linkTo(ipsec, host) : undefined) ?? tunnel.name,
    })),
    answers: devices.length === 0 ? [] : answersOf(environment, tunnel.name, ipsec),
    mtus: new Map(
      held.flatMap(({ to, host }) => {
        const mtu = pathMtus.get(host)
        return mtu === undefined ? [] : [[to, mtu]]
      }),
    ),
    ruleset: rulesetOf(names, subnet, servers),
    elements: new Map([
      ['subnet', [subnet]],
      ['tunnels', [tunnel.name, ...devices]],
      ['ipsecs', devices],
      ['owned', ownedOf(environment, ipsec)],
      ['bridges', [...new Set(bridges)]],
      ['others', names.primary ? askers.others : []],
      ['guests', names.primary ? [] : askers.guests],
    ]),
  }
}

/** Equal for equal plans. */
export const signatureOf = (plan: HostPlan): string =>
  JSON.stringify({
    ...plan,
    mtus: [...plan.mtus],
    ruleset: plan.ruleset.version,
    elements: [...plan.elements],
  })

export interface HeldRoute {
  readonly to: Cidr
  readonly host: HostId
}

/**
 * Blocks and confirmed pins of the other hosts. A claim outside the subnet would take traffic that is not
 * ours: it does not count.
 */
export function routesOf(environment: Environment): readonly HeldRoute[] {
  const { subnet } = environment.settings
  const blocks = [...environment.blocks]
    .filter(([, claim]) => claim.host !== environment.self)
    .map(([to, { host }]) => ({ to, host }))
  const pins = [...environment.pins]
    .filter(([, claim]) => claim.host !== environment.self && claim.confirmed)
    .map(([address, { host }]) => ({ to: cidrOf(address, 32), host }))
  return [...blocks, ...pins].filter(({ to }) => isWithin(subnet, to))
}
