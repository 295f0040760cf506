/**
 * The difference between what the kernel has and what the host's plan asks for, as lines of `ip -batch`.
 * Addresses come before the routes that name them and go after those. Pure.
 */

import type { Link, Neighbour, Route, RoutingRule } from '../linux/ip.ts'
import { type Cidr, contains, formatIpv4, type Ipv4, isWithin, networkOf } from '../model/ip.ts'
import { type Attachment, wayChanges } from './attachments.ts'
import type { HostPlan } from './host-plan.ts'
import type { PlannedRoute } from './ipsec-plan.ts'
import { answering, type NetworkNames, peerAlias, routeProtocol, rulePriority } from './names.ts'

export interface KernelState {
  readonly links: readonly Link[]
  readonly routes: readonly Route[]
  readonly neighbours: readonly Neighbour[]
  readonly rules: readonly RoutingRule[]
  /** Of tables beside the main one, by number. */
  readonly tables: ReadonlyMap<number, readonly Route[]>
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
    ...answerChanges(plan, kernel),
    ...wayChanges(attachments, kernel, plan.managed),
    ...addresses.gone,
    ...linksGone(names, plan, kernel),
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

/** A route that leads elsewhere is replaced: no packet finds none. One into a device that is not there stays. */
function tunnelChanges(plan: HostPlan, { links, routes }: KernelState): readonly string[] {
  const { name, mtu } = plan.tunnel
  const there = new Map(links.map((link) => [link.name, link]))
  const device = there.get(name)
  const ready = device === undefined || (device.up && device.mtu === mtu)
  const set = ready ? [] : [`link set dev ${name} addrgenmode none`, `link set dev ${name} mtu ${mtu} up`]
  const present = new Map(
    routes
      .filter((route) => plan.devices.includes(route.device ?? '') && isOurs(route))
      .map((route) => [route.to, route]),
  )
  const wanted = new Set<string>(plan.routes.map(({ to }) => to))
  const source = plan.managed === undefined ? '' : ` src ${formatIpv4(plan.managed)}`
  const mtuOf = (to: Cidr): number | undefined => {
    const known = plan.mtus.get(to)
    return known === undefined ? present.get(to)?.mtu : known < mtu ? known : undefined
  }
  const fresh = plan.routes.filter((route) => {
    const found = present.get(route.to)
    const same = found?.device === route.device && found.source === plan.managed
    return there.has(route.device) && !(same && found.mtu === mtuOf(route.to))
  })
  const gone = [...present.values()].filter(({ to }) => !wanted.has(to))
  return [
    ...set,
    ...(plan.devices.length === 1 ? [] : plan.devices)
      .filter((one) => there.get(one)?.addresses.every(({ address }) => address !== plan.anchor))
      .map((one) => `addr add ${formatIpv4(plan.anchor)}/32 dev ${one} scope host`),
    ...fresh.map(
      (route) =>
        `route replace ${route.to} dev ${route.device} scope link proto ${routeProtocol}${source}${limitOf(mtuOf(route.to))}`,
    ),
    ...gone.map((route) => `route del ${route.to} dev ${route.device} proto ${routeProtocol}`),
  ]
}

/** Other environments have rules and tables in common with this one; their routes are not of its subnet. */
function answerChanges(plan: HostPlan, { links, rules, tables }: KernelState): readonly string[] {
  const there = new Set(links.map(({ name }) => name))
  return Object.values(answering).flatMap(({ mark, table }) => {
    const wanted = plan.answers.find((one) => one.table === table)
    const stands = rules.some((rule) => rule.mark === mark && rule.table === String(table))
    const present = (tables.get(table) ?? []).filter(
      ({ to }) => to !== 'default' && isWithin(plan.subnet, to),
    )
    const has = (route: PlannedRoute): boolean =>
      present.some(({ to, device }) => to === route.to && device === route.device)
    const routes = (wanted?.routes ?? []).filter(({ device }) => there.has(device))
    const gone = present.filter(({ to }) => !routes.some((route) => route.to === to))
    return [
      ...(stands || wanted === undefined ? [] : [`rule add ${ruleText(mark, table)}`]),
      ...routes
        .filter((route) => !has(route))
        .map(({ to, device }) => `route replace ${to} dev ${device} ${inTable(table)}`),
      ...gone.map(({ to, device }) => `route del ${to} dev ${device} ${inTable(table)}`),
    ]
  })
}

const ruleText = (mark: number, table: number): string =>
  `fwmark ${mark} lookup ${table} pref ${rulePriority} protocol ${routeProtocol}`

const inTable = (table: number): string => `table ${table} scope link proto ${routeProtocol}`

/** Interfaces of peers are made before everything else, one by one: a kernel that refuses one changes no other. */
export function linkChanges(plan: HostPlan, links: readonly Link[]): readonly (readonly string[])[] {
  const there = new Map(links.map((link) => [link.name, link]))
  return plan.links.flatMap(({ name, ifId, alias }) => {
    const found = there.get(name)
    const ours = found?.kind === 'xfrm' && found.ifId === ifId && found.alias === alias
    if (ours && found.up && found.mtu === plan.tunnel.mtu) return []
    return [
      [
        ...(ours ? [] : [`link add dev ${name} type xfrm dev lo if_id ${ifId}`]),
        `link set dev ${name} addrgenmode none`,
        `link set dev ${name} alias ${alias}`,
        `link set dev ${name} mtu ${plan.tunnel.mtu} up`,
      ],
    ]
  })
}

/** Of peers that are gone, after the routes that led there. */
const linksGone = (names: NetworkNames, plan: HostPlan, { links }: KernelState): readonly string[] =>
  links
    .filter(({ name, alias }) => alias.startsWith(peerAlias(names)) && !plan.devices.includes(name))
    .map(({ name }) => `link del dev ${name}`)

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
  kernel: Pick<KernelState, 'links' | 'routes' | 'rules' | 'tables'>,
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
    ...answersGone(kernel, within, alone),
    ...kernel.links
      .filter(({ alias }) => alias.startsWith(peerAlias(names)))
      .map(({ name }) => `link del dev ${name}`),
  ]
}

const answersGone = (
  { rules, tables }: Pick<KernelState, 'rules' | 'tables'>,
  within: (address: Ipv4) => boolean,
  alone: boolean,
): readonly string[] =>
  Object.values(answering).flatMap(({ mark, table }) => [
    ...(tables.get(table) ?? [])
      .filter(({ to }) => to !== 'default' && within(networkOf(to).first))
      .map(({ to, device }) => `route del ${to} dev ${device} ${inTable(table)}`),
    ...rules
      .filter((rule) => alone && rule.mark === mark && rule.table === String(table))
      .map(() => `rule del ${ruleText(mark, table)}`),
  ])

/** Labels of all environments begin with this. */
const everyLabel = 'lo:dr'
