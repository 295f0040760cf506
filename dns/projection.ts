/**
 * The zone of an environment as it changes: every local name with what it stands for, and for each container of
 * this host how it sees the names. Pure projection of snapshots that looks again only at what changed since the one
 * before, so that an update costs as much as the change; and says what changed, for the worker.
 */
import type { Environment } from '../model/environment.ts'
import type { Cidr, Ipv4 } from '../model/ip.ts'
import { dnsLabel } from '../model/names.ts'
import type { DeclaredService } from '../model/records.ts'
import { type MapChanges, mapChanges, sameAsker, sameView, type ZoneChanges } from './changes.ts'
import { type Declared, declaredIn, declaredTarget, nothingDeclared, unionOf } from './declared.ts'
import { Membership, type Touched } from './membership.ts'
import { type Name, parseName } from './name.ts'
import { NameTree } from './name-tree.ts'
import { serviceTarget } from './service-target.ts'
import {
  type Asker,
  isPresent,
  metadataName,
  type Target,
  targetOf,
  type View,
  type Zone,
} from './targets.ts'
import { viewsOf } from './views.ts'

export interface ZoneOptions {
  /** Where DNS and metadata answer: the address of `rancher-metadata`. */
  readonly service: Ipv4
}

/** Below it, every host has a name. */
const hostsLabel = 'hosts'

interface HostNames {
  readonly names: ReadonlyMap<Name, Target>
  readonly pointers: ReadonlyMap<Ipv4, Name>
}

const noHosts: HostNames = { names: new Map(), pointers: new Map() }

export class ZoneProjection {
  readonly #options: ZoneOptions
  #revision: number | undefined
  #subnet = '' as Cidr
  #members = new Membership('')
  #tree = new NameTree('')
  #metadataName: Name = ''
  #services: ReadonlyMap<string, DeclaredService> = new Map()
  #declared: Declared = nothingDeclared
  #hosts = noHosts
  #pointers = new Map<Ipv4, Name>()
  #views: ReadonlyMap<string, View> = new Map()
  #askers: ReadonlyMap<Ipv4, Asker> = new Map()

  constructor(options: ZoneOptions) {
    this.#options = options
  }

  /** How many names there are. */
  get size(): number {
    return this.#tree.map.size
  }

