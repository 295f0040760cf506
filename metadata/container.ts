/**
 * One container as Rancher's metadata shows it (rancher.md 1.10). Where Rancher's scheduler was the source of a
 * fact, docs/metadata.md says where ours comes from. Names are as given; versions.ts lower-cases them.
 */
import { formatIpv4 } from '../model/ip.ts'
import type { ContainerRecord, ContainerState, HealthState } from '../model/records.ts'
import { type Dict, nilMap, type Value } from './value.ts'

export interface ServiceIdentity {
  readonly uuid: string
  readonly stackUuid: string
  /** The launch config's name: the sidekick's for a sidekick. */
  readonly name: string
}

/** What the rest of the environment says about a container. */
export interface Surroundings {
  /** Where other hosts reach the container's host. */
  readonly agentIp: string
  readonly environmentUuid: string
  readonly networkUuid: string
  /** Null for a container outside every service. */
  readonly service: ServiceIdentity | null
  readonly networkFromUuid: string | null
  /** Link name → container uuid. */
  readonly links: Readonly<Record<string, string>>
}

const states: Readonly<Record<ContainerState, string | undefined>> = {
  created: 'stopped',
  running: 'running',
  paused: 'running',
  restarting: 'restarting',
  removing: undefined,
  exited: 'stopped',
  dead: undefined,
}

const healths: Readonly<Record<HealthState, string | null>> = {
  none: null,
  starting: 'initializing',
  healthy: 'healthy',
  unhealthy: 'unhealthy',
}

/** Rancher exported neither failed containers nor those on their way out. */
export const isExported = (record: ContainerRecord): boolean => states[record.state] !== undefined

/** All keys but `ports`, which differ by version. */
export function containerOf(record: ContainerRecord, around: Surroundings): Dict {
  const { service } = around
  const address = record.address === null ? null : formatIpv4(record.address)
  return {
    create_index: service === null ? null : record.index,
    dns: record.dns,
    dns_search: record.dnsSearch,
    environment_uuid: around.environmentUuid,
    external_id: record.id,
    health_check: null,
    health_check_hosts: record.health === 'none' ? [] : [record.host],
    health_state: healths[record.health],
    host_uuid: record.host,
    hostname: record.hostname,
    ips: address === null ? [] : [address],
    labels: record.labels,
    links: Object.keys(around.links).length === 0 ? nilMap : around.links,
    memory_reservation: null,
    metadata_kind: 'container',
    milli_cpu_reservation: null,
    name: record.name,
    network_from_container_uuid: around.networkFromUuid,
    network_uuid: address === null ? null : around.networkUuid,
    primary_ip: address,
    primary_mac_address: record.mac,
    service_index: service === null ? null : String(record.index),
    service_name: service === null ? null : service.name,
    ...(service === null ? {} : { service_uuid: service.uuid }),
    stack_name: service === null ? null : record.stack,
    stack_uuid: service === null ? null : service.stackUuid,
    start_count: record.startCount,
    state: states[record.state] ?? 'removed',
    system: isSystem(record),
    uuid: record.uuid,
  }
}

export const isSystem = (record: ContainerRecord): boolean =>
  record.labels['io.rancher.container.system'] === 'true'

const published = /^(?:(.*):)?(\d+):(\d+\/[a-z]+)$/

/**
 * Ports as `ip:public:private/proto`, every address being `any` where the container is published on all.
 * IPv6 has no place in the format that clients split at colons: such entries are left out.
 */
export function portsOf(record: ContainerRecord, any: string): readonly string[] {
  const all = new Set<string>()
  for (const port of record.ports) {
    const [, ip = '', outside, inside] = published.exec(port) ?? []
    if (outside === undefined || ip.includes(':')) continue
    all.add(`${ip === '' || ip === '0.0.0.0' ? any : ip}:${outside}:${inside}`)
  }
  return [...all]
}

/** Ports as a service declares them: `public:private/proto`, with the address only where there is one. */
export const declaredPorts = (record: ContainerRecord): readonly string[] =>
  portsOf(record, '0.0.0.0').map((port) => port.replace(/^0\.0\.0\.0:/, ''))

export const lower = (value: Value | undefined): Value =>
  typeof value === 'string' ? value.toLowerCase() : (value ?? null)
