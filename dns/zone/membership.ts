/**
 * Which containers stand behind which names and addresses. Looks again only at records that are not the same object
 * as before, at those of hosts that came or went, and at those that share the network of one of these. Keeps records
 * alone: what a container's own name and its address stand for is worked out when it is asked for, because there are
 * as many as containers. Pure.
 */
import type { Environment } from '../../model/environment.ts'
import type { Ipv4 } from '../../model/ip.ts'
import { dnsLabel } from '../../model/names.ts'
import type { ContainerId, ContainerRecord, HostId } from '../../model/records.ts'
import { labelBelow, type Name } from '../codec/name.ts'
import { AddressMap } from './address-map.ts'
import { sameTarget } from './changes.ts'
import { differences } from './differences.ts'
import { listOf, OneOrMany, onlyOf, type Some } from './one-or-many.ts'
import { addressOf, isPresent, serviceName, type Target, targetOf } from './targets.ts'

/** What stands for something else now. */
export interface Touched {
  /** Everything is new: the sets are left empty. */
  readonly all: boolean
  /** Of services and sidekicks that had or have a changed container. */
  readonly names: Set<Name>
  /** Own names. */
  readonly owns: ReadonlySet<Name>
  readonly addresses: Set<Ipv4>
  /** Whether a container of this host is among the changed ones. */
  readonly local: boolean
  /** Whether own names came or went. */
  readonly reshaped: boolean
}

/** Where a container stands. */
interface Place {
  readonly record: ContainerRecord
  readonly service: Name | undefined
  readonly label: string | undefined
  readonly address: Ipv4 | null
}

export class Membership {
  readonly #domain: Name
  /** Of own names: a dot and the domain. */
  readonly #suffix: string
  /** The snapshot that all of this is of. */
  #environment: Environment | undefined
  readonly #services = new OneOrMany<Name>()
  /** By label. */
  readonly #owns = new OneOrMany<string>()
  readonly #addresses = new OneOrMany<Ipv4>(new AddressMap())
  readonly #sharers = new OneOrMany<ContainerId>()
  readonly #local = new Map<ContainerId, ContainerRecord>()
  /** By stack, then by service and sidekick. */
  readonly #serviceNames = new Map<string, Map<string, Name | undefined>>()

  constructor(domain: Name) {
    this.#domain = domain
    this.#suffix = `.${domain}`
  }

  /** Containers of the service or sidekick of this name; none for a name that no service has. */
  ofService(name: Name): readonly ContainerRecord[] {
    return this.#services.at(name)
  }

