/**
 * The numbers that tie a peer's IPsec policies to its XFRM interface. They mean something on this host only, so
 * each host derives its own: from the names, so that they are the same after a restart and for whatever other peers
 * there are. Pure.
 */
import type { Branded } from '../../model/brand.ts'
import type { HostId } from '../../model/records.ts'
import { uuidOf } from '../../model/uuid.ts'

/** `if_id` of ip-xfrm(8): 32 bits, never 0. */
export type IfId = Branded<number, 'IfId'>

/** Two hosts that would have one number are told apart in the order of their ids. */
export function ifIdsOf(environment: string, hosts: Iterable<HostId>): ReadonlyMap<HostId, IfId> {
  const taken = new Set<number>([0])
  const numbers = new Map<HostId, IfId>()
  for (const host of [...hosts].sort()) {
    let number = 0
    for (let turn = 0; taken.has(number); turn++) number = numberOf(environment, host, turn)
    taken.add(number)
    numbers.set(host, number as IfId)
  }
  return numbers
}

/** The name of its XFRM interface: 11 characters, of the 15 that a name may have. */
export const xfrmInterfaceOf = (ifId: IfId): string => `drx${ifId.toString(16).padStart(8, '0')}`

const numberOf = (environment: string, host: HostId, turn: number): number =>
  Number.parseInt(uuidOf('xfrm interface', environment, host, String(turn)).slice(0, 8), 16)
