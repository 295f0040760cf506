/**
 * Targets for Prometheus' HTTP service discovery (`http_sd_configs`): running containers with a managed address, in
 * the order of listings. A container asks to be scraped with the labels that Kubernetes users know,
 * `prometheus.io/scrape|port|path|scheme`; without a port every exposed TCP port is a target, as in Docker's discovery.
 */
import type { Environment } from '../model/environment.ts'
import { formatIpv4, type Ipv4 } from '../model/ip.ts'
import type { ContainerRecord } from '../model/records.ts'
import { byBytes, type Dict, type List } from './value.ts'

/** Those that ask to be scraped, or all that expose a port: for people who choose by relabelling. */
export type Choice = 'marked' | 'all'

type Addressed = ContainerRecord & { readonly address: Ipv4 }

const isAddressed = (record: ContainerRecord): record is Addressed =>
  record.address !== null && record.state === 'running'

export function targetsOf(
  environment: Environment,
  containers: readonly ContainerRecord[],
  choice: Choice,
): List {
  return containers.filter(isAddressed).flatMap((record) => {
    const host = environment.hosts.get(record.host)?.record.name ?? ''
    const about = { ...labelsOf(record, host), __meta_drover_environment: environment.settings.name }
    return portsOf(record, choice).map((port): Dict => {
      const labels = { ...about, __meta_drover_port: String(port) }
      return { labels, targets: [`${formatIpv4(record.address)}:${port}`] }
    })
  })
}

const asksFor = ({ labels }: ContainerRecord, what: string): string | undefined =>
  labels[`prometheus.io/${what}`]

function portsOf(record: ContainerRecord, choice: Choice): readonly number[] {
  const marked = asksFor(record, 'scrape') === 'true'
  if (!marked && choice === 'marked') return []
  const asked = asksFor(record, 'port') ?? ''
  if (/^\d{1,5}$/.test(asked) && Number(asked) >= 1 && Number(asked) <= 65535) return [Number(asked)]
  const exposed = record.exposed.flatMap((port) => /^(\d+)\/tcp$/.exec(port)?.[1] ?? []).map(Number)
  if (exposed.length > 0) return exposed.sort((one, other) => one - other)
  return marked ? [schemeOf(record) === 'https' ? 443 : 80] : []
}

function schemeOf(record: ContainerRecord): string | undefined {
  const scheme = asksFor(record, 'scheme')
  return scheme === 'http' || scheme === 'https' ? scheme : undefined
}

/** Plain labels end up on every series; `__meta_` ones are for relabelling and go away after it. */
function labelsOf(record: ContainerRecord, host: string): Record<string, string> {
  const { stack, service, sidekick } = record
  const names = { container: record.name, host, service: sidekick ?? service ?? '', stack: stack ?? '' }
  const wanted = { __metrics_path__: asksFor(record, 'path') ?? '', __scheme__: schemeOf(record) ?? '' }
  const about = {
    __meta_drover_container_id: record.id,
    __meta_drover_container_uuid: record.uuid,
    __meta_drover_container_image: record.image,
    __meta_drover_container_index: String(record.index),
    __meta_drover_health_state: record.health,
    __meta_drover_host_uuid: record.host,
  }
  const docker = Object.entries(record.labels)
    .sort(([one], [other]) => byBytes(one, other))
    .map(([key, value]) => [`__meta_drover_container_label_${key.replace(/\W/g, '_')}`, value] as const)
  const given = Object.entries({ ...names, ...wanted }).filter(([, value]) => value !== '')
  return { ...Object.fromEntries(docker), ...about, ...Object.fromEntries(given) }
}
