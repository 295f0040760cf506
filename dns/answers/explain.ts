/**
 * Why a name gets the answer it gets, for people: which rule decides, which containers are behind it, and why each
 * is in the answer or not. Follows the steps of resolver.ts on the same zone. Pure.
 */
import type { Environment } from '../../model/environment.ts'
import { DroverError } from '../../model/errors.ts'
import type { Explained, ExplainedContainer } from '../../model/explained.ts'
import { formatIpv4, type Ipv4, parseIpv4 } from '../../model/ip.ts'
import { dnsLabel, printable } from '../../model/names.ts'
import type { ContainerId, ContainerRecord } from '../../model/records.ts'
import { isRunning } from '../../model/services.ts'
import { isWithin, labelsOf, type Name, parentOf, parseName } from '../codec/name.ts'
import { askableOf } from '../forwarding/forwarders.ts'
import { partTarget } from '../zone/parts.ts'
import { type Reverse, reverseOf } from '../zone/reverse.ts'
import {
  addressOf,
  isPresent,
  serviceName,
  type Target,
  type View,
  viewOfOthers,
  type Zone,
} from '../zone/targets.ts'
import { everybody } from '../zone/views.ts'
import type { EngineNames } from './engine-names.ts'
import { candidatesOf, type SearchMode, staysHere, turnOf } from './search.ts'
import { containerHere, notHere } from './whose.ts'

export interface ExplainDeps {
  readonly environment: Environment
  readonly zone: Zone
  readonly engine: EngineNames
  readonly mode: SearchMode
  /** The host's resolvers, in words. */
  readonly upstreams: readonly string[]
  /** Addresses that lead back to us. */
  readonly own: readonly string[]
}

interface Seen {
  readonly asker: string
  readonly address: Ipv4
  readonly container: ContainerId | undefined
  readonly view: View
}

export interface Finding {
  readonly explained: Explained
  /** Others decide what the answer is: it is to be asked for as this address would. */
  readonly openFor: Ipv4 | undefined
}

/** Throws USAGE for a name that no message can carry, and for an asker that is not known here. */
export function explained(deps: ExplainDeps, text: string, from: string | undefined): Finding {
  const name = parseName(text)
  if (name === undefined)
    throw new DroverError('USAGE', `no message of DNS can carry this name: ${printable(text)}`)
  const seen = seenBy(deps, from)
  const { asker, view } = seen
  const step = decide(deps, seen, name)
  const containers = step.found === null ? [] : containersBehind(deps, step.found, step.target)
  const { rule, found, answer } = step
  return {
    explained: { name, asker, search: view.search, rule, found, answer: answer ?? [], containers },
    openFor: answer === undefined ? seen.address : undefined,
  }
}

function seenBy({ environment, zone }: ExplainDeps, from: string | undefined): Seen {
  const view = zone.views.get(everybody) ?? viewOfOthers(zone.domain)
  if (from === undefined)
    return { asker: 'anybody outside of containers', address: 0 as Ipv4, container: undefined, view }
  const container = containerHere(environment, from)
  const address = container === undefined ? parseIpv4(from) : addressOf(environment, container)
  if (address === undefined) throw new DroverError('USAGE', notHere(environment, from))
  const known = address === null ? undefined : zone.askers.get(address)
  const own = known === undefined ? view : (zone.views.get(known.view) ?? view)
  const id = container?.id ?? known?.container
  return { asker: container?.name ?? from, address: address ?? (0 as Ipv4), container: id, view: own }
}

interface Step {
  readonly rule: string
  readonly found: Name | null
  readonly target?: Target | undefined
  /** undefined where others decide. */
  readonly answer: readonly string[] | undefined
}

function decide(deps: ExplainDeps, seen: Seen, name: Name): Step {
  const { zone } = deps
  if (isWithin(name, zone.domain)) return local(zone, seen.view, name, 'it is a name of the environment')
  const reverse = reverseOf(name, zone.subnet)
  if (reverse !== undefined) {
    const rule = 'it is the name of an address of the environment, which is never forwarded'
    return { rule, found: null, answer: [reverseText(zone, reverse)] }
  }
  return elsewhere(deps, seen, name)
}

