/**
 * What a snapshot holds for metadata, in the orders that clients see and before any version of the contract:
 * stack, service, index; then containers outside of services by name. Of two containers with one name the
 * listings show the older; a piece can be had for either.
 */
import type { Environment, Host } from '../model/environment.ts'
import type { ContainerId, ContainerRecord } from '../model/records.ts'
import { presentContainers, type Service, type Stack, stacksOf } from '../model/services.ts'
import { uuidOf } from '../model/uuid.ts'
import { isExported, isSystem, type ServiceIdentity } from './container.ts'
import { hostOf, networkOf, networkUuidOf } from './host.ts'
import type { ContainerPiece, Pieces } from './pieces.ts'
import { serviceOf } from './service.ts'
import { byBytes, type Dict } from './value.ts'

export interface ServicePiece {
  readonly service: Service
  readonly base: Dict
  readonly members: readonly ContainerPiece[]
}

export interface StackPiece {
  readonly base: Dict
  readonly services: readonly ServicePiece[]
}

export interface HostPiece {
  readonly host: Host
  readonly base: Dict
}

export interface Parts {
  readonly environment: Environment
  readonly pieces: Pieces
  readonly hosts: readonly HostPiece[]
  readonly containers: readonly ContainerPiece[]
  readonly stacks: readonly StackPiece[]
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

export const serviceKey = (stack: string, primary: string, name: string): string =>
  JSON.stringify([stack, primary, name])

export function partsOf(environment: Environment, pieces: Pieces): Parts {
  const shown = shownContainers(environment)
  const uuids = uuidsOf(environment)
  const pieceOf = containerPieces(environment, pieces, uuids)
  const stacks = stacksOf({ ...environment, containers: shown }).map((stack) =>
    stackPiece(environment, pieces, uuids, stack, pieceOf),
  )
  const placed = stacks.flatMap(({ services }) => services.flatMap(({ members }) => members))
  const inService = new Set(placed.map(({ record }) => record))
  const alone = [...shown.values()]
    .filter((record) => !inService.has(record))
    .sort((one, other) => byBytes(one.name, other.name))
    .map(pieceOf)
  return {
    environment,
    pieces,
    hosts: hostPieces(environment, pieces),
    containers: [...placed, ...alone],
    stacks,
    network: pieces.dict('network', [environment.settings], () => networkOf(environment)),
    pieceOf,
  }
}

interface Uuids {
  readonly network: string
  stack(stack: string): string
  /** Sidekicks share their primary's. */
  service(stack: string, primary: string): string
  /** Where a container belongs; one object per service and sidekick. */
  identity(record: ContainerRecord): ServiceIdentity | null
}

function uuidsOf(environment: Environment): Uuids {
  const { uuid } = environment.settings
  const once = new Once()
  const stackUuid = (stack: string): string => once.made(`t${stack}`, () => uuidOf('stack', uuid, stack))
  const serviceUuid = (stack: string, primary: string): string =>
    once.made(`s${stack.length} ${stack}${primary}`, () => uuidOf('service', uuid, stack, primary))
  const identities = new Map<string, ServiceIdentity>()
  return {
    network: networkUuidOf(environment),
    stack: stackUuid,
    service: serviceUuid,
    identity({ stack, service, sidekick }) {
      if (stack === null || service === null) return null
      // Lengths keep names apart whatever characters they hold.
      const key = `${stack.length} ${service.length} ${stack}${service}${sidekick === null ? '' : `/${sidekick}`}`
      const known = identities.get(key)
      if (known !== undefined) return known
      const uuids = { uuid: serviceUuid(stack, service), stackUuid: stackUuid(stack) }
      const made = { ...uuids, name: sidekick ?? service }
      identities.set(key, made)
      return made
    },
  }
}

/** Texts that are costly to make, made once. */
class Once {
  readonly #texts = new Map<string, string>()

  made(key: string, make: () => string): string {
    const text = this.#texts.get(key) ?? make()
    this.#texts.set(key, text)
    return text
  }
}

const noLinks: Readonly<Record<string, string>> = {}

/** Link name → uuid of the container of that name on the same host. */
function linksOf(
  record: ContainerRecord,
  named: ReadonlyMap<string, ContainerRecord>,
): Readonly<Record<string, string>> {
  const links = Object.entries(record.links)
  if (links.length === 0) return noLinks
  return Object.fromEntries(
    links.flatMap(([link, name]) => {
      const target = named.get(`${record.host}/${name}`)
      return target === undefined ? [] : [[link, target.uuid]]
    }),
  )
}

function containerPieces(
  environment: Environment,
  pieces: Pieces,
  uuids: Uuids,
): (record: ContainerRecord) => ContainerPiece {
  const { containers, hosts, settings } = environment
  const named = new Map<string, ContainerRecord>()
  for (const record of containers.values()) named.set(`${record.host}/${record.name}`, record)
  return (record) => {
    const { networkFrom } = record
    const around = {
      agentIp: hosts.get(record.host)?.record.endpoint.address ?? '0.0.0.0',
      environmentUuid: settings.uuid,
      networkUuid: uuids.network,
      networkFromUuid: networkFrom === null ? null : (containers.get(networkFrom)?.uuid ?? null),
      links: linksOf(record, named),
      service: uuids.identity(record),
    }
    return pieces.container(record, around)
  }
}

function stackPiece(
  environment: Environment,
  pieces: Pieces,
  uuids: Uuids,
  stack: Stack,
  pieceOf: (record: ContainerRecord) => ContainerPiece,
): StackPiece {
  const { settings } = environment
  const units = Map.groupBy(stack.services, ({ primary }) => primary)
  const services = stack.services.map((service) => {
    const unit = units.get(service.primary) ?? [service]
    const around = {
      environmentUuid: settings.uuid,
      uuid: uuids.service(stack.name, service.primary),
      stackUuid: uuids.stack(stack.name),
      primary: unit.find(({ name }) => name === service.primary) ?? service,
      sidekicks: unit.filter(({ name }) => name !== service.primary).map(({ name }) => name),
    }
    const inputs = [settings, ...unit.flatMap((each) => [each.name, each.declared, ...each.containers])]
    const key = `service ${serviceKey(stack.name, service.primary, service.name)}`
    const base = pieces.dict(key, inputs, () => serviceOf(service, around))
    return { service, base, members: service.containers.map(pieceOf) }
  })
  const records = stack.services.flatMap(({ containers }) => containers)
  const system = records.length > 0 && records.every(isSystem)
  const base = pieces.dict(`stack ${stack.name}`, [settings, system], () => ({
    environment_name: settings.name.toLowerCase(),
    environment_uuid: settings.uuid,
    metadata_kind: 'stack',
    name: stack.name,
    system,
    uuid: uuids.stack(stack.name),
  }))
  return { base, services }
}

function hostPieces(environment: Environment, pieces: Pieces): readonly HostPiece[] {
  const { uuid } = environment.settings
  return [...environment.hosts.values()]
    .sort(
      (one, other) => byBytes(one.record.name, other.record.name) || byBytes(one.record.id, other.record.id),
    )
    .map((host) => ({
      host,
      base: pieces.dict(`host ${host.record.id}`, [host.record, host.present, uuid], () =>
        hostOf(host, uuid),
      ),
    }))
}
