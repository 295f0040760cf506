/**
 * The objects of the metadata service, as the client's types. Written from metadata/shapes.ts by
 * test/metadata/openapi.test.ts; changed by hand it differs from what is served.
 */

/** Everything that one version of the contract shows to one client. */
export interface Root {
  /** By stack, service and number; then those outside of services by name. */
  readonly containers: readonly Container[]
  /** Linked environments; from 2016-07-29 on. */
  readonly environments?: readonly unknown[] | null
  /** By name. */
  readonly hosts: readonly Host[]
  /** Name of the environment, in lower case. */
  readonly name: string
  /** One in Drover. */
  readonly networks: readonly Network[]
  /** Region. */
  readonly region_name: string | null
  /** Who asks. Missing for an address that several containers have. */
  readonly self?: Self
  /** By stack, the primary's name, and their own. */
  readonly services: readonly Service[]
  /** By name. */
  readonly stacks: readonly Stack[]
  /** UUID of the environment. */
  readonly uuid: string
  /** Changes when anything that is shown changes, and in Drover only then. */
  readonly version: string
}

/** Who asks: a container, or else only the host that answers. */
export interface Self {
  /** The container that asks. */
  readonly container?: Container
  /** Its host. */
  readonly host?: Host
  /** Its service, if it has one. */
  readonly service?: Service
  /** Its stack, if it has one. */
  readonly stack?: Stack
}

/** A container, also a stopped one. */
export interface Container {
  /** Number within the service; null outside of services. */
  readonly create_index: number | null
  /** Name servers. */
  readonly dns: readonly string[]
  /** Search domains. */
  readonly dns_search: readonly string[]
  /** UUID of the environment. */
  readonly environment_uuid: string
  /** Docker's id, 64 digits. */
  readonly external_id: string
  /** Rancher's health check. */
  readonly health_check: HealthCheck | null
  /** UUIDs of the hosts that check its health. */
  readonly health_check_hosts: readonly string[]
  /** Null where nobody checks. */
  readonly health_state:
    | null
    | 'healthy'
    | 'unhealthy'
    | 'initializing'
    | 'reinitializing'
    | 'updating-healthy'
    | 'updating-unhealthy'
  /** UUID of the host that it is on. */
  readonly host_uuid: string
  /** Its own host name. */
  readonly hostname: string
  /** Its managed addresses. */
  readonly ips: readonly string[]
  /** Docker's labels. */
  readonly labels: Readonly<Record<string, string>>
  /** Link name → UUID of the container. */
  readonly links: Readonly<Record<string, string>> | null
  /** Bytes. */
  readonly memory_reservation: number | null
  /** The kind of the object. */
  readonly metadata_kind: 'container'
  /** Thousandths of a processor. */
  readonly milli_cpu_reservation: number | null
  /** In lower case from 2016-07-29 on. */
  readonly name: string
  /** UUID of the container whose network it shares. */
  readonly network_from_container_uuid: string | null
  /** UUID of its network; null without a managed address. */
  readonly network_uuid: string | null
  /** Published ports as `address:public:private/protocol`. */
  readonly ports: readonly string[] | null
  /** Its managed address. */
  readonly primary_ip: string | null
  /** MAC of the managed address. */
  readonly primary_mac_address: string | null
  /** Number within the service, as text. */
  readonly service_index: string | null
  /** Its service; a sidekick's own name for a sidekick. */
  readonly service_name: string | null
  /** UUID of its service. */
  readonly service_uuid?: string
  /** Its stack. */
  readonly stack_name: string | null
  /** UUID of its stack. */
  readonly stack_uuid: string | null
  /** How often it was started. */
  readonly start_count: number
  /** Paused ones count as running. */
  readonly state: 'running' | 'stopped' | 'restarting' | 'starting' | 'stopping' | 'removed'
  /** Whether it belongs to the infrastructure. */
  readonly system: boolean
  /** UUID; paths take it in place of the name. */
  readonly uuid: string
}