function elsewhere({ zone, engine, mode, ...deps }: ExplainDeps, seen: Seen, name: Name): Step {
  const turn = turnOf(name, mode)
  const candidates = turn === 'none' ? [] : candidatesOf(name, seen.view.search)
  const candidate = candidates.find((one) => {
    const target = targetAt(zone, seen.view, one)
    return target !== undefined && target.is !== 'branch'
  })
  if (candidate !== undefined && turn === 'local')
    return local(zone, seen.view, candidate, 'the search list leads to a name of the environment')
  const addresses = engine.lookup(name, seen)
  if (addresses !== undefined) {
    const rule = 'it is a name on one of the Docker networks of the asker'
    return { rule, found: null, answer: addresses.map((address) => `A ${formatIpv4(address)}`) }
  }
  if (candidate === undefined && staysHere(name, mode))
    return {
      rule: 'one label that nobody here has: no upstream is asked',
      found: null,
      answer: [nothingThere],
    }
  const asked = askedText(deps, seen.view)
  if (candidate === undefined) return { rule: `it is none of ours: ${asked}`, found: null, answer: undefined }
  const tld = labelsOf(name).at(-1) ?? ''
  const rule = `.${tld} exists in the world: ${asked}; ours if they know no such name`
  return { ...local(zone, seen.view, candidate, rule), answer: undefined }
}

const nothingThere = 'NXDOMAIN'
const onlyBelow = 'NODATA: only names below it exist'

function reverseText(zone: Zone, reverse: Reverse): string {
  if (reverse.is !== 'address') return reverse.is === 'branch' ? onlyBelow : nothingThere
  const pointer = zone.pointers.get(reverse.address)
  return pointer === undefined ? nothingThere : `PTR ${pointer}`
}

function askedText({ upstreams, own }: Pick<ExplainDeps, 'upstreams' | 'own'>, view: View): string {
  const chosen = askableOf(view.upstreams, own).map(({ address }) => address)
  if (chosen.length > 0) return `the asker's own resolvers (--dns) are asked: ${chosen.join(', ')}`
  return upstreams.length === 0 ? 'no upstream is known' : `the upstreams are asked: ${upstreams.join(', ')}`
}

function targetAt(zone: Zone, view: View, name: Name): Target | undefined {
  return view.names.get(name) ?? zone.names.get(name) ?? partTarget(zone.names, name)
}

function local(zone: Zone, view: View, name: Name, rule: string): Step {
  const first = targetAt(zone, view, name)
  if (first?.is === 'same') {
    const target = zone.names.get(first.name)
    return { rule: `${rule}, by a link of the asker`, found: first.name, target, answer: shown(target) }
  }
  return { rule, found: first === undefined ? null : name, target: first, answer: shown(first) }
}

/** undefined for what leads elsewhere. */
function shown(target: Target | undefined): readonly string[] | undefined {
  if (target === undefined) return [nothingThere]
  if (target.is === 'alias' || target.is === 'same') return undefined
  if (target.is === 'servers') return target.servers.map((server) => `SRV 0 1 ${target.port} ${server}`)
  if (target.is === 'branch') return [onlyBelow]
  const records = [
    ...target.four.map((one) => `A ${formatIpv4(one)}`),
    ...target.six.map((one) => `AAAA ${one}`),
  ]
  return records.length === 0 ? ['NODATA: it has no address now'] : records
}

function containersBehind(
  { environment, zone }: ExplainDeps,
  name: Name,
  target: Target | undefined,
): readonly ExplainedContainer[] {
  const service = zone.names.has(name) ? name : partOwner(name)
  const members = [...environment.containers.values()].filter((container) =>
    namesOf(container, zone.domain).includes(service),
  )
  const isGiven = (index: number, address: Ipv4 | null): boolean =>
    (target?.is === 'servers' && target.servers.includes(`${index}.${service}`)) ||
    (target?.is === 'addresses' && address !== null && target.four.includes(address))
  return members.map((container) => {
    const address = addressOf(environment, container)
    return {
      name: container.name,
      host: environment.hosts.get(container.host)?.record.name ?? container.host,
      address: address === null ? null : formatIpv4(address),
      given: isGiven(container.index, address),
      why: conditionOf(environment, container),
    }
  })
}

/** The service that a part belongs to: `_port._protocol` are two labels, a number is one. */
const partOwner = (name: Name): Name => {
  const parent = parentOf(name)
  return parent.startsWith('_') ? parentOf(parent) : parent
}

function namesOf(container: ContainerRecord, domain: Name): readonly Name[] {
  const { name, stack, service, sidekick } = container
  const label = dnsLabel(name)
  const own = label === undefined ? [] : [`${label}.${domain}`]
  if (stack === null || service === null) return own
  return [...own, serviceName(domain, { stack, service, sidekick }) ?? '']
}

function conditionOf(environment: Environment, container: ContainerRecord): string {
  if (addressOf(environment, container) === null) return 'it has no address'
  if (!isRunning(container)) return `it is ${container.state}`
  if (!isPresent(environment, container)) return 'its host does not answer'
  return container.health === 'none' ? 'it runs' : `it is ${container.health}`
}