  /** What is different since the snapshot before; everything the first time, and when the domain is another. */
  update(environment: Environment): ZoneChanges {
    const { revision, settings } = environment
    const domain = parseName(settings.domain) ?? 'rancher.internal'
    if (domain !== this.#tree.domain) this.#startOver(domain)
    const touched = this.#members.update(environment)
    const declared = this.#declare(environment, touched.names)
    this.#nameHosts(environment, touched)
    if (touched.all)
      for (const name of this.#members.names()) this.#tree.set(name, this.#targetOf(environment, name))
    for (const name of touched.names) this.#tree.set(name, this.#targetOf(environment, name))
    for (const name of this.#declared.aliases.keys())
      this.#tree.set(
        name,
        unionOf(name, this.#declared, (other) => this.#targetOf(environment, other)),
      )
    const sight = touched.local || declared || this.#revision === undefined || this.#tree.reshaped
    const names = this.#tree.takeChanges()
    this.#revision = revision
    this.#subnet = settings.subnet
    const pointers = this.#point(touched)
    return { revision, domain, subnet: settings.subnet, names, pointers, ...this.#look(environment, sight) }
  }

  /** As it is now; undefined before the first snapshot. */
  get zone(): Zone | undefined {
    if (this.#revision === undefined) return undefined
    return {
      revision: this.#revision,
      domain: this.#tree.domain,
      subnet: this.#subnet,
      names: this.#tree.map,
      views: this.#views,
      askers: this.#askers,
      pointers: this.#pointers,
    }
  }

  /** Everything, for somebody who has nothing yet; undefined before the first snapshot. */
  whole(): ZoneChanges | undefined {
    if (this.#revision === undefined) return undefined
    const all = <Key, Value>(map: ReadonlyMap<Key, Value>) => ({ set: map, gone: [] })
    return {
      revision: this.#revision,
      domain: this.#tree.domain,
      subnet: this.#subnet,
      names: all(this.#tree.map),
      views: all(this.#views),
      askers: all(this.#askers),
      pointers: all(this.#pointers),
    }
  }

  #startOver(domain: Name): void {
    this.#revision = undefined
    this.#members = new Membership(domain)
    this.#tree = new NameTree(domain)
    this.#metadataName = `${metadataName}.${domain}`
    this.#tree.set(this.#metadataName, targetOf([this.#options.service]))
    this.#services = new Map()
    this.#declared = nothingDeclared
    this.#hosts = noHosts
    this.#pointers = new Map()
    this.#views = new Map()
    this.#askers = new Map()
  }

  /** Whether what people declared is not what it was. */
  #declare(environment: Environment, names: Set<Name>): boolean {
    const { services } = environment
    const same =
      services.size === this.#services.size &&
      [...services].every(([key, declared]) => this.#services.get(key) === declared)
    if (same) return false
    const before = this.#declared
    this.#services = services
    this.#declared = declaredIn(environment, this.#tree.domain)
    for (const { services: named, aliases } of [before, this.#declared])
      for (const name of [...named.keys(), ...aliases.keys()]) names.add(name)
    return true
  }

  #nameHosts(environment: Environment, touched: { names: Set<Name>; addresses: Set<Ipv4> }): void {
    const before = this.#hosts
    this.#hosts = hostNamesOf(environment, this.#tree.domain)
    for (const { names, pointers } of [before, this.#hosts]) {
      for (const name of names.keys()) touched.names.add(name)
      for (const address of pointers.keys()) touched.addresses.add(address)
    }
  }

  /** What a name stands for by itself; aliases of services aside. */
  #targetOf(environment: Environment, name: Name): Target | undefined {
    if (name === this.#metadataName) return targetOf([this.#options.service])
    const members = this.#members.ofService(name)
    const service = members === undefined ? undefined : serviceTarget(environment, members)
    const declared = this.#declared.services.get(name)
    if (declared !== undefined) return declaredTarget(declared, service)
    return service ?? this.#ownTarget(environment, name) ?? this.#hosts.names.get(name)
  }

  /** A container's own name gives its address whatever its health and state, as long as its host is there. */
  #ownTarget(environment: Environment, name: Name): Target | undefined {
    const members = this.#members.ofOwnName(name)
    if (members.length === 0) return undefined
    const addresses: Ipv4[] = []
    for (const { record, address } of members)
      if (address !== null && isPresent(environment, record)) addresses.push(address)
    if (addresses.length < 2) return targetOf(addresses)
    return targetOf([...new Set(addresses)].sort((one, other) => one - other))
  }

  #point({ all, addresses }: Touched): MapChanges<Ipv4, Name> {
    if (all && this.#pointers.size === 0) {
      for (const address of this.#members.addresses()) this.#pointAt(address)
      for (const address of addresses) this.#pointAt(address)
      return { set: this.#pointers, gone: [] }
    }
    const set = new Map<Ipv4, Name>()
    const gone: Ipv4[] = []
    for (const address of all ? [...this.#members.addresses(), ...addresses] : addresses) {
      if (!this.#pointAt(address)) continue
      const name = this.#pointers.get(address)
      if (name === undefined) gone.push(address)
      else set.set(address, name)
    }
    return { set, gone }
  }

  /** Whether the name of the address is another one now. */
  #pointAt(address: Ipv4): boolean {
    const name = this.#members.nameOf(address) ?? this.#hosts.pointers.get(address)
    if (name === this.#pointers.get(address)) return false
    if (name === undefined) this.#pointers.delete(address)
    else this.#pointers.set(address, name)
    return true
  }

  #look(environment: Environment, needed: boolean): Pick<ZoneChanges, 'views' | 'askers'> {
    const before = { views: this.#views, askers: this.#askers }
    if (needed) {
      const { views, askers } = viewsOf(environment, this.#members.local, {
        domain: this.#tree.domain,
        zone: this.#tree.map,
      })
      this.#views = views
      this.#askers = askers
    }
    return {
      views: mapChanges(before.views, this.#views, sameView),
      askers: mapChanges(before.askers, this.#askers, sameAsker),
    }
  }
}

function hostNamesOf({ hosts }: Environment, domain: Name): HostNames {
  const names = new Map<Name, Target>()
  const pointers = new Map<Ipv4, Name>()
  for (const { record, present } of hosts.values()) {
    const label = dnsLabel(record.name)
    if (label === undefined || record.managed === null || !present) continue
    const name = `${label}.${hostsLabel}.${domain}`
    if (names.has(name)) continue
    names.set(name, targetOf([record.managed]))
    pointers.set(record.managed, name)
  }
  return { names, pointers }
}
