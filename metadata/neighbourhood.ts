/**
 * What containers and stacks show of things beside them: uuids of what they belong to, their host's address, the
 * namespace they share, their links. It says as well what that depends on, so that it need not be looked at again.
 */
import type { Environment } from '../model/environment.ts'
import type { ContainerRecord, HostId } from '../model/records.ts'
import type { Stack } from '../model/services.ts'
import { uuidOf } from '../model/uuid.ts'
import type { ServiceIdentity } from './container.ts'
import { networkUuidOf } from './host.ts'
import type { ContainerPiece, Pieces } from './pieces.ts'

export const serviceKey = (stack: string, primary: string, name: string): string =>
  JSON.stringify([stack, primary, name])

export interface Uuids {
  readonly network: string
  stack(stack: string): string
  /** Sidekicks share their primary's. */
  service(stack: string, primary: string): string
  /** Where a container belongs; one object per service and sidekick. */
  identity(record: ContainerRecord): ServiceIdentity | null
}

export function uuidsOf(environment: Environment, pieces: Pieces): Uuids {
  const { uuid } = environment.settings
  const stackUuid = (stack: string): string =>
    pieces.part(`uuid of stack ${stack}`, [uuid], () => ({ uuid: uuidOf('stack', uuid, stack) })).uuid
  return {
    network: networkUuidOf(environment),
    stack: stackUuid,
    service: (stack, primary) => uuidOf('service', uuid, stack, primary),
    identity({ stack, service, sidekick }) {
      if (stack === null || service === null) return null
      return pieces.part(`identity ${serviceKey(stack, service, sidekick ?? service)}`, [uuid], () => ({
        uuid: uuidOf('service', uuid, stack, service),
        stackUuid: stackUuid(stack),
        name: sidekick ?? service,
      }))
    },
  }
}

const noLinks: Readonly<Record<string, string>> = {}

function hasLinks({ links }: ContainerRecord): boolean {
  for (const _ in links) return true
  return false
}

/** What a container shows of others: its host's address, the namespace it shares, its links. */
export class Neighbourhood {
  readonly #environment: Environment
  readonly #pieces: Pieces
  readonly #uuids: Uuids
  /** Where other hosts reach each host; the same object for as long as they say so. */
  readonly #endpoints: Readonly<Record<HostId, string>>
  #named: Map<string, ContainerRecord> | undefined

  constructor(environment: Environment, pieces: Pieces, uuids: Uuids) {
    this.#environment = environment
    this.#pieces = pieces
    this.#uuids = uuids
    const endpoints = [...environment.hosts].map(([id, { record }]) => [id, record.endpoint.address] as const)
    this.#endpoints = pieces.part('endpoints', endpoints.flat(), () => Object.fromEntries(endpoints))
  }

  /** All that a stack's piece depends on. */
  inputsOf({ services }: Stack): readonly unknown[] {
    const inputs: unknown[] = [this.#environment.settings, this.#endpoints]
    for (const { name, primary, declared, containers } of services) {
      inputs.push(name, primary, declared)
      this.#add(containers, inputs)
    }
    return inputs
  }

  inputsOfAll(records: readonly ContainerRecord[]): readonly unknown[] {
    const inputs: unknown[] = [this.#environment.settings, this.#endpoints]
    this.#add(records, inputs)
    return inputs
  }

  pieceOf(record: ContainerRecord): ContainerPiece {
    const around = {
      agentIp: this.#endpoints[record.host] ?? '0.0.0.0',
      environmentUuid: this.#environment.settings.uuid,
      networkUuid: this.#uuids.network,
      networkFromUuid: this.#networkFrom(record),
      links: this.#linksOf(record),
      service: this.#uuids.identity(record),
    }
    return this.#pieces.container(record, around)
  }

  #add(records: readonly ContainerRecord[], inputs: unknown[]): void {
    for (const record of records) {
      inputs.push(record)
      if (record.networkFrom !== null) inputs.push(this.#networkFrom(record))
      if (hasLinks(record)) inputs.push(...Object.entries(this.#linksOf(record)).flat())
    }
  }

  #networkFrom({ networkFrom }: ContainerRecord): string | null {
    return networkFrom === null ? null : (this.#environment.containers.get(networkFrom)?.uuid ?? null)
  }

  /** Link name → uuid of the container of that name on the same host. */
  #linksOf(record: ContainerRecord): Readonly<Record<string, string>> {
    if (!hasLinks(record)) return noLinks
    this.#named ??= this.#byName()
    const named = this.#named
    return Object.fromEntries(
      Object.entries(record.links).flatMap(([link, name]) => {
        const target = named.get(`${record.host}/${name}`)
        return target === undefined ? [] : [[link, target.uuid]]
      }),
    )
  }

  #byName(): Map<string, ContainerRecord> {
    const all = [...this.#environment.containers.values()]
    return new Map(all.map((record) => [`${record.host}/${record.name}`, record]))
  }
}
