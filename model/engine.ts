/**
 * What the Docker engine says of one container, already free of Docker's spelling. docker/ makes these values;
 * ipam/, network/ and daemon/ read them.
 */
import type { ContainerId, ContainerState, HealthState } from './records.ts'
import type { Instant } from './time.ts'

export type NetworkMode =
  | { readonly is: 'bridge' }
  | { readonly is: 'host' }
  | { readonly is: 'none' }
  | { readonly is: 'container'; readonly container: ContainerId }
  | { readonly is: 'network'; readonly name: string }

export interface EngineContainer {
  readonly id: ContainerId
  readonly name: string
  readonly hostname: string
  readonly image: string
  readonly labels: Readonly<Record<string, string>>
  readonly state: ContainerState
  readonly health: HealthState
  /** First process in the host's pid namespace; 0 while it does not run. */
  readonly pid: number
  readonly network: NetworkMode
  readonly restartCount: number
  /** Published ports as `ip:public:private/proto`. */
  readonly ports: readonly string[]
  /** Exposed ports as `private/proto`. */
  readonly exposed: readonly string[]
  readonly engineAddresses: readonly string[]
  /** Docker's resolv.conf for it on the host's file system; empty where it has none. */
  readonly resolvConf: string
  readonly dns: readonly string[]
  readonly dnsSearch: readonly string[]
  readonly links: Readonly<Record<string, string>>
  readonly createdAt: Instant
  readonly startedAt: Instant
  readonly finishedAt: Instant
}

/** What the labels of a container ask for. Unusable values become problems, never exceptions. */
export interface Wish {
  /** It asked for a managed address. */
  readonly managed: boolean
  readonly environment: string
  readonly stack: string | null
  readonly service: string | null
  readonly sidekick: string | null
  /** Compose's or Swarm's number within the service; null where nobody numbered it. */
  readonly index: number | null
  /** In the order of preference; not yet checked against the subnet. */
  readonly requestedAddresses: readonly string[]
  /** Whether resolv.conf may be edited. */
  readonly dns: boolean
  readonly dnsPriority: 'first' | 'last' | 'none'
  readonly problems: readonly string[]
}

/** One user-defined network of the engine, with the names that Docker's own resolver gives on it. */
export interface EngineNetwork {
  readonly id: string
  readonly name: string
  readonly subnets: readonly string[]
  readonly endpoints: readonly {
    readonly container: ContainerId
    readonly address: string
    /** Container name, short id, aliases; lower case. */
    readonly names: readonly string[]
  }[]
}
