/**
 * Records for tests: complete, plausible, and different only in what a test names.
 */
import { createHash } from 'node:crypto'
import type { Environment, Host } from '../../model/environment.ts'
import { type Cidr, type Ipv4, parseIpv4 } from '../../model/ip.ts'
import type {
  Claim,
  ContainerId,
  ContainerRecord,
  HostId,
  HostRecord,
  Settings,
} from '../../model/records.ts'
import { instant } from '../../model/time.ts'
import { uuidOf } from '../../model/uuid.ts'

export const ip = (text: string): Ipv4 => parseIpv4(text) as Ipv4

export const hostId = (name: string): HostId => uuidOf('test host', name) as string as HostId

export const containerId = (name: string): ContainerId =>
  createHash('sha256').update(name).digest('hex') as ContainerId

const key = Buffer.alloc(32, 7).toString('base64')
const made = instant(Date.UTC(2026, 0, 1))

export const settings: Settings = {
  name: 'default',
  uuid: uuidOf('test environment'),
  subnet: '10.42.0.0/16' as Cidr,
  blockBits: 26,
  domain: 'rancher.internal',
  createdAt: made,
}

export function hostRecord(name: string, over: Partial<HostRecord> = {}): HostRecord {
  return {
    id: hostId(name),
    name,
    hostname: name,
    signingKey: key,
    wireguardKey: key,
    endpoint: { address: '192.0.2.1', wireguard: 51820 },
    managed: null,
    capabilities: [],
    engine: '20.10.24',
    labels: {},
    memory: 1024,
    milliCpu: 2000,
    disk: 1024,
    createdAt: made,
    ...over,
  }
}

export const host = (name: string, over: Partial<Host> = {}, record: Partial<HostRecord> = {}): Host => ({
  record: hostRecord(name, record),
  alive: { host: hostId(name), since: made },
  reachability: 'answers',
  present: true,
  ...over,
})

export function container(name: string, over: Partial<ContainerRecord> = {}): ContainerRecord {
  return {
    id: containerId(name),
    uuid: uuidOf('test container', name),
    host: hostId('h1'),
    name,
    hostname: name,
    image: 'busybox',
    address: null,
    mac: null,
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
    createdAt: made,
    since: made,
    ...over,
  }
}

export interface EnvironmentParts {
  readonly self?: string
  readonly hosts?: readonly Host[]
  readonly containers?: readonly ContainerRecord[]
  readonly blocks?: Readonly<Record<string, string>>
}

export function environment({
  self = 'h1',
  hosts = [host('h1')],
  containers = [],
  blocks = {},
}: EnvironmentParts): Environment {
  const claim = (name: string): Claim => ({ host: hostId(name), epoch: 0, container: null, confirmed: true })
  return {
    revision: 1,
    settings,
    self: hostId(self),
    hosts: new Map(hosts.map((one) => [one.record.id, one])),
    blocks: new Map(Object.entries(blocks).map(([cidr, name]) => [cidr as Cidr, claim(name)])),
    pins: new Map(),
    containers: new Map(containers.map((one) => [one.id, one])),
    services: new Map(),
  }
}