/** A service: what shares stack and service name. A sidekick has an object of its own. */
export interface Service {
  /** By number; null for none. */
  readonly containers: readonly Container[] | null
  /** The highest number of its containers. */
  readonly create_index: number | null
  /** UUID of the environment. */
  readonly environment_uuid: string
  /** Exposed ports as `private/protocol`. */
  readonly expose: readonly string[]
  /** Addresses of an external service. */
  readonly external_ips: readonly string[]
  /** External name. */
  readonly fqdn: string | null
  /** Rancher's health check. */
  readonly health_check: HealthCheck | null
  /** Host name of an external service. */
  readonly hostname: string | null
  /** `service`, `externalService`, `dnsService` (an alias), `loadBalancerService`, … */
  readonly kind: string
  /** Labels on which all its containers agree, and declared ones. */
  readonly labels: Readonly<Record<string, string>>
  /** Rancher's load balancer. */
  readonly lb_config: Readonly<Record<string, unknown>> | null
  /** `stack/service` → alias. */
  readonly links: Readonly<Record<string, string>> | null
  /** What people declared for readers of the metadata service. */
  readonly metadata: Readonly<Record<string, unknown>>
  /** The kind of the object. */
  readonly metadata_kind: 'service'
  /** In lower case from 2016-07-29 on. */
  readonly name: string
  /** Published ports as `public:private/protocol`. */
  readonly ports: readonly string[]
  /** The unit's primary service. */
  readonly primary_service_name: string
  /** How many containers are wanted. */
  readonly scale: number
  /** Names of the unit's sidekicks. */
  readonly sidekicks: readonly string[] | null
  /** Its stack. */
  readonly stack_name: string
  /** UUID of its stack. */
  readonly stack_uuid: string
  /** `active` in Drover. */
  readonly state: string
  /** Whether all its containers belong to the infrastructure. */
  readonly system: boolean
  /** Credential for Rancher's API. */
  readonly token: string | null
  /** UUID; paths take it in place of the name. */
  readonly uuid: string
  /** Virtual address. */
  readonly vip: string | null
}

/** A stack: services that belong together. */
export interface Stack {
  /** Name of the environment, in lower case. */
  readonly environment_name: string
  /** UUID of the environment. */
  readonly environment_uuid: string
  /** The kind of the object. */
  readonly metadata_kind: 'stack'
  /** In lower case from 2016-07-29 on. */
  readonly name: string
  /** By the primary's name, then by their own. */
  readonly services: readonly Service[]
  /** Whether all its containers belong to the infrastructure. */
  readonly system: boolean
  /** UUID; paths take it in place of the name. */
  readonly uuid: string
}

/** A machine with containers. */
export interface Host {
  /** Where other hosts reach it. */
  readonly agent_ip: string
  /** `active`, or `disconnected` while its containers do not count. */
  readonly agent_state: string
  /** UUID of the environment. */
  readonly environment_uuid: string
  /** A number; not in 2016-07-29. */
  readonly hostId?: number
  /** Its own host name. */
  readonly hostname: string
  /** Labels of the host. */
  readonly labels: Readonly<Record<string, string>>
  /** Free disk, MiB. */
  readonly local_storage_mb: number
  /** Memory, MiB. */
  readonly memory: number
  /** The kind of the object. */
  readonly metadata_kind: 'host'
  /** Thousandths of a processor. */
  readonly milli_cpu: number
  /** Name in the environment. */
  readonly name: string
  /** `active`. */
  readonly state: string
  /** UUID; paths take it in place of the name. */
  readonly uuid: string
}

/** A network that containers have addresses on. */
export interface Network {
  /** `allow`. */
  readonly default_policy_action: string
  /** UUID of the environment. */
  readonly environment_uuid: string
  /** Whether the network publishes ports itself. */
  readonly host_ports: boolean
  /** Whether it is the only one or the default. */
  readonly is_default: boolean
  /** `cniConfig`: file name → configuration, with the subnet. */
  readonly metadata: Readonly<Record<string, unknown>>
  /** The kind of the object. */
  readonly metadata_kind: 'network'
  /** `drover`. */
  readonly name: string
  /** Rules between services. */
  readonly policy: unknown
  /** UUID; paths take it in place of the name. */
  readonly uuid: string
}

/** Rancher's health check; Drover has Docker's, which is a command, and shows null. */
export interface HealthCheck {
  /** Good answers in a row that make it healthy. */
  readonly healthy_threshold: number
  /** Milliseconds. */
  readonly interval: number
  /** Port. */
  readonly port: number
  /** First line of an HTTP request; null for a connection only. */
  readonly request_line: string | null
  /** Milliseconds. */
  readonly response_timeout: number
  /** Bad answers in a row that make it unhealthy. */
  readonly unhealthy_threshold: number
}
