/**
 * Decoded records → Environment: who is present, and that hosts speak only for addresses they hold. Pure.
 */
import { type Environment, type Host, hostIsPresent, type Reachability } from '../../model/environment.ts'
import type { ContainerRecord, HostId, HostRecord, Settings } from '../../model/records.ts'
import type { Decodings } from './decodings.ts'

/** What only this host can tell of the others. */
export interface View {
  readonly fresh: boolean
  readonly reachability: ReadonlyMap<HostId, Reachability>
}

interface Given {
  readonly revision: number
  readonly settings: Settings
  readonly self: HostId
  readonly view: View
  /** Hosts whose certificate is not good: nothing of theirs counts. */
  readonly out: ReadonlySet<HostId>
}

/** The maps are copies: later changes of the records do not reach them. */
export function snapshotOf(records: Decodings, given: Given): Environment {
  const { revision, settings, self, out } = given
  const isIn = ({ host }: { readonly host: HostId }): boolean => !out.has(host)
  const containers = [...records.containers].filter(([, one]) => isIn(one))
  return {
    revision,
    settings,
    self,
    hosts: hostsOf(records, given),
    blocks: new Map([...records.blocks].filter(([, claim]) => isIn(claim))),
    pins: new Map([...records.pins].filter(([, claim]) => isIn(claim))),
    containers: new Map(containers.map(([id, one]) => [id, withHeldAddress(records, one)])),
    services: new Map(records.services),
  }
}

function hostsOf(records: Decodings, { self, view, out }: Given): Map<HostId, Host> {
  const { fresh } = view
  const reachabilityOf = (id: HostId): Reachability => view.reachability.get(id) ?? 'unknown'
  const members = [...records.hosts].filter(([id]) => !out.has(id))
  const cutOff = !fresh && members.every(([id]) => id === self || reachabilityOf(id) !== 'answers')
  return new Map(
    members.map(([id, record]) => {
      const alive = records.alive.get(id)
      const reachability = reachabilityOf(id)
      const present =
        id === self || hostIsPresent({ alive: alive !== undefined, reachability }, { fresh, cutOff })
      return [id, { record: withHeldManaged(records, record), alive, reachability, present }]
    }),
  )
}

function withHeldAddress(records: Decodings, record: ContainerRecord): ContainerRecord {
  const { address, host } = record
  return address === null || records.holds(host, address) ? record : { ...record, address: null }
}

function withHeldManaged(records: Decodings, record: HostRecord): HostRecord {
  const { id, managed } = record
  return managed === null || records.holds(id, managed) ? record : { ...record, managed: null }
}
