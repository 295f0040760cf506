/**
 * Everything that this host publishes, as one map of key → record. While the engine has not been heard yet, the
 * records that stand in the store are repeated: a restart must not look like the end of every container.
 */
import type { Environment } from '../../model/environment.ts'
import type { Keys } from '../../model/keys.ts'
import type { ContainerRecord, DeclaredService, HostRecord } from '../../model/records.ts'
import { containerRecordOf } from '../containers/container-record.ts'
import type { Held } from '../containers/containers.ts'
import { indexOf } from '../containers/numbering.ts'

export interface OwnRecords {
  readonly keys: Keys
  readonly host: HostRecord
  /** Undefined while the engine has not been heard. */
  readonly held: readonly Held[] | undefined
  /** What people declared here, by key. */
  readonly declared: ReadonlyMap<string, DeclaredService>
  readonly environment: Environment | undefined
}

export function ownRecords(own: OwnRecords): ReadonlyMap<string, object> {
  const { keys, host } = own
  const containers =
    own.held === undefined ? standing(own) : own.held.flatMap((held) => recordOf(held, own) ?? [])
  return new Map<string, object>([
    [keys.host(host.id), host],
    ...containers.map((container) => [keys.container(host.id, container.id), container] as const),
    ...own.declared,
  ])
}

function standing({ environment, host }: OwnRecords): readonly ContainerRecord[] {
  return [...(environment?.containers.values() ?? [])].filter((container) => container.host === host.id)
}

/** Undefined for a container that nobody knows yet and that is still being attached. */
function recordOf(
  { container, wish, address, problems, settled }: Held,
  own: OwnRecords,
): ContainerRecord | undefined {
  const before = own.environment?.containers.get(container.id)
  if (!settled) return before
  return containerRecordOf(container, wish, {
    host: own.host.id,
    environment: own.environment?.settings.name ?? '',
    address,
    index: indexOf(container, wish, own.environment),
    problems,
    before,
  })
}
