/**
 * What of an environment changed since the last one: small enough to cross a thread's boundary at each change.
 * Metadata shows neither blocks nor pins, so these stay behind.
 */
import type { Environment, Host } from '../model/environment.ts'
import type { ContainerId, ContainerRecord, DeclaredService, HostId, Settings } from '../model/records.ts'

interface MapDelta<K, V> {
  readonly put: readonly (readonly [K, V])[]
  readonly gone: readonly K[]
}

export interface Delta {
  readonly revision: number
  readonly self: HostId
  /** Undefined when they are what they were. */
  readonly settings: Settings | undefined
  readonly hosts: MapDelta<HostId, Host>
  readonly containers: MapDelta<ContainerId, ContainerRecord>
  readonly services: MapDelta<string, DeclaredService>
}

function mapDelta<K, V>(before: ReadonlyMap<K, V> | undefined, after: ReadonlyMap<K, V>): MapDelta<K, V> {
  if (before === after) return { put: [], gone: [] }
  return {
    put: [...after].filter(([key, value]) => before?.get(key) !== value),
    gone: [...(before?.keys() ?? [])].filter((key) => !after.has(key)),
  }
}

/** The change from `before`, or all of `after` where there is none. */
export function deltaOf(before: Environment | undefined, after: Environment): Delta {
  return {
    revision: after.revision,
    self: after.self,
    settings: before?.settings === after.settings ? undefined : after.settings,
    hosts: mapDelta(before?.hosts, after.hosts),
    containers: mapDelta(before?.containers, after.containers),
    services: mapDelta(before?.services, after.services),
  }
}

function changed<K, V>(
  before: ReadonlyMap<K, V> | undefined,
  { put, gone }: MapDelta<K, V>,
): ReadonlyMap<K, V> {
  if (before !== undefined && put.length === 0 && gone.length === 0) return before
  const map = new Map(before)
  for (const key of gone) map.delete(key)
  for (const [key, value] of put) map.set(key, value)
  return map
}

/** The environment after the change; undefined for a change that lacks its beginning. */
export function changedBy(before: Environment | undefined, delta: Delta): Environment | undefined {
  const settings = delta.settings ?? before?.settings
  if (settings === undefined) return undefined
  return {
    revision: delta.revision,
    self: delta.self,
    settings,
    hosts: changed(before?.hosts, delta.hosts),
    blocks: new Map(),
    pins: new Map(),
    containers: changed(before?.containers, delta.containers),
    services: changed(before?.services, delta.services),
  }
}
