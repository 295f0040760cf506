/**
 * The zone of a single snapshot, and of one after the other, as the DNS thread comes to it.
 */

import { type PackedZone, pack, unpacked } from '../../dns/packed.ts'
import { type Applied, type ZoneChanges, ZoneCopy } from '../../dns/zone/changes.ts'
import { type ZoneOptions, ZoneProjection } from '../../dns/zone/projection.ts'
import type { Entries, Zone } from '../../dns/zone/targets.ts'
import type { Environment } from '../../model/environment.ts'

export function entriesOf<Key, Value>(entries: Entries<Key, Value>): [Key, Value][] {
  const all: [Key, Value][] = []
  entries.forEach((value, key) => void all.push([key, value]))
  return all
}

export function piecesOf(changes: ZoneChanges, anew = false): readonly PackedZone[] {
  const pieces: PackedZone[] = []
  pack(changes, (piece) => pieces.push(piece), anew)
  return pieces
}

/** Through the form in which changes cross to the thread. */
export function takenIn(copy: ZoneCopy, changes: ZoneChanges): Applied {
  let applied: Applied | undefined
  for (const piece of structuredClone(piecesOf(changes))) applied = copy.apply(unpacked(piece), piece.big)
  if (applied === undefined) throw new TypeError('there is always a piece')
  return applied
}

export const zoneOf = (environment: Environment, options: ZoneOptions): Zone =>
  takenIn(new ZoneCopy(), new ZoneProjection(options).update(environment)).zone
