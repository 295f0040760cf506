/**
 * What a snapshot holds for metadata, in the orders that clients see and before any version of the contract:
 * stack, service, index; then containers outside of services by name. Of two containers with one name the
 * listings show the older; a piece can be had for either.
 */
import type { Environment, Host } from '../model/environment.ts'
import type { ContainerId, ContainerRecord } from '../model/records.ts'
import { presentContainers, type Service, type Stack, stacksOf } from '../model/services.ts'
import { isExported, isSystem } from './container.ts'
import { hostOf, networkOf } from './host.ts'
import { Neighbourhood, serviceKey, type Uuids, uuidsOf } from './neighbourhood.ts'
import type { ContainerPiece, Pieces } from './pieces.ts'
import { serviceOf } from './service.ts'
import { byBytes, type Dict } from './value.ts'

export interface ServicePiece {
  readonly service: Service
  readonly base: Dict
  readonly members: readonly ContainerPiece[]
}

/** The same object for as long as nothing in the stack changes. */
export interface StackPiece {
  readonly base: Dict
  readonly services: readonly ServicePiece[]
  readonly containers: readonly ContainerPiece[]
}

/** Containers outside of services; the same object for as long as nothing about them changes. */
export interface LonePieces {
  readonly containers: readonly ContainerPiece[]
}

export interface HostPiece {
  readonly host: Host
  readonly base: Dict
}

export interface Parts {
  readonly environment: Environment
  readonly pieces: Pieces
  readonly hosts: readonly HostPiece[]
  readonly stacks: readonly StackPiece[]
  readonly alone: LonePieces
  readonly network: Dict
  pieceOf(record: ContainerRecord): ContainerPiece
}

/** The containers that listings show: of two with one name the older. */
function shownContainers(environment: Environment): ReadonlyMap<ContainerId, ContainerRecord> {
  const byName = new Map<string, ContainerRecord>()
  for (const record of presentContainers(environment)) {
    if (!isExported(record)) continue
    const other = byName.get(record.name)
    const younger =
      other !== undefined && (other.createdAt - record.createdAt || byBytes(other.id, record.id)) < 0
    if (!younger) byName.set(record.name, record)
  }
  return new Map([...byName.values()].map((record) => [record.id, record]))
}

export function partsOf(environment: Environment, pieces: Pieces): Parts {
  const shown = shownContainers(environment)
  const uuids = uuidsOf(environment, pieces)
  const around = new Neighbourhood(environment, pieces, uuids)
  const stacks = stacksOf({ ...environment, containers: shown }).map((stack) =>
    pieces.part(`parts of stack ${stack.name}`, around.inputsOf(stack), () =>
      stackPiece(environment, pieces, uuids, stack, around),
    ),
  )
  const lone = [...shown.values()].filter(({ stack, service }) => stack === null || service === null)
  const alone = pieces.part('parts outside', around.inputsOfAll(lone), () => ({
    containers: lone.sort((one, other) => byBytes(one.name, other.name)).map((one) => around.pieceOf(one)),
  }))
  return {
    environment,
    pieces,
    hosts: hostPieces(environment, pieces),
    stacks,
    alone,
    network: pieces.part('network', [environment.settings], () => networkOf(environment)),
    pieceOf: (record) => around.pieceOf(record),
  }
}

function stackPiece(
  environment: Environment,
  pieces: Pieces,
  uuids: Uuids,
  stack: Stack,
  around: Neighbourhood,
): StackPiece {
  const { settings } = environment
  const units = Map.groupBy(stack.services, ({ primary }) => primary)
  const services = stack.services.map((service) => {
    const unit = units.get(service.primary) ?? [service]
    const inputs = [settings, ...unit.flatMap((each) => [each.name, each.declared, ...each.containers])]
    const key = `service ${serviceKey(stack.name, service.primary, service.name)}`
    const make = (): Dict =>
      serviceOf(service, {
        environmentUuid: settings.uuid,
        uuid: uuids.service(stack.name, service.primary),
        stackUuid: uuids.stack(stack.name),
        primary: unit.find(({ name }) => name === service.primary) ?? service,
        sidekicks: unit.filter(({ name }) => name !== service.primary).map(({ name }) => name),
      })
    return {
      service,
      base: pieces.part(key, inputs, make),
      members: service.containers.map((record) => around.pieceOf(record)),
    }
  })
  const records = stack.services.flatMap(({ containers }) => containers)
  const system = records.length > 0 && records.every(isSystem)
  const base = pieces.part(`stack ${stack.name}`, [settings, system], () => ({
    environment_name: settings.name.toLowerCase(),
    environment_uuid: settings.uuid,
    metadata_kind: 'stack',
    name: stack.name,
    system,
    uuid: uuids.stack(stack.name),
  }))
  return { base, services, containers: services.flatMap(({ members }) => members) }
}

function hostPieces(environment: Environment, pieces: Pieces): readonly HostPiece[] {
  const { uuid } = environment.settings
  return [...environment.hosts.values()]
    .sort(
      (one, other) => byBytes(one.record.name, other.record.name) || byBytes(one.record.id, other.record.id),
    )
    .map((host) => ({
      host,
      base: pieces.part(`host ${host.record.id}`, [host.record, host.present, uuid], () =>
        hostOf(host, uuid),
      ),
    }))
}
