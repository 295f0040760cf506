/**
 * Hosts, the network and the environment itself as Rancher's metadata shows them.
 */
import type { Environment, Host } from '../model/environment.ts'
import { uuidOf } from '../model/uuid.ts'
import { type Dict, nilList } from './value.ts'

export function hostOf({ record, present }: Host, environmentUuid: string): Dict {
  const version = record.engine.split('.').slice(0, 2).join('.')
  return {
    agent_ip: record.endpoint.address,
    agent_state: present ? 'active' : 'disconnected',
    environment_uuid: environmentUuid,
    hostname: record.hostname,
    labels: { ...(version === '' ? {} : { 'io.rancher.host.docker_version': version }), ...record.labels },
    local_storage_mb: record.disk,
    memory: record.memory,
    metadata_kind: 'host',
    milli_cpu: record.milliCpu,
    name: record.name,
    state: 'active',
    uuid: record.id,
  }
}

/** A number for the versions that show one: Rancher's was a row number, ours comes from the host's id. */
export const hostNumber = ({ record }: Host): number => Number.parseInt(record.id.slice(0, 8), 16) >>> 1

export const networkUuidOf = (environment: Environment): string =>
  uuidOf('network', environment.settings.uuid)

/** The one network of an environment. Docker publishes ports, so `host_ports` is false. */
export function networkOf(environment: Environment): Dict {
  const { settings } = environment
  const subnet = { bridgeSubnet: settings.subnet, name: 'drover', type: 'drover' }
  return {
    default_policy_action: 'allow',
    environment_uuid: settings.uuid,
    host_ports: false,
    is_default: true,
    metadata: { cniConfig: { '10-drover.conf': subnet } },
    metadata_kind: 'network',
    name: 'drover',
    policy: null,
    uuid: networkUuidOf(environment),
  }
}

/** `environments` are linked ones: there are none. */
export const linkedEnvironments = nilList
