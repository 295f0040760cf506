/**
 * From what charon and the kernel have to what mends it: who is to be called, what is one too many, what somebody
 * deleted behind charon's back. Pure; looking again after it was done finds nothing to do.
 */
import type { HostId } from '../../model/records.ts'
import type { IfId } from './if-id.ts'
import { type ChildSa, carries, type IkeSa, isUp, surplusOf } from './sas.ts'
import type { KernelSas } from './xfrm.ts'

export interface Wanted {
  readonly ifId: IfId
  /** What the peer's side of the tunnel must hold; empty where the interface decides that. */
  readonly remote: readonly string[]
}

export interface Sight {
  readonly self: HostId
  readonly wanted: ReadonlyMap<HostId, Wanted>
  readonly sas: readonly IkeSa[]
  /** Undefined where charon itself encrypts. */
  readonly kernel: KernelSas | undefined
}

export interface Mending {
  /** Peers without an SA that carries their packets, and without one on its way. */
  readonly missing: readonly HostId[]
  /** Peers whose state in the kernel is not what charon believes. */
  readonly lost: readonly HostId[]
  /** Numbers of SAs to end. */
  readonly ike: readonly number[]
  readonly children: readonly number[]
}

export function mendingOf({ self, wanted, sas, kernel }: Sight): Mending {
  const ofHost = Map.groupBy(sas, ({ host }) => host)
  const missing = [...wanted].filter(([host, one]) => !isServed(ofHost.get(host) ?? [], one))
  const lost = [...wanted].filter(
    ([host, { ifId }]) => kernel !== undefined && isLost(ofHost.get(host) ?? [], ifId, kernel),
  )
  const strangers = sas.filter((sa) => isUp(sa) && !wanted.has(sa.host)).map(({ id }) => id)
  const surplus = surplusOf(
    sas.filter(({ host }) => wanted.has(host)),
    self,
  )
  return {
    missing: missing.map(([host]) => host),
    lost: lost.map(([host]) => host),
    ike: [...strangers, ...surplus.ike],
    children: surplus.children,
  }
}

/** Whether packets can go, or something is under way that will let them. */
function isServed(sas: readonly IkeSa[], { remote }: Wanted): boolean {
  return sas.some(
    (sa) =>
      (sa.state === 'CONNECTING' && sa.initiator) ||
      (sa.state !== 'DELETING' && sa.children.some((child) => isUseful(child) && covers(child, remote))),
  )
}

const waysOut = new Set(['DELETING', 'DELETED', 'DESTROYING'])
const isUseful = ({ state }: ChildSa): boolean => !waysOut.has(state)

/** A child on its way has agreed upon nothing yet. */
const covers = (child: ChildSa, remote: readonly string[]): boolean =>
  !carries(child) || remote.every((cidr) => child.remote.includes(cidr))

function isLost(sas: readonly IkeSa[], ifId: IfId, kernel: KernelSas): boolean {
  const children = sas.filter(isUp).flatMap((sa) => sa.children.filter(carries))
  const spis = children.flatMap(({ spiIn, spiOut }) => [spiIn, spiOut])
  return spis.some((spi) => !kernel.spis.has(spi)) || !kernel.policies.has(ifId)
}
