/**
 * What differs between two zones, so that what crosses to the worker is as small as the change. Pure.
 */
import type { Cidr, Ipv4 } from '../model/ip.ts'
import type { Name } from './name.ts'
import type { Asker, Target, View, Zone } from './targets.ts'

export interface MapChanges<Key, Value> {
  readonly set: readonly (readonly [Key, Value])[]
  readonly gone: readonly Key[]
}

export interface ZoneChanges {
  readonly revision: number
  readonly domain: Name
  readonly subnet: Cidr
  readonly names: MapChanges<Name, Target>
  readonly views: MapChanges<string, View>
  readonly askers: MapChanges<Ipv4, Asker>
  readonly pointers: MapChanges<Ipv4, Name>
}

/** Views with equal keys are equal, except everybody's, whose key is fixed. */
export function changesOf(before: Zone | undefined, after: Zone): ZoneChanges {
  const { revision, domain, subnet } = after
  return {
    revision,
    domain,
    subnet,
    names: mapChanges(before?.names, after.names, sameTarget),
    views: mapChanges(before?.views, after.views, sameView),
    askers: mapChanges(before?.askers, after.askers, sameAsker),
    pointers: mapChanges(before?.pointers, after.pointers, (one, other) => one === other),
  }
}

/** A copy of a zone that is kept up to date: applying costs as much as the change is big. */
export class ZoneCopy {
  readonly #names = new Map<Name, Target>()
  readonly #views = new Map<string, View>()
  readonly #askers = new Map<Ipv4, Asker>()
  readonly #pointers = new Map<Ipv4, Name>()

  /** The zone after the changes; the one before is no more. */
  apply(changes: ZoneChanges): Zone {
    patch(this.#names, changes.names)
    patch(this.#views, changes.views)
    patch(this.#askers, changes.askers)
    patch(this.#pointers, changes.pointers)
    const { revision, domain, subnet } = changes
    return {
      revision,
      domain,
      subnet,
      names: this.#names,
      views: this.#views,
      askers: this.#askers,
      pointers: this.#pointers,
    }
  }
}

function mapChanges<Key, Value>(
  before: ReadonlyMap<Key, Value> = new Map(),
  after: ReadonlyMap<Key, Value>,
  same: (one: Value, other: Value) => boolean,
): MapChanges<Key, Value> {
  const set: [Key, Value][] = []
  for (const [key, value] of after) {
    const old = before.get(key)
    if (old === undefined || !same(old, value)) set.push([key, value])
  }
  return { set, gone: [...before.keys()].filter((key) => !after.has(key)) }
}

function patch<Key, Value>(map: Map<Key, Value>, { set, gone }: MapChanges<Key, Value>): void {
  for (const key of gone) map.delete(key)
  for (const [key, value] of set) map.set(key, value)
}

const sameView = (one: View, other: View): boolean => sameList(one.search, other.search)

const sameAsker = (one: Asker, other: Asker): boolean =>
  one.view === other.view && one.container === other.container

const sameList = <T>(one: readonly T[], other: readonly T[]): boolean =>
  one.length === other.length && one.every((value, at) => value === other[at])

function sameTarget(one: Target, other: Target): boolean {
  if (one.is === 'addresses' && other.is === 'addresses')
    return sameList(one.four, other.four) && sameList(one.six, other.six)
  if ((one.is === 'alias' || one.is === 'same') && one.is === other.is) return one.name === other.name
  return one.is === 'branch' && other.is === 'branch'
}
