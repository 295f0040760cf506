/**
 * The snapshot: the whole environment at one store revision, readonly. Everything that Drover shows or does is
 * a pure function of it. Maps are never changed after they are published; equal parts are shared between
 * snapshots, so that `===` tells what did not change.
 */

import type { Cidr, Ipv4 } from './ip.ts'
import type {
  AliveRecord,
  Claim,
  ContainerId,
  ContainerRecord,
  DeclaredService,
  HostId,
  HostRecord,
  Settings,
} from './records.ts'

/** Whether a host answers our probes through the tunnel. */
export type Reachability = 'answers' | 'silent' | 'unknown'

export interface Host {
  readonly record: HostRecord
  /** The leased key; undefined when it is gone. */
  readonly alive: AliveRecord | undefined
  readonly reachability: Reachability
  /** Whether its containers count: the table of docs/architecture.md, already decided. */
  readonly present: boolean
}

export interface Environment {
  /** The store's revision; grows with every change of the store. */
  readonly revision: number
  readonly settings: Settings
  /** The host that looks at this snapshot. */
  readonly self: HostId
  readonly hosts: ReadonlyMap<HostId, Host>
  readonly blocks: ReadonlyMap<Cidr, Claim>
  readonly pins: ReadonlyMap<Ipv4, Claim>
  readonly containers: ReadonlyMap<ContainerId, ContainerRecord>
  /** By `stack/name`. */
  readonly services: ReadonlyMap<string, DeclaredService>
}

/** The section 5 table of the design: whose containers count. `cutOff` says that we are the ones cut off. */
export function hostIsPresent(
  host: { readonly alive: boolean; readonly reachability: Reachability },
  view: { readonly fresh: boolean; readonly cutOff: boolean },
): boolean {
  if (host.reachability === 'answers' || view.cutOff) return true
  if (host.reachability === 'silent') return false
  return view.fresh && host.alive
}
