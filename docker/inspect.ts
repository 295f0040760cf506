/**
 * `docker inspect` → what the rest of the house reads. Pure, and tolerant of fields that other engine versions
 * leave out; only what has no container id at all is refused.
 */
import type { EngineContainer, EngineNetwork, NetworkMode } from '../model/engine.ts'
import { isIpAddress } from '../model/ip.ts'
import {
  type ContainerId,
  type ContainerState,
  containerIdField,
  containerStates,
  type HealthState,
  healthStates,
} from '../model/records.ts'
import { type Instant, instant } from '../model/time.ts'

/** A container's place on one of the engine's networks. */
export interface Endpoint {
  /** Id of the network. */
  readonly network: string
  readonly address: string
  readonly names: readonly string[]
}

export interface Inspection {
  readonly container: EngineContainer
  readonly endpoints: readonly Endpoint[]
}

/** A user-defined network without its endpoints. */
export type NetworkFrame = Omit<EngineNetwork, 'endpoints'>

export interface EngineInfo {
  readonly version: string
  readonly api: string
  readonly kernel: string
}

type Fields = Readonly<Record<string, unknown>>

const fields = (value: unknown): Fields =>
  typeof value === 'object' && value !== null ? (value as Fields) : {}
const text = (value: unknown): string => (typeof value === 'string' ? value : '')
const number = (value: unknown): number => (typeof value === 'number' ? value : 0)
const list = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : [])
const texts = (value: unknown): readonly string[] => list(value).filter((item) => typeof item === 'string')

/** Docker's zero time is in the year 1: it becomes 0. */
function instantOf(value: unknown): Instant {
  const parsed = Date.parse(text(value))
  return instant(Number.isNaN(parsed) ? 0 : Math.max(0, parsed))
}

function networkMode(mode: string): NetworkMode {
  if (mode === 'default' || mode === 'bridge' || mode === '') return { is: 'bridge' }
  if (mode === 'host' || mode === 'none') return { is: mode }
  const other = containerIdField.safeParse(mode.replace(/^container:/, ''))
  if (mode.startsWith('container:') && other.success) return { is: 'container', container: other.data }
  return { is: 'network', name: mode }
}

const stateOf = (status: string): ContainerState =>
  containerStates.find((state) => state === status) ?? 'created'

const healthOf = (status: string): HealthState => healthStates.find((state) => state === status) ?? 'none'

/** `ip:public:private/proto`, IPv4 only. */
function publishedPorts(ports: Fields): readonly string[] {
  return Object.entries(ports).flatMap(([inner, bindings]) =>
    list(bindings)
      .map(fields)
      .filter((binding) => !text(binding.HostIp).includes(':'))
      .map((binding) => `${text(binding.HostIp) || '0.0.0.0'}:${text(binding.HostPort)}:${inner}`),
  )
}

/** `/c1:/linked/db` is the container c1 under the name db. */
function linksOf(links: readonly string[]): Readonly<Record<string, string>> {
  return Object.fromEntries(
    links.map((link) => {
      const [target = '', alias = ''] = link.split(':')
      return [alias.slice(alias.lastIndexOf('/') + 1), target.replace(/^\//, '')]
    }),
  )
}

const strings = (value: unknown): Readonly<Record<string, string>> =>
  Object.fromEntries(Object.entries(fields(value)).map(([key, item]) => [key, text(item)]))

function endpointsOf(id: string, name: string, networks: Fields): readonly Endpoint[] {
  return Object.values(networks)
    .map(fields)
    .filter((network) => text(network.IPAddress) !== '')
    .map((network) => ({
      network: text(network.NetworkID),
      address: text(network.IPAddress),
      names: [
        ...new Set(
          [name, id.slice(0, 12), ...texts(network.Aliases), ...texts(network.DNSNames)].map((one) =>
            one.toLowerCase(),
          ),
        ),
      ],
    }))
}

/** One element of `docker inspect`; undefined for what is not a container. */
export function inspectionOf(raw: unknown): Inspection | undefined {
  const whole = fields(raw)
  const id = containerIdField.safeParse(whole.Id)
  if (!id.success) return undefined
  const settings = fields(whole.NetworkSettings)
  const networks = fields(settings.Networks)
  const container = containerOf(id.data, whole, Object.values(networks).map(fields))
  return { container, endpoints: endpointsOf(id.data, container.name, networks) }
}

function containerOf(id: ContainerId, whole: Fields, networks: readonly Fields[]): EngineContainer {
  const config = fields(whole.Config)
  const host = fields(whole.HostConfig)
  const state = fields(whole.State)
  return {
    id,
    name: text(whole.Name).replace(/^\//, ''),
    hostname: text(config.Hostname),
    image: text(config.Image),
    labels: strings(config.Labels),
    state: stateOf(text(state.Status)),
    health: healthOf(text(fields(state.Health).Status)),
    pid: number(state.Pid),
    network: networkMode(text(host.NetworkMode)),
    restartCount: number(whole.RestartCount),
    ports: publishedPorts(fields(fields(whole.NetworkSettings).Ports)),
    exposed: Object.keys(fields(config.ExposedPorts)),
    engineAddresses: networks
      .flatMap((network) => [text(network.IPAddress), text(network.GlobalIPv6Address)])
      .filter(isIpAddress),
    resolvConf: text(whole.ResolvConfPath),
    dns: texts(host.Dns),
    dnsSearch: texts(host.DnsSearch),
    links: linksOf(texts(host.Links)),
    createdAt: instantOf(whole.Created),
    startedAt: instantOf(state.StartedAt),
    finishedAt: instantOf(state.FinishedAt),
  }
}

/** One element of the engine's list of networks; undefined for Docker's own three. */
export function networkFrameOf(raw: unknown): NetworkFrame | undefined {
  const whole = fields(raw)
  const [id, name] = [text(whole.Id), text(whole.Name)]
  if (id === '' || name === 'bridge' || name === 'host' || name === 'none') return undefined
  const subnets = list(fields(whole.IPAM).Config).map((config) => text(fields(config).Subnet))
  return { id, name, subnets: subnets.filter((subnet) => subnet !== '') }
}

/** Of a row in the list of containers. */
export const containerIdOf = (raw: unknown): ContainerId | undefined =>
  containerIdField.safeParse(fields(raw).Id).data

export function engineInfoOf(raw: unknown): EngineInfo {
  const { Version, ApiVersion, KernelVersion } = fields(raw)
  return { version: text(Version), api: text(ApiVersion), kernel: text(KernelVersion) }
}

/** Networks with the endpoints that their containers say they have. */
export function networksOf(
  frames: readonly NetworkFrame[],
  inspections: Iterable<Inspection>,
): readonly EngineNetwork[] {
  const members = new Map<string, EngineNetwork['endpoints'][number][]>()
  for (const { container, endpoints } of inspections) {
    for (const { network, address, names } of endpoints)
      members.set(network, [...(members.get(network) ?? []), { container: container.id, address, names }])
  }
  return frames.map((frame) => ({ ...frame, endpoints: members.get(frame.id) ?? [] }))
}
