/**
 * Snapshots for tests: records with every field filled in, of which a test names only what it is about.
 */
import type { Environment, Host } from '../../model/environment.ts'
import { type Ipv4, parseCidr, parseIpv4 } from '../../model/ip.ts'
import {
  type ContainerId,
  type ContainerRecord,
  type DeclaredService,
  type HostId,
  type HostRecord,
  type Settings,
  serviceSchema,
} from '../../model/records.ts'
import { instant } from '../../model/time.ts'
import type { Uuid } from '../../model/uuid.ts'

export const ip = (text: string): Ipv4 => parseIpv4(text) ?? (0 as Ipv4)

/** `n` as a host id. */
export const hostIdOf = (n: number): HostId =>
  `${n.toString(16).padStart(8, '0')}-0000-5000-8000-000000000000` as HostId

/** `n` as a container id. */
export const containerIdOf = (n: number): ContainerId => n.toString(16).padStart(64, '0') as ContainerId

export const settingsOf = (given: Partial<Settings> = {}): Settings => ({
  name: 'default',
  uuid: '00000000-0000-5000-8000-00000000e001' as Uuid,
  subnet: parseCidr('10.42.0.0/16') ?? ('' as Settings['subnet']),
  blockBits: 26,
  domain: 'rancher.internal',
  createdAt: instant(0),
  ...given,
})

export function hostRecordOf(n: number, given: Partial<HostRecord> = {}): HostRecord {
  return {
    id: hostIdOf(n),
    name: `host${n}`,
    hostname: `host${n}`,
    signingKey: Buffer.alloc(32, n).toString('base64'),
    certificate: '',
    wireguardKey: Buffer.alloc(32, n).toString('base64'),
    endpoint: { address: `192.0.2.${n}`, wireguard: 51820 },
    managed: ip(`10.42.${n}.1`),
    capabilities: [],
    engine: '20.10.24',
    labels: {},
    memory: 8192,
    milliCpu: 4000,
    disk: 50_000,
    createdAt: instant(0),
    ...given,
  }
}

export const hostOf = (record: HostRecord, given: Partial<Host> = {}): Host => ({
  record,
  alive: { host: record.id, since: instant(0) },
  reachability: 'answers',
  present: true,
  ...given,
})

export function containerRecordOf(n: number, given: Partial<ContainerRecord> = {}): ContainerRecord {
  return {
    id: containerIdOf(n),
    uuid: `00000000-0000-5000-9000-${n.toString(16).padStart(12, '0')}` as Uuid,
    host: hostIdOf(1),
    name: `container-${n}`,
    hostname: `container-${n}`,
    image: 'busybox',
    address: ip(`10.42.${Math.floor(n / 200)}.${(n % 200) + 10}`),
    mac: '02:d0:0a:2a:00:0a',
    state: 'running',
    health: 'none',
    stack: null,
    service: null,
    sidekick: null,
    index: 1,
    startCount: 1,
    labels: {},
    ports: [],
    exposed: [],
    networkFrom: null,
    engineAddresses: [],
    dns: [],
    dnsSearch: [],
    links: {},
    problems: [],
    createdAt: instant(n),
    since: instant(n),
    ...given,
  }
}

export const declaredOf = (
  given: Partial<DeclaredService> & { stack: string; name: string },
): DeclaredService => ({
  ...serviceSchema.parse({ kind: 'service', stack: given.stack, name: given.name }),
  ...given,
})

export interface Ingredients {
  readonly revision?: number
  readonly settings?: Settings
  readonly self?: HostId
  readonly hosts?: readonly Host[]
  readonly containers?: readonly ContainerRecord[]
  readonly services?: readonly DeclaredService[]
}

export function environmentOf(given: Ingredients = {}): Environment {
  const hosts = given.hosts ?? [hostOf(hostRecordOf(1)), hostOf(hostRecordOf(2))]
  return {
    revision: given.revision ?? 1,
    settings: given.settings ?? settingsOf(),
    self: given.self ?? hostIdOf(1),
    hosts: new Map(hosts.map((host) => [host.record.id, host])),
    blocks: new Map(),
    pins: new Map(),
    containers: new Map((given.containers ?? []).map((record) => [record.id, record])),
    services: new Map((given.services ?? []).map((service) => [`${service.stack}/${service.name}`, service])),
  }
}
