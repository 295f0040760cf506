/**
 * The tree that the metadata service answers from: a pure projection of one snapshot. `Pieces` only spares work.
 * Orders are stable: stack, service, index; then containers outside of services by name. Of two containers with
 * one name the listings show the older; the younger still sees itself under `self`.
 */
import type { Environment, Host } from '../model/environment.ts'
import type { ContainerId, ContainerRecord } from '../model/records.ts'
import { presentContainers, type Service, type Stack, stacksOf } from '../model/services.ts'
import { uuidOf, uuidText } from '../model/uuid.ts'
import type { Asker } from './asker.ts'
import { isExported, isSystem } from './container.ts'
import { versionBytes } from './digest.ts'
import { hostNumber, hostOf, linkedEnvironments, networkOf, networkUuidOf } from './host.ts'
import type { ContainerPiece, Pieces } from './pieces.ts'
import { serviceOf } from './service.ts'
import { byBytes, type Dict } from './value.ts'
import { hostIn, serviceIn, stackIn, type Version } from './versions.ts'

export interface Tree {
  readonly revision: number
  /** A digest of everything that the tree shows: it changes with the content and only then. */
  readonly version: string
  /** The root as `asker` sees it in one version of the contract. */
  root(version: Version, asker: Asker): Dict
}

interface ServicePiece {
  readonly service: Service
  readonly base: Dict
  readonly members: readonly ContainerPiece[]
}

interface StackPiece {
  readonly base: Dict
  readonly services: readonly ServicePiece[]
}

interface HostPiece {
  readonly host: Host
  readonly base: Dict
}

interface Parts {
  readonly environment: Environment
  readonly pieces: Pieces
  readonly hosts: readonly HostPiece[]
  readonly containers: readonly ContainerPiece[]
  readonly stacks: readonly StackPiece[]
  readonly network: Dict
  pieceOf(record: ContainerRecord): ContainerPiece
}

/** What one version shows to everybody. */
interface Shape {
  readonly shared: Dict
  readonly services: ReadonlyMap<string, Dict>
  readonly stacks: ReadonlyMap<string, Dict>
  readonly hosts: ReadonlyMap<string, Dict>
}

export function treeOf(environment: Environment, pieces: Pieces): Tree {
  pieces.turn()
  const parts = partsOf(environment, pieces)
  const version = versionHash(parts)
  const shapes = new Map<Version, Shape>()
  return {
    revision: environment.revision,
    version,
    root(name, asker) {
      const shape = shapes.get(name) ?? shapeOf(parts, version, name)
      shapes.set(name, shape)
      return { ...shape.shared, ...selfOf(parts, shape, name, asker) }
    },
  }
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

const serviceKey = (stack: string, primary: string, name: string): string =>
  JSON.stringify([stack, primary, name])

function partsOf(environment: Environment, pieces: Pieces): Parts {
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
}

function uuidsOf(environment: Environment): Uuids {
  const { uuid } = environment.settings
  const made = new Map<string, string>()
  const once = (...path: readonly string[]): string => {
    const key = JSON.stringify(path)
    const known = made.get(key) ?? uuidOf(...path)
    made.set(key, known)
    return known
  }
  return {
    network: networkUuidOf(environment),
    stack: (stack) => once('stack', uuid, stack),
    service: (stack, primary) => once('service', uuid, stack, primary),
  }
}

function containerPieces(
  environment: Environment,
  pieces: Pieces,
  uuids: Uuids,
): (record: ContainerRecord) => ContainerPiece {
  const named = new Map<string, ContainerRecord>()
  for (const record of environment.containers.values()) named.set(`${record.host}/${record.name}`, record)
  return (record) => {
    const { stack, service, sidekick, networkFrom, host } = record
    const links = Object.entries(record.links).flatMap(([link, name]) => {
      const target = named.get(`${host}/${name}`)
      return target === undefined ? [] : [[link, target.uuid] as const]
    })
    const around = {
      environmentUuid: environment.settings.uuid,
      networkUuid: uuids.network,
      networkFromUuid: networkFrom === null ? null : (environment.containers.get(networkFrom)?.uuid ?? null),
      links: Object.fromEntries(links),
      service:
        stack === null || service === null
          ? null
          : {
              uuid: uuids.service(stack, service),
              stackUuid: uuids.stack(stack),
              name: sidekick ?? service,
            },
    }
    return pieces.container(record, around, environment.hosts.get(host)?.record.endpoint.address ?? '0.0.0.0')
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

function versionHash({ environment, pieces, hosts, containers, stacks, network }: Parts): string {
  const { settings, self } = environment
  const services = stacks.flatMap((stack) => [stack.base, ...stack.services.map(({ base }) => base)])
  const dicts = [network, ...hosts.map(({ base }) => base), ...services]
  const digests = [...dicts, ...containers.map((piece) => piece.in('v2'))].map((dict) => pieces.digest(dict))
  const all = [settings.name, settings.uuid, self, ...digests].join('\n')
  return uuidText(versionBytes(all))
}

function shapeOf(parts: Parts, version: string, name: Version): Shape {
  const { environment, pieces } = parts
  const services = new Map<string, Dict>()
  const stacks = new Map<string, Dict>()
  for (const stack of parts.stacks) {
    const members = stack.services.map(({ service, base, members }) => {
      const key = serviceKey(service.stack, service.primary, service.name)
      const containers = members.map((piece) => piece.in(name))
      const dict = pieces.dict(`${name} service ${key}`, [base, ...containers], () =>
        serviceIn(name, base, containers),
      )
      services.set(key, dict)
      return dict
    })
    const key = String(stack.base.name)
    stacks.set(
      key,
      pieces.dict(`${name} stack ${key}`, [stack.base, ...members], () => stackIn(name, stack.base, members)),
    )
  }
  const hosts = new Map(
    parts.hosts.map(({ host, base }) => {
      const make = (): Dict => hostIn(name, base, hostNumber(host))
      return [host.record.id, pieces.dict(`${name} host ${host.record.id}`, [base], make)]
    }),
  )
  const shared = {
    containers: parts.containers.map((piece) => piece.in(name)),
    ...(name === 'v3' ? { environments: linkedEnvironments } : {}),
    hosts: [...hosts.values()],
    name: environment.settings.name.toLowerCase(),
    networks: [parts.network],
    region_name: null,
    services: [...services.values()],
    stacks: [...stacks.values()],
    uuid: environment.settings.uuid,
    version,
  }
  return { shared, services, stacks, hosts }
}

/** `self`: nothing for somebody who cannot be told apart. */
function selfOf(parts: Parts, shape: Shape, name: Version, asker: Asker): { readonly self?: Dict } {
  if (asker.is === 'ambiguous') return {}
  const { environment } = parts
  if (asker.is === 'host') {
    const host = shape.hosts.get(environment.self)
    return host === undefined ? {} : { self: { host } }
  }
  const { record } = asker
  const { stack, service, sidekick } = record
  const host = shape.hosts.get(record.host)
  const own =
    stack === null || service === null
      ? undefined
      : shape.services.get(serviceKey(stack, service, sidekick ?? service))
  const ownStack = own === undefined || stack === null ? undefined : shape.stacks.get(stack)
  return {
    self: {
      container: parts.pieceOf(record).in(name),
      ...(host === undefined ? {} : { host }),
      ...(own === undefined || ownStack === undefined ? {} : { service: own, stack: ownStack }),
    },
  }
}
