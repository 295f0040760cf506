/**
 * Which containers stand behind which names and addresses. Looks again only at records that are not the same object
 * as before, at those of hosts that came or went, and at those that share the network of one of these. Pure.
 */
import type { Environment } from '../model/environment.ts'
import type { Ipv4 } from '../model/ip.ts'
import { dnsLabel } from '../model/names.ts'
import type { ContainerId, ContainerRecord, HostId } from '../model/records.ts'
import type { Name } from './name.ts'
import { addressOf, serviceName } from './targets.ts'

export interface Entry {
  readonly record: ContainerRecord
  /** The service's, or the sidekick's; undefined for one that DNS cannot carry, or that belongs to none. */
  readonly service: Name | undefined
  readonly own: Name | undefined
  readonly address: Ipv4 | null
}

/** Most have one member, and there are many. */
type Index<Key> = Map<Key, Entry | Entry[]>

/** What may stand for something else now. */
export interface Touched {
  /** Everything is new: the sets are left empty. */
  readonly all: boolean
  readonly names: Set<Name>
  readonly addresses: Set<Ipv4>
  /** Whether a container of this host is among the changed ones. */
  local: boolean
}

export class Membership {
  readonly #domain: Name
  #containers: Environment['containers'] = new Map()
  #present = new Map<HostId, boolean>()
  readonly #entries = new Map<ContainerId, Entry>()
  readonly #services: Index<Name> = new Map()
  readonly #owns: Index<Name> = new Map()
  readonly #addresses: Index<Ipv4> = new Map()
  readonly #sharers: Index<ContainerId> = new Map()
  readonly #local = new Map<ContainerId, ContainerRecord>()
  /** By stack, then by service and sidekick. */
  readonly #serviceNames = new Map<string, Map<string, Name | undefined>>()

  constructor(domain: Name) {
    this.#domain = domain
  }

  /** Containers of the service or sidekick of this name. */
  ofService(name: Name): readonly Entry[] | undefined {
    const found = this.#services.get(name)
    return found === undefined ? undefined : entriesIn(found)
  }

  /** Containers of this own name. */
  ofOwnName(name: Name): readonly Entry[] {
    const found = this.#owns.get(name)
    return found === undefined ? nobody : entriesIn(found)
  }

