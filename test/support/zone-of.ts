/**
 * The zone of a single snapshot, and of one after the other, as the DNS thread comes to it.
 */

import { packed, unpacked } from '../../dns/packed.ts'
import { type Applied, type ZoneChanges, ZoneCopy } from '../../dns/zone/changes.ts'
import { type ZoneOptions, ZoneProjection } from '../../dns/zone/projection.ts'
import type { Zone } from '../../dns/zone/targets.ts'
import type { Environment } from '../../model/environment.ts'

/** Through the form in which changes cross to the thread. */
export function takenIn(copy: ZoneCopy, changes: ZoneChanges): Applied {
  let applied: Applied | undefined
  for (const piece of structuredClone([...packed(changes)])) applied = copy.apply(unpacked(piece), piece.big)
  if (applied === undefined) throw new TypeError('there is always a piece')
  return applied
}

export const zoneOf = (environment: Environment, options: ZoneOptions): Zone =>
  takenIn(new ZoneCopy(), new ZoneProjection(options).update(environment)).zone
