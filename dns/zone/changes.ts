/**
 * What differs between a zone and the one before, which is what crosses to the worker, and the copy of the zone that
 * it is applied to there. Pure.
 */
import type { Cidr, Ipv4 } from '../../model/ip.ts'
import type { Name } from '../codec/name.ts'
import { partNames } from './parts.ts'
import { reverseName } from './reverse.ts'
import type { Asker, Entries, Parts, Port, Target, View, Zone } from './targets.ts'

export interface Changes<Key, Value> {
  readonly set: Entries<Key, Value>
  readonly gone: readonly Key[]
}

export interface MapChanges<Key, Value> extends Changes<Key, Value> {
  readonly set: ReadonlyMap<Key, Value>
}

export interface ZoneChanges {
  readonly revision: number
  readonly domain: Name
  readonly subnet: Cidr
  readonly names: Changes<Name, Target>
  readonly views: MapChanges<string, View>
  readonly askers: MapChanges<Ipv4, Asker>
  readonly pointers: Changes<Ipv4, Name>
}

export interface Applied {
  readonly zone: Zone
  /** How many names it has. */
  readonly size: number
  /** All names whose answers may be others now. */
  readonly touched: readonly Name[] | undefined
}

/** A copy of a zone that is kept up to date: applying costs as much as the change is big. */
export class ZoneCopy {
  readonly #names = new Map<Name, Target>()
  readonly #views = new Map<string, View>()
  readonly #askers = new Map<Ipv4, Asker>()
  readonly #pointers = new Map<Ipv4, Name>()

  /** The zone after the changes; the one before is no more. `touched` is left out of what is big. */
  apply(changes: ZoneChanges, big = false): Applied {
    const touched = big ? undefined : this.#touchedBy(changes)
    patch(this.#names, changes.names)
    patch(this.#views, changes.views)
    patch(this.#askers, changes.askers)
    patch(this.#pointers, changes.pointers)
    const { revision, domain, subnet } = changes
    const zone = {
      revision,
      domain,
      subnet,
      names: this.#names,
      views: this.#views,
      askers: this.#askers,
      pointers: this.#pointers,
    }
    return { zone, size: this.#names.size, touched }
  }

  /** All names whose answers may be others now, those of addresses and of parts of services too. */
  #touchedBy({ names, pointers }: ZoneChanges): readonly Name[] {
    const touched: Name[] = []
    for (const name of names.gone) touched.push(name, ...partNames(name, this.#names.get(name)))
    names.set.forEach((target, name) => {
      touched.push(name, ...partNames(name, this.#names.get(name)), ...partNames(name, target))
    })
    for (const address of pointers.gone) touched.push(reverseName(address))
    pointers.set.forEach((_name, address) => {
      touched.push(reverseName(address))
    })
    return touched
  }
}

export function mapChanges<Key, Value>(
  before: ReadonlyMap<Key, Value> = new Map(),
  after: ReadonlyMap<Key, Value>,
  same: (one: Value, other: Value) => boolean,
): MapChanges<Key, Value> {
  const set = new Map<Key, Value>()
  for (const [key, value] of after) {
    const old = before.get(key)
    if (old === undefined || !same(old, value)) set.set(key, value)
  }
  return { set, gone: [...before.keys()].filter((key) => !after.has(key)) }
}

function patch<Key, Value>(map: Map<Key, Value>, { set, gone }: Changes<Key, Value>): void {
  for (const key of gone) map.delete(key)
  set.forEach((value, key) => {
    map.set(key, value)
  })
}

/** Views with equal keys are equal, except everybody's, whose key is fixed. */
export const sameView = (one: View, other: View): boolean => sameList(one.search, other.search)

export const sameAsker = (one: Asker, other: Asker): boolean =>
  one.view === other.view && one.container === other.container

const sameList = <T>(one: readonly T[], other: readonly T[]): boolean =>
  one.length === other.length && one.every((value, at) => value === other[at])

export function sameTarget(one: Target, other: Target): boolean {
  if (one.is === 'addresses' && other.is === 'addresses')
    return sameList(one.four, other.four) && sameList(one.six, other.six) && sameParts(one.parts, other.parts)
  if ((one.is === 'alias' || one.is === 'same') && one.is === other.is) return one.name === other.name
  return one.is === 'branch' && other.is === 'branch'
}

const samePort = (one: Port, other: Port | undefined): boolean =>
  other !== undefined && one[0] === other[0] && one[1] === other[1] && sameList(one[2], other[2])

function sameParts(one: Parts | undefined, other: Parts | undefined): boolean {
  if (one === undefined || other === undefined) return one === other
  return (
    sameList(one.indexes, other.indexes) &&
    sameList(one.addresses, other.addresses) &&
    one.ports.length === other.ports.length &&
    one.ports.every((port, at) => samePort(port, other.ports[at]))
  )
}