  /** Names of services and sidekicks, then those of containers, each once. */
  *names(): Iterable<Name> {
    yield* this.#services.keys()
    for (const name of this.#owns.keys()) if (!this.#services.has(name)) yield name
  }

  addresses(): Iterable<Ipv4> {
    return this.#addresses.keys()
  }

  /** Containers of this host. */
  get local(): Iterable<ContainerRecord> {
    return this.#local.values()
  }

  /** The name of an address: that of the container whose it is, before those that share it. */
  nameOf(address: Ipv4): Name | undefined {
    const found = this.#addresses.get(address)
    if (found === undefined) return undefined
    if (!isList(found)) return found.own
    let name: Name | undefined
    for (const { own, record } of found)
      if (own !== undefined && (name === undefined || record.networkFrom === null)) name = own
    return name
  }

  update(environment: Environment): Touched {
    if (this.#entries.size === 0) return this.#begin(environment)
    const touched: Touched = { all: false, names: new Set(), addresses: new Set(), local: false }
    const changed = this.#changed(environment)
    for (const id of [...changed])
      for (const { record } of entriesAt(this.#sharers, id)) changed.add(record.id)
    this.#containers = environment.containers
    for (const id of changed) {
      this.#forget(id, environment.self, touched)
      const record = environment.containers.get(id)
      if (record !== undefined) this.#learn(environment, record, touched)
    }
    return touched
  }

  /** Many at once: nothing is looked up that cannot be there. */
  #begin(environment: Environment): Touched {
    this.#movedHosts(environment)
    this.#containers = environment.containers
    for (const record of environment.containers.values()) this.#learn(environment, record, undefined)
    return { all: true, names: new Set(), addresses: new Set(), local: this.#local.size > 0 }
  }

  #changed(environment: Environment): Set<ContainerId> {
    const changed = new Set<ContainerId>()
    if (environment.containers !== this.#containers) {
      let known = 0
      for (const [id, record] of environment.containers) {
        const entry = this.#entries.get(id)
        if (entry !== undefined) known += 1
        if (entry?.record !== record) changed.add(id)
      }
      if (known < this.#entries.size)
        for (const id of this.#entries.keys()) if (!environment.containers.has(id)) changed.add(id)
    }
    const hosts = this.#movedHosts(environment)
    if (hosts.size > 0)
      for (const [id, { record }] of this.#entries) if (hosts.has(record.host)) changed.add(id)
    return changed
  }

  /** Hosts that came or went since. */
  #movedHosts({ hosts }: Environment): ReadonlySet<HostId> {
    const moved = new Set<HostId>()
    for (const [id, { present }] of hosts) if ((this.#present.get(id) ?? false) !== present) moved.add(id)
    for (const [id, present] of this.#present) if (present && !hosts.has(id)) moved.add(id)
    this.#present = new Map([...hosts].map(([id, { present }]) => [id, present]))
    return moved
  }

  #forget(id: ContainerId, self: HostId, touched: Touched): void {
    const entry = this.#entries.get(id)
    if (entry === undefined) return
    this.#entries.delete(id)
    const { record, service, own, address } = entry
    if (service !== undefined) drop(this.#services, service, id)
    if (own !== undefined) drop(this.#owns, own, id)
    if (address !== null) drop(this.#addresses, address, id)
    if (record.networkFrom !== null) drop(this.#sharers, record.networkFrom, id)
    this.#local.delete(id)
    touch(touched, entry, self)
  }

  #learn(environment: Environment, record: ContainerRecord, touched: Touched | undefined): void {
    const label = dnsLabel(record.name)
    const entry: Entry = {
      record,
      service: this.#serviceOf(record),
      own: label === undefined ? undefined : `${label}.${this.#domain}`,
      address: addressOf(environment, record),
    }
    this.#entries.set(record.id, entry)
    if (entry.service !== undefined) add(this.#services, entry.service, entry)
    if (entry.own !== undefined) add(this.#owns, entry.own, entry)
    if (entry.address !== null) add(this.#addresses, entry.address, entry)
    if (record.networkFrom !== null) add(this.#sharers, record.networkFrom, entry)
    if (record.host === environment.self) this.#local.set(record.id, record)
    if (touched !== undefined) touch(touched, entry, environment.self)
  }

  #serviceOf({ stack, service, sidekick }: ContainerRecord): Name | undefined {
    if (stack === null || service === null) return undefined
    const key = sidekick === null ? service : `${service}\n${sidekick}`
    let names = this.#serviceNames.get(stack)
    if (names === undefined) {
      names = new Map()
      this.#serviceNames.set(stack, names)
    }
    if (names.has(key)) return names.get(key)
    const name = serviceName(this.#domain, { stack, service, sidekick })
    names.set(key, name)
    return name
  }
}

function touch(touched: Touched, { record, service, own, address }: Entry, self: HostId): void {
  if (service !== undefined) touched.names.add(service)
  if (own !== undefined) touched.names.add(own)
  if (address !== null) touched.addresses.add(address)
  if (record.host === self) touched.local = true
}

const nobody: readonly Entry[] = []

const isList = (found: Entry | Entry[]): found is Entry[] => Array.isArray(found)

const entriesIn = (found: Entry | Entry[]): readonly Entry[] => (isList(found) ? found : [found])

function entriesAt<Key>(index: Index<Key>, key: Key): readonly Entry[] {
  const found = index.get(key)
  return found === undefined ? nobody : entriesIn(found)
}

function add<Key>(index: Index<Key>, key: Key, entry: Entry): void {
  const found = index.get(key)
  if (found === undefined) index.set(key, entry)
  else if (isList(found)) found.push(entry)
  else index.set(key, [found, entry])
}

function drop<Key>(index: Index<Key>, key: Key, id: ContainerId): void {
  const left = entriesAt(index, key).filter(({ record }) => record.id !== id)
  const [first] = left
  if (first === undefined) index.delete(key)
  else index.set(key, left.length === 1 ? first : left)
}