  /** Names of services and sidekicks, each once. */
  eachService(visit: (name: Name) => void): void {
    this.#services.forEach((_some, name) => {
      visit(name)
    })
  }

  isOwn(name: Name): boolean {
    const label = labelBelow(name, this.#domain)
    return label !== undefined && this.#owns.has(label)
  }

  /** What a container's own name stands for; undefined when no container has it. */
  own(name: Name): Target | undefined {
    const label = labelBelow(name, this.#domain)
    return label === undefined ? undefined : this.#at(label)
  }

  eachOwn(visit: (target: Target, name: Name) => void): void {
    const environment = this.#environment
    if (environment === undefined) return
    this.#owns.forEach((some, label) => {
      visit(ownTarget(environment, some), label + this.#suffix)
    })
  }

  /** Addresses with their names. */
  eachPointer(visit: (name: Name, address: Ipv4) => void): void {
    this.#addresses.forEach((some, address) => {
      const name = this.#nameAmong(some)
      if (name !== undefined) visit(name, address)
    })
  }

  /** Containers of this host. */
  get local(): Iterable<ContainerRecord> {
    return this.#local.values()
  }

  nameOf(address: Ipv4): Name | undefined {
    return this.#nameAmong(this.#addresses.at(address))
  }

  #nameAmong(some: Some): Name | undefined {
    const only = onlyOf(some)
    const label = only === undefined ? labelAmong(listOf(some)) : dnsLabel(only.name)
    return label === undefined ? undefined : label + this.#suffix
  }

  update(environment: Environment): Touched {
    const before = this.#environment
    if (before === undefined || before.containers.size === 0) return this.#begin(environment)
    const changed = this.#changed(before, environment)
    const placesIn = (snapshot: Environment): readonly Place[] =>
      [...changed].flatMap((id) => {
        const record = snapshot.containers.get(id)
        return record === undefined ? [] : [this.#placeOf(snapshot, record)]
      })
    const [left, taken] = [placesIn(before), placesIn(environment)]
    const places = [...left, ...taken]
    const owns = new Map<string, Target | undefined>()
    const pointers = new Map<Ipv4, Name | undefined>()
    for (const { label, address } of places) {
      if (label !== undefined) owns.set(label, this.#at(label))
      if (address !== null) pointers.set(address, this.nameOf(address))
    }
    for (const place of left) this.#leave(place)
    this.#environment = environment
    for (const place of taken) this.#take(place)
    return {
      all: false,
      names: new Set(places.flatMap(({ service }) => service ?? [])),
      ...this.#compared(owns),
      addresses: new Set([...pointers.keys()].filter((at) => this.nameOf(at) !== pointers.get(at))),
      local: places.some(({ record }) => record.host === environment.self),
    }
  }

  #begin(environment: Environment): Touched {
    this.#environment = environment
    environment.containers.forEach((record) => {
      this.#take(this.#placeOf(environment, record))
    })
    return { all: true, names: new Set(), owns: new Set(), addresses: new Set(), local: true, reshaped: true }
  }

  #changed(before: Environment, environment: Environment): ReadonlySet<ContainerId> {
    const changed = differences(before.containers, environment.containers)
    const hosts = movedHosts(before, environment)
    if (hosts.size > 0) for (const [id, { host }] of before.containers) if (hosts.has(host)) changed.add(id)
    for (const id of [...changed]) for (const sharer of this.#sharers.at(id)) changed.add(sharer.id)
    return changed
  }

  /** Of what stood at labels, what is something else now. */
  #compared(before: ReadonlyMap<string, Target | undefined>): Pick<Touched, 'owns' | 'reshaped'> {
    const owns = new Set<Name>()
    let reshaped = false
    for (const [label, was] of before) {
      const is = this.#at(label)
      if (was !== undefined && is !== undefined && sameTarget(was, is)) continue
      owns.add(label + this.#suffix)
      reshaped ||= was === undefined || is === undefined
    }
    return { owns, reshaped }
  }

  #placeOf(environment: Environment, record: ContainerRecord): Place {
    const address = addressOf(environment, record)
    return { record, service: this.#serviceOf(record), label: dnsLabel(record.name), address }
  }

  #leave({ record, service, label, address }: Place): void {
    if (service !== undefined) this.#services.drop(service, record.id)
    if (label !== undefined) this.#owns.drop(label, record.id)
    if (address !== null) this.#addresses.drop(address, record.id)
    if (record.networkFrom !== null) this.#sharers.drop(record.networkFrom, record.id)
    this.#local.delete(record.id)
  }

  #take({ record, service, label, address }: Place): void {
    if (service !== undefined) this.#services.add(service, record)
    if (label !== undefined) this.#owns.add(label, record)
    if (address !== null) this.#addresses.add(address, record)
    if (record.networkFrom !== null) this.#sharers.add(record.networkFrom, record)
    if (record.host === this.#environment?.self) this.#local.set(record.id, record)
  }

  #at(label: string): Target | undefined {
    const environment = this.#environment
    return environment === undefined || !this.#owns.has(label)
      ? undefined
      : ownTarget(environment, this.#owns.at(label))
  }

  #serviceOf({ stack, service, sidekick }: ContainerRecord): Name | undefined {
    if (stack === null || service === null) return undefined
    const key = sidekick === null ? service : `${service}\n${sidekick}`
    let names = this.#serviceNames.get(stack)
    if (names === undefined) {
      names = new Map()
      this.#serviceNames.set(stack, names)
    }
    const known = names.get(key)
    if (known !== undefined || names.has(key)) return known
    const name = serviceName(this.#domain, { stack, service, sidekick })
    names.set(key, name)
    return name
  }
}

/** Of those with one address, the label of the container whose it is, before those that share it. */
function labelAmong(records: readonly ContainerRecord[]): string | undefined {
  let label: string | undefined
  for (const { name, networkFrom } of records)
    if (label === undefined || networkFrom === null) label = dnsLabel(name) ?? label
  return label
}

/** The address whatever the containers' health and state, as long as their hosts are there. */
function ownTarget(environment: Environment, some: Some): Target {
  const only = onlyOf(some)
  if (only !== undefined) {
    const address = presentAddress(environment, only)
    return targetOf(address === null ? [] : [address])
  }
  const addresses = new Set(listOf(some).flatMap((record) => presentAddress(environment, record) ?? []))
  return targetOf([...addresses].sort((one, other) => one - other))
}

const presentAddress = (environment: Environment, record: ContainerRecord): Ipv4 | null =>
  isPresent(environment, record) ? addressOf(environment, record) : null

/** Hosts that came or went. */
function movedHosts(before: Environment, { hosts }: Environment): ReadonlySet<HostId> {
  const moved = new Set<HostId>()
  for (const [id, { present }] of hosts)
    if ((before.hosts.get(id)?.present ?? false) !== present) moved.add(id)
  for (const [id, { present }] of before.hosts) if (present && !hosts.has(id)) moved.add(id)
  return moved
}
