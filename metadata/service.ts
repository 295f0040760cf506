/**
 * One service as Rancher's metadata shows it: one object per launch config, so a sidekick has an object of its
 * own with its primary's uuid. Facts that no container can say come from what people declared.
 */
import type { ContainerRecord, DeclaredService } from '../model/records.ts'
import type { Service } from '../model/services.ts'
import { declaredPorts, isSystem } from './container.ts'
import type { Dict, Value } from './value.ts'

export interface ServiceSurroundings {
  readonly environmentUuid: string
  readonly uuid: string
  readonly stackUuid: string
  /** The unit's primary service; itself for a primary. */
  readonly primary: Service
  readonly sidekicks: readonly string[]
}

/** Labels that name one container or one deployment; never a property of the service. */
const individual =
  /^io\.rancher\.container\.(ip|mac_address|name|uuid|requested_ip)$|^com\.docker\.compose\.(container-number|config-hash|oneoff|replace)$|^com\.docker\.swarm\.(task|node)/

/** The labels on which all containers of a service agree. */
function commonLabels(containers: readonly ContainerRecord[]): Readonly<Record<string, string>> {
  const [first, ...rest] = containers
  const labels: Record<string, string> = {}
  for (const [key, value] of Object.entries(first?.labels ?? {})) {
    if (!individual.test(key) && rest.every((other) => other.labels[key] === value)) labels[key] = value
  }
  return labels
}

const distinct = (texts: readonly string[]): readonly string[] => [...new Set(texts)].sort()

/** A service alias names its targets as links (rancher.md 4.4). */
function linksOf(declared: DeclaredService | undefined): Readonly<Record<string, string>> {
  if (declared?.kind !== 'dnsService') return declared?.links ?? {}
  const targets = declared.targets.map((target) => [target, target.slice(target.indexOf('/') + 1)])
  return { ...Object.fromEntries(targets), ...declared.links }
}

/** All keys but `containers`, which is names in one version and objects in the others. */
export function serviceOf(service: Service, around: ServiceSurroundings): Dict {
  const { containers, declared } = service
  const { primary } = around
  const indexes = primary.containers.map(({ index }) => index)
  return {
    create_index: indexes.length === 0 ? null : Math.max(...indexes),
    environment_uuid: around.environmentUuid,
    expose: distinct(containers.flatMap(({ exposed }) => exposed)),
    external_ips: declared?.externalIps ?? [],
    fqdn: null,
    health_check: (declared?.healthCheck ?? null) as Value,
    hostname: declared?.hostname ?? null,
    kind: declared?.kind ?? 'service',
    labels: { ...commonLabels(containers), ...declared?.labels },
    lb_config: null,
    links: linksOf(primary.declared),
    // JSON in, JSON out: the record's schema read it from JSON text.
    metadata: (declared?.metadata ?? {}) as Dict,
    metadata_kind: 'service',
    name: service.name,
    ports: distinct(containers.flatMap(declaredPorts)),
    primary_service_name: service.primary,
    scale: primary.declared?.scale ?? (primary.containers.length || 1),
    sidekicks: around.sidekicks,
    stack_name: service.stack,
    stack_uuid: around.stackUuid,
    state: 'active',
    system: containers.length > 0 && containers.every(isSystem),
    token: null,
    uuid: around.uuid,
    vip: null,
  } satisfies Record<string, Value>
}
