/**
 * The zone of a single snapshot.
 */
import { ZoneCopy } from '../../dns/changes.ts'
import { type ZoneOptions, ZoneProjection } from '../../dns/projection.ts'
import type { Zone } from '../../dns/targets.ts'
import type { Environment } from '../../model/environment.ts'

export const zoneOf = (environment: Environment, options: ZoneOptions): Zone =>
  new ZoneCopy().apply(new ZoneProjection(options).update(environment)).zone
