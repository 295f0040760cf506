/**
 * What is attached now, read back from what the kernel says: each veth carries in its alias whose it is. So a
 * restarted daemon knows everything that an earlier one did. Pure; keyed by the inode of the container's
 * network namespace, because containers may share one.
 */

import type { Link, Neighbour, Route } from '../linux/ip.ts'
import { cidrOf, formatIpv4, type Ipv4 } from '../model/ip.ts'
import { macOf, wayTo } from './attach-plan.ts'
import { type NetworkNames, type Tag, tagOf } from './names.ts'
import type { Elements } from './ruleset.ts'

export interface Attachment extends Tag {
  readonly link: string
  /** Both ends are up: the container's side was set up, too. */
  readonly complete: boolean
}

/** All of this environment; links that only look like ours have no alias of ours and do not count. */
export function attachmentsOf(names: NetworkNames, links: readonly Link[]): readonly Attachment[] {
  return links.flatMap((link) => {
    const tag = link.name.startsWith(names.veth) ? tagOf(names, link.alias) : undefined
    return tag === undefined ? [] : [{ ...tag, link: link.name, complete: link.carrier }]
  })
}

/** Veths that were made but never got their alias: an attach that was cut off. */
export const namelessOf = (names: NetworkNames, links: readonly Link[]): readonly string[] =>
  links
    .filter(({ name, alias }) => alias === '' && new RegExp(`^${names.veth}[0-9a-f]{10}$`).test(name))
    .map(({ name }) => name)

/** The set elements that the attachments stand for. */
export function elementsOf(attachments: readonly Attachment[]): Elements {
  return new Map([
    ['veths', attachments.map(({ link }) => link)],
    ['allowed', attachments.map(pairOf)],
    ['outward', attachments.filter(({ outward }) => outward).map(({ address }) => formatIpv4(address))],
  ])
}

/** What this interface may send from. */
export const pairOf = ({ link, address }: { readonly link: string; readonly address: Ipv4 }): string =>
  `${link} . ${formatIpv4(address)}`

/** The lines that bring back neighbours and routes which somebody removed, or whose source has changed. */
export function wayChanges(
  attachments: readonly Attachment[],
  kernel: { readonly routes: readonly Route[]; readonly neighbours: readonly Neighbour[] },
  host: Ipv4 | undefined,
): readonly string[] {
  const routes = new Map(kernel.routes.map((route) => [`${route.device} ${route.to}`, route]))
  const neighbours = new Map(kernel.neighbours.map((one) => [`${one.device} ${one.address}`, one]))
  return attachments.flatMap(({ link, address }) => {
    const route = routes.get(`${link} ${cidrOf(address, 32)}`)
    const neighbour = neighbours.get(`${link} ${address}`)
    const known = neighbour?.permanent === true && neighbour.mac === macOf(address)
    return known && route !== undefined && route.source === host ? [] : wayTo(link, address, host)
  })
}
