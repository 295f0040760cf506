/**
 * What a host says of one of its containers: the engine's facts and the labels' wishes as one record.
 */
import { fittingLabels } from '../../docker/labels.ts'
import type { EngineContainer, Wish } from '../../model/engine.ts'
import type { Ipv4 } from '../../model/ip.ts'
import { printable } from '../../model/names.ts'
import type { ContainerRecord, HostId } from '../../model/records.ts'
import type { Instant } from '../../model/time.ts'
import { uuidOf } from '../../model/uuid.ts'
import { macOf } from '../../network/attach-plan.ts'

export interface ContainerFacts {
  readonly host: HostId
  readonly environment: string
  readonly address: Ipv4 | null
  readonly index: number
  readonly problems: readonly string[]
  /** The record as it stands, for what only counts up. */
  readonly before: ContainerRecord | undefined
}

/** Of all labels together. Records are read by every host: a container must not make them large. */
const labelsLimit = 32_768

export function containerRecordOf(
  container: EngineContainer,
  wish: Wish,
  facts: ContainerFacts,
): ContainerRecord {
  const fitting = fittingLabels(container.labels)
  const labels = labelsWithin(fitting, labelsLimit)
  const dropped = Object.keys(fitting).length - Object.keys(labels).length
  return {
    id: container.id,
    uuid: uuidOf('container', facts.environment, container.id),
    host: facts.host,
    name: container.name,
    hostname: container.hostname,
    image: container.image,
    address: facts.address,
    mac: facts.address === null ? null : macOf(facts.address),
    state: container.state,
    health: container.health,
    stack: wish.stack,
    service: wish.service,
    sidekick: wish.sidekick,
    index: facts.index,
    startCount: startCountOf(container, facts.before),
    labels,
    ports: container.ports.slice(0, 1024),
    exposed: container.exposed.slice(0, 1024),
    networkFrom: container.network.is === 'container' ? container.network.container : null,
    engineAddresses: container.engineAddresses.slice(0, 64),
    dns: container.dns.slice(0, 16),
    dnsSearch: container.dnsSearch.slice(0, 32),
    links: container.links,
    problems: [
      ...wish.problems,
      ...facts.problems,
      ...(dropped === 0 ? [] : [`${dropped} labels are too long to publish`]),
    ]
      .slice(0, 16)
      .map((problem) => printable(problem, 300)),
    createdAt: container.createdAt,
    since: sinceOf(container),
  }
}

function sinceOf(container: EngineContainer): Instant {
  if (container.state === 'running' || container.state === 'paused') return container.startedAt
  return container.finishedAt > 0 ? container.finishedAt : container.createdAt
}

function startCountOf(container: EngineContainer, before: ContainerRecord | undefined): number {
  if (container.startedAt <= 0) return before?.startCount ?? 0
  if (before === undefined || before.startCount === 0) return container.restartCount + 1
  const startedAgain = container.state === 'running' && before.since !== container.startedAt
  return startedAgain ? before.startCount + 1 : before.startCount
}

function labelsWithin(labels: Readonly<Record<string, string>>, limit: number): Record<string, string> {
  let left = limit
  const kept = Object.entries(labels).filter(([key, value]) => {
    const fits = key.length + value.length <= left
    if (fits) left -= key.length + value.length
    return fits
  })
  return Object.fromEntries(kept)
}
