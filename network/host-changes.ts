/**
 * The difference between what the kernel has and what the host's plan asks for, as lines of `ip -batch`.
 * Addresses come before the routes that name them and go after those. Pure.
 */

import type { Link, Neighbour, Route } from '../linux/ip.ts'
import { type Cidr, contains, formatIpv4, type Ipv4, networkOf } from '../model/ip.ts'
import { type Attachment, wayChanges } from './attachments.ts'
import type { HostPlan } from './host-plan.ts'
import { type NetworkNames, routeProtocol } from './names.ts'

export interface KernelState {
  readonly links: readonly Link[]
  readonly routes: readonly Route[]
  readonly neighbours: readonly Neighbour[]
}

/** Behind every other route: what has no better way is answered with an ICMP error instead of leaving in clear. */
const lastMetric = 4278198272

export function hostChanges(
  names: NetworkNames,
  plan: HostPlan,
  attachments: readonly Attachment[],
  kernel: KernelState,
): readonly string[] {
  const addresses = addressChanges(names, plan, kernel)
  return [
    ...addresses.fresh,
    ...wallChanges(plan, kernel),
    ...tunnelChanges(plan, kernel),
    ...wayChanges(attachments, kernel, plan.managed),
    ...addresses.gone,
  ]
}

function addressChanges(names: NetworkNames, plan: HostPlan, { links }: KernelState) {
  const present = links.find(({ name }) => name === 'lo')?.addresses ?? []
  const known = new Set(present.map(({ address }) => address))
  const wanted = new Set(plan.addresses)
  return {
    fresh: plan.addresses
      .filter((address) => !known.has(address))
      .map((address) => {
        // the servers' address never serves as a source towards other machines
        const scope = address === plan.managed ? 'global' : 'host'
        return `addr replace ${formatIpv4(address)}/32 dev lo label ${names.label} scope ${scope}`
      }),
    gone: present
      .filter(({ address, label }) => label === names.label && !wanted.has(address))
      .map(({ address, bits }) => `addr del ${formatIpv4(address)}/${bits} dev lo`),
  }
}

function wallChanges({ subnet }: HostPlan, { routes }: KernelState): readonly string[] {
  const stands = routes.some(
    ({ type, to, metric }) => type === 'unreachable' && to === subnet && metric === lastMetric,
  )
  return stands ? [] : [`route replace unreachable ${subnet} metric ${lastMetric} proto ${routeProtocol}`]
}

function tunnelChanges(plan: HostPlan, { links, routes }: KernelState): readonly string[] {
  const { name, mtu } = plan.tunnel
  const device = links.find((link) => link.name === name)
  if (device === undefined) return []
  const ready = device.up && device.mtu === mtu
  const set = ready ? [] : [`link set dev ${name} addrgenmode none`, `link set dev ${name} mtu ${mtu} up`]
  const present = new Map(
    routes.filter((route) => route.device === name && isOurs(route)).map((route) => [route.to, route]),
  )
  const wanted = new Set<string>(plan.routes)
  const source = plan.managed === undefined ? '' : ` src ${formatIpv4(plan.managed)}`
  const mtuOf = (to: Cidr): number | undefined => {
    const known = plan.mtus.get(to)
    return known === undefined ? present.get(to)?.mtu : known < mtu ? known : undefined
  }
  const fresh = plan.routes.filter((to) => {
    const found = present.get(to)
    return found === undefined || found.source !== plan.managed || found.mtu !== mtuOf(to)
  })
  const gone = [...present.keys()].filter((to) => !wanted.has(to))
  return [
    ...set,
    ...fresh.map(
      (to) =>
        `route replace ${to} dev ${name} scope link proto ${routeProtocol}${source}${limitOf(mtuOf(to))}`,
    ),
    ...gone.map((to) => `route del ${to} dev ${name} proto ${routeProtocol}`),
  ]
}

/** Locked: older kernels forward by a route's MTU only then. */
const limitOf = (mtu: number | undefined): string => (mtu === undefined ? '' : ` mtu lock ${mtu}`)

const isOurs = ({ protocol }: Route): boolean => protocol === routeProtocol

/**
 * Undoes addresses and routes of an environment, whoever made them. `alone`: no other environment is on this
 * machine, so that what they share goes, too. Routes to veths go with their veths, before this.
 */
export function leaveLines(
  names: NetworkNames,
  subnet: Cidr | undefined,
  kernel: Pick<KernelState, 'links' | 'routes'>,
  alone: boolean,
): readonly string[] {
  const within = (address: Ipv4): boolean => subnet !== undefined && contains(subnet, address)
  const routes = kernel.routes.filter(
    (route) => isOurs(route) && route.to !== 'default' && within(networkOf(route.to).first),
  )
  const addresses = (kernel.links.find(({ name }) => name === 'lo')?.addresses ?? []).filter(
    ({ address, label }) => (alone ? label.startsWith(everyLabel) : label === names.label && within(address)),
  )
  return [
    ...routes.map(({ to, type, device, metric }) =>
      type === 'unreachable'
        ? `route del unreachable ${to} metric ${metric} proto ${routeProtocol}`
        : `route del ${to} dev ${device} proto ${routeProtocol}`,
    ),
    ...addresses.map(({ address, bits }) => `addr del ${formatIpv4(address)}/${bits} dev lo`),
  ]
}

/** Labels of all environments begin with this. */
const everyLabel = 'lo:dr'
