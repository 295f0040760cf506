/**
 * The zone of an environment as it changes: every local name with what it stands for, and for each container of
 * this host how it sees the names. Pure projection of snapshots that looks again only at what changed since the one
 * before, so that an update costs as much as the change; and says what changed, for the worker.
 */
import type { Environment } from '../../model/environment.ts'
import type { Cidr, Ipv4 } from '../../model/ip.ts'
import { dnsLabel } from '../../model/names.ts'
import type { DeclaredService } from '../../model/records.ts'
import { type Name, parseName } from '../codec/name.ts'
import { mapChanges, sameAsker, sameView, type ZoneChanges } from './changes.ts'
import { type Declared, declaredIn, declaredTarget, nothingDeclared, unionOf } from './declared.ts'
import { changesAt, Pointers, ZoneNames } from './lookups.ts'
import { Membership, type Touched } from './membership.ts'
import { NameTree } from './name-tree.ts'
import { type LastResort, serviceTarget } from './service-target.ts'
import {
  type Asker,
  type Lookup,
  metadataName,
  type Target,
  targetOf,
  type View,
  type Zone,
} from './targets.ts'
import { type SeenBefore, viewsOf } from './views.ts'

export interface ZoneOptions {
  /** Where DNS and metadata answer: the address of `rancher-metadata`. */
  readonly service: Ipv4
  /** `running` without it. */
  readonly lastResort?: LastResort | undefined
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
  #seenBefore: SeenBefore = new WeakMap()
  #views: ReadonlyMap<string, View> = new Map()
  #askers: ReadonlyMap<Ipv4, Asker> = new Map()

  constructor(options: ZoneOptions) {
    this.#options = options
  }

  /** What is different since the snapshot before; everything the first time, and when the domain is another. */
  update(environment: Environment): ZoneChanges {
    const { revision, settings } = environment
    const domain = parseName(settings.domain) ?? 'rancher.internal'
    if (domain !== this.#tree.domain) this.#startOver(domain)
    const touched = this.#members.update(environment)
    const { all, names, owns, addresses } = touched
    const declared = this.#declare(environment, names)
    this.#nameHosts(environment, touched)
    this.#nameServices(environment, touched)
    const sight = touched.local || touched.reshaped || declared || this.#tree.reshaped
    this.#revision = revision
    this.#subnet = settings.subnet
    return {
      revision,
      domain,
      subnet: settings.subnet,
      names: changesAt(this.#names, [...this.#tree.takeTouched(), ...owns], all),
      pointers: changesAt(this.#pointers, addresses, all),
      ...this.#look(environment, sight),
    }
  }

  /** As it is now; undefined before the first snapshot. Lasts until the next. */
  get zone(): Zone | undefined {
    if (this.#revision === undefined) return undefined
    return {
      revision: this.#revision,
      domain: this.#tree.domain,
      subnet: this.#subnet,
      names: this.#names,
      views: this.#views,
      askers: this.#askers,
      pointers: this.#pointers,
    }
  }

  /** Everything, for somebody who has nothing yet; undefined before the first snapshot. */
  whole(): ZoneChanges | undefined {
    const { zone } = this
    if (zone === undefined) return undefined
    const all = <Set>(set: Set) => ({ set, gone: [] })
    const { names, views, askers, pointers } = zone
    return { ...zone, names: all(names), views: all(views), askers: all(askers), pointers: all(pointers) }
  }

  get #names(): Lookup<Name, Target> {
    return new ZoneNames(this.#tree, this.#members)
  }

  get #pointers(): Lookup<Ipv4, Name> {
    return new Pointers(this.#members, this.#hosts.pointers)
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
    this.#seenBefore = new WeakMap()
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

  #nameHosts(environment: Environment, { names, addresses }: Touched): void {
    const before = this.#hosts
    this.#hosts = hostNamesOf(environment, this.#tree.domain)
    for (const hosts of [before, this.#hosts]) {
      for (const name of hosts.names.keys()) names.add(name)
      for (const address of hosts.pointers.keys())
        if (before.pointers.get(address) !== this.#hosts.pointers.get(address)) addresses.add(address)
    }
  }

  #nameServices(environment: Environment, { all, names }: Touched): void {
    const set = (name: Name): void => this.#tree.set(name, this.#targetOf(environment, name))
    if (all) this.#members.eachService(set)
    names.forEach(set)
    for (const name of this.#declared.aliases.keys())
      this.#tree.set(
        name,
        unionOf(name, this.#declared, (other) => this.#targetOf(environment, other)),
      )
  }

  /** What a name of the tree stands for by itself; aliases of services aside. */
  #targetOf(environment: Environment, name: Name): Target | undefined {
    if (name === this.#metadataName) return targetOf([this.#options.service])
    const members = this.#members.ofService(name)
    const { lastResort = 'running' } = this.#options
    const service = members.length === 0 ? undefined : serviceTarget(environment, members, lastResort)
    const declared = this.#declared.services.get(name)
    if (declared !== undefined) return declaredTarget(declared, service)
    return service ?? this.#hosts.names.get(name)
  }

  #look(environment: Environment, needed: boolean): Pick<ZoneChanges, 'views' | 'askers'> {
    const before = { views: this.#views, askers: this.#askers }
    if (needed) {
      const { views, askers } = viewsOf(environment, this.#members.local, {
        domain: this.#tree.domain,
        zone: this.#names,
        seenBefore: this.#seenBefore,
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
