/**
 * What IPsec adds to a host's plan, beside the one device of WireGuard: interfaces, who may send from what on them,
 * and tables by which an echo is answered by the backend that it was asked by, so that a probe says something of one
 * backend in both directions. Pure.
 */
import type { Environment } from '../model/environment.ts'
import { heldBy } from '../model/holding.ts'
import { type Cidr, cidrOf, isWithin } from '../model/ip.ts'
import type { HostId } from '../model/records.ts'
import { answering } from './names.ts'

/** An interface that is made for one peer; SAs and policies name it by its number. */
export interface PeerLink {
  readonly name: string
  readonly ifId: number
}

/** Where IPsec leads, beside WireGuard's one device. */
export interface IpsecLinks {
  /** One for each peer, made here. */
  readonly links: ReadonlyMap<HostId, PeerLink>
  /** One for all peers, which charon makes; undefined where it makes none. */
  readonly device: string | undefined
  /** The peers that are reached by IPsec now. */
  readonly chosen: ReadonlySet<HostId>
}

export const noIpsec: IpsecLinks = { links: new Map(), device: undefined, chosen: new Set() }

export interface PlannedRoute {
  readonly to: Cidr
  readonly device: string
}

/** Where answers go to what came in by one backend. */
export interface AnswerTable {
  readonly table: number
  readonly mark: number
  readonly routes: readonly PlannedRoute[]
}

/** The interface by which IPsec leads to a peer; undefined where it does not. */
export const linkTo = (
  { links, device }: Pick<IpsecLinks, 'links' | 'device'>,
  host: HostId,
): string | undefined => links.get(host)?.name ?? device

export const ipsecDevices = ({ links, device }: IpsecLinks): readonly string[] => [
  ...(device === undefined ? [] : [device]),
  ...[...links.values()].map(({ name }) => name),
]

/** An interface of one peer takes what that peer holds; charon sees to it where all peers have one interface. */
export function ownedOf(environment: Environment, { links, device }: IpsecLinks): readonly string[] {
  const { subnet } = environment.settings
  const owned = [...links].flatMap(([host, { name }]) =>
    heldBy(environment, host)
      .filter((cidr) => isWithin(subnet, cidr))
      .map((cidr) => `${name} . ${cidr.replace(/\/32$/, '')}`),
  )
  return device === undefined ? owned : [`${device} . ${subnet}`, ...owned]
}

/** Every peer's own address, by either backend. */
export function answersOf(
  { hosts, self }: Environment,
  tunnel: string,
  ipsec: IpsecLinks,
): readonly AnswerTable[] {
  const peers = [...hosts.values()].flatMap(({ record: { id, managed } }) =>
    id === self || managed === null ? [] : [{ id, to: cidrOf(managed, 32) }],
  )
  const byIpsec = peers.flatMap(({ id, to }) => {
    const device = linkTo(ipsec, id)
    return device === undefined ? [] : [{ to, device }]
  })
  return [
    { ...answering.wireguard, routes: peers.map(({ to }) => ({ to, device: tunnel })) },
    { ...answering.ipsec, routes: byIpsec },
  ]
}
