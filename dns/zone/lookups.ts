/**
 * The names and addresses of a zone as its parts know them: nothing is kept twice, and what a container's own name or
 * address stands for is worked out for whoever asks. Pure.
 */
import type { Ipv4 } from '../../model/ip.ts'
import type { Name } from '../codec/name.ts'
import type { Changes } from './changes.ts'
import type { Membership } from './membership.ts'
import type { NameTree } from './name-tree.ts'
import type { Lookup, Target } from './targets.ts'

/** Own names of containers give way to what the tree means, but not to its empty non-terminals. */
export class ZoneNames implements Lookup<Name, Target> {
  readonly #tree: NameTree
  readonly #members: Membership

  constructor(tree: NameTree, members: Membership) {
    this.#tree = tree
    this.#members = members
  }

  get(name: Name): Target | undefined {
    const found = this.#tree.map.get(name)
    return found === undefined || found.is === 'branch' ? (this.#members.own(name) ?? found) : found
  }

  has(name: Name): boolean {
    return this.#tree.map.has(name) || this.#members.isOwn(name)
  }

  /** Of a name that comes twice the later one counts. */
  forEach(visit: (target: Target, name: Name) => void): void {
    this.#members.eachOwn(visit)
    this.#tree.map.forEach((target, name) => {
      if (target.is !== 'branch' || !this.#members.isOwn(name)) visit(target, name)
    })
  }
}

/** A container's address is a container's, whatever a host says. */
export class Pointers implements Lookup<Ipv4, Name> {
  readonly #members: Membership
  readonly #hosts: ReadonlyMap<Ipv4, Name>

  constructor(members: Membership, hosts: ReadonlyMap<Ipv4, Name>) {
    this.#members = members
    this.#hosts = hosts
  }

  get(address: Ipv4): Name | undefined {
    return this.#members.nameOf(address) ?? this.#hosts.get(address)
  }

  has(address: Ipv4): boolean {
    return this.get(address) !== undefined
  }

  forEach(visit: (name: Name, address: Ipv4) => void): void {
    this.#members.eachPointer(visit)
    this.#hosts.forEach((name, address) => {
      if (this.#members.nameOf(address) === undefined) visit(name, address)
    })
  }
}

/** What stands at the touched keys now; with `all`, everything. */
export function changesAt<Key, Value>(
  lookup: Lookup<Key, Value>,
  touched: Iterable<Key>,
  all: boolean,
): Changes<Key, Value> {
  const set = new Map<Key, Value>()
  const gone: Key[] = []
  for (const key of touched) {
    const value = lookup.get(key)
    if (value === undefined) gone.push(key)
    else set.set(key, value)
  }
  return { set: all ? lookup : set, gone }
}
