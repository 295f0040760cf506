/**
 * One status value of a host: what is, why, and what to do. The CLI, the admin API and Prometheus render it.
 * Fields only grow; docs/cli.md describes them.
 */
import type { Environment, Reachability } from '../model/environment.ts'
import { formatIpv4 } from '../model/ip.ts'
import type { ContainerRecord, HostId } from '../model/records.ts'
import { isRunning } from '../model/services.ts'
import { statusChecks } from './doctor.ts'
import { type Finding, findingsOf } from './finding.ts'
import type { Vitals } from './vitals.ts'

/** Endpoint, engine and last handshake are those of the backend in use. */
export interface PeerView {
  readonly host: string
  readonly id: string
  readonly endpoint: string
  /** What carries packets there: `ipsec` or `wireguard`; `reason` says why, in one sentence. */
  readonly backend: string
  readonly reason: string
  readonly engine: string
  readonly reachability: Reachability
  readonly lastHandshake: string | null
  /** Bytes, by all backends. */
  readonly received: number
  readonly sent: number
  /** Bytes of the largest packet that passes inside of the tunnel; null until it was measured. */
  readonly pathMtu: number | null
  /** Whether WireGuard uses a preshared key beside the hosts' own. */
  readonly preshared: boolean
}

export interface StatusView {
  readonly version: string
  readonly host: string
  readonly id: string
  readonly environment: string
  readonly subnet: string
  readonly managed: string | null
  readonly revision: number
  readonly since: string
  readonly store: Vitals['store']
  readonly docker: Vitals['docker']
  readonly tunnel: Vitals['tunnel']
  readonly ipsec: Vitals['ipsec']
  readonly servers: Vitals['servers']
  readonly containers: number
  readonly peers: readonly PeerView[]
  readonly problems: readonly Finding[]
}

export interface ContainerView {
  readonly id: string
  readonly name: string
  readonly service: string | null
  readonly stack: string | null
  readonly address: string | null
  readonly host: string
  readonly state: string
  readonly health: string
  readonly since: string
  readonly problems: readonly string[]
}

export interface HostView {
  readonly id: string
  readonly name: string
  readonly endpoint: string
  readonly managed: string | null
  readonly alive: boolean
  readonly present: boolean
  readonly reachability: Reachability
  readonly blocks: readonly string[]
  /** What carries packets there from this host; empty for itself. */
  readonly backend: string
  /** `kernel` or `userspace`; empty for a host that does not say. */
  readonly engine: string
  /** What its tunnel can do, as its record says. */
  readonly capabilities: readonly string[]
  /** Version of the Docker engine; empty while there is none. */
  readonly docker: string
  readonly lastSeen: string | null
}

const time = (at: number): string => new Date(at).toISOString()
const timeOrNull = (at: number | undefined): string | null => (at === undefined || at === 0 ? null : time(at))

export function statusOf(environment: Environment, vitals: Vitals): StatusView {
  const self = environment.hosts.get(environment.self)?.record
  return {
    version: vitals.version,
    host: vitals.hostName,
    id: environment.self,
    environment: environment.settings.name,
    subnet: environment.settings.subnet,
    managed: self?.managed == null ? null : formatIpv4(self.managed),
    revision: environment.revision,
    since: time(vitals.since),
    store: vitals.store,
    docker: vitals.docker,
    tunnel: vitals.tunnel,
    ipsec: vitals.ipsec,
    servers: vitals.servers,
    containers: [...environment.containers.values()].filter(({ host }) => host === environment.self).length,
    peers: [...new Set(vitals.peers.map(({ host }) => host))].map((id) => peerView(environment, id, vitals)),
    problems: findingsOf(statusChecks, { environment, vitals }),
  }
}

function peerView(environment: Environment, id: HostId, { peers, chosen, pathMtus }: Vitals): PeerView {
  const host = environment.hosts.get(id)
  const states = peers.filter((state) => state.host === id)
  const backend = chosen.get(id)?.backend ?? states[0]?.backend ?? ''
  const used = states.find((state) => state.backend === backend)
  return {
    host: host?.record.name ?? id,
    id,
    endpoint: used?.endpoint ?? '',
    backend,
    reason: chosen.get(id)?.reason ?? '',
    engine: used?.engine ?? '',
    reachability: host?.reachability ?? 'unknown',
    lastHandshake: timeOrNull(used?.lastHandshake),
    received: states.reduce((sum, { received }) => sum + received, 0),
    sent: states.reduce((sum, { sent }) => sum + sent, 0),
    pathMtu: pathMtus.get(id) ?? null,
    preshared: states.some(({ preshared }) => preshared === true),
  }
}

export function containersView(environment: Environment): readonly ContainerView[] {
  const nameOf = (container: ContainerRecord): string =>
    environment.hosts.get(container.host)?.record.name ?? container.host
  return [...environment.containers.values()]
    .map((container) => ({
      id: container.id,
      name: container.name,
      service: container.sidekick === null ? container.service : `${container.service}/${container.sidekick}`,
      stack: container.stack,
      address: container.address === null ? null : formatIpv4(container.address),
      host: nameOf(container),
      state: container.state,
      health: isRunning(container) ? container.health : 'none',
      since: time(container.since),
      problems: container.problems,
    }))
    .sort((one, other) => `${one.host} ${one.name}`.localeCompare(`${other.host} ${other.name}`))
}

export function hostsView(environment: Environment, vitals: Vitals): readonly HostView[] {
  const blocks = [...environment.blocks]
  return [...environment.hosts.values()]
    .map(({ record, alive, present, reachability }) => ({
      id: record.id,
      name: record.name,
      endpoint: `${record.endpoint.address}:${record.endpoint.wireguard}`,
      managed: record.managed === null ? null : formatIpv4(record.managed),
      alive: alive !== undefined,
      present,
      reachability: record.id === environment.self ? ('answers' as const) : reachability,
      blocks: blocks.filter(([, claim]) => claim.host === record.id).map(([cidr]) => cidr),
      backend: vitals.chosen.get(record.id)?.backend ?? '',
      engine: record.wireguardEngine ?? '',
      capabilities: record.capabilities,
      docker: record.engine,
      lastSeen: timeOrNull(record.id === environment.self ? vitals.now : vitals.lastSeen.get(record.id)),
    }))
    .sort((one, other) => one.name.localeCompare(other.name))
}
