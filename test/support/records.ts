/**
 * Snapshots by name: hosts and containers that a test calls by what it is about, on top of snapshots.ts.
 */
import { createHash } from 'node:crypto'
import type { Environment, Host } from '../../model/environment.ts'
import type { Cidr } from '../../model/ip.ts'
import type { ContainerId, ContainerRecord, HostId, HostRecord } from '../../model/records.ts'
import { instant } from '../../model/time.ts'
import { uuidOf } from '../../model/uuid.ts'
import { containerRecordOf, environmentOf, hostOf, hostRecordOf, settingsOf } from './snapshots.ts'

export { ip } from './snapshots.ts'

export const settings = settingsOf()

const made = instant(Date.UTC(2026, 0, 1))

export const hostId = (name: string): HostId => uuidOf('test host', name) as string as HostId

export const containerId = (name: string): ContainerId =>
  createHash('sha256').update(name).digest('hex') as ContainerId

export const hostRecord = (name: string, over: Partial<HostRecord> = {}): HostRecord =>
  hostRecordOf(1, { id: hostId(name), name, hostname: name, managed: null, createdAt: made, ...over })

export const host = (name: string, over: Partial<Host> = {}, record: Partial<HostRecord> = {}): Host =>
  hostOf(hostRecord(name, record), over)

export const container = (name: string, over: Partial<ContainerRecord> = {}): ContainerRecord =>
  containerRecordOf(0, {
    id: containerId(name),
    uuid: uuidOf('test container', name),
    host: hostId('h1'),
    name,
    hostname: name,
    address: null,
    mac: null,
    createdAt: made,
    since: made,
    ...over,
  })

export interface EnvironmentParts {
  readonly self?: string
  readonly hosts?: readonly Host[]
  readonly containers?: readonly ContainerRecord[]
  /** Block → name of the host that holds it. */
  readonly blocks?: Readonly<Record<string, string>>
}

export function environment({
  self = 'h1',
  hosts = [host('h1')],
  containers = [],
  blocks = {},
}: EnvironmentParts): Environment {
  const held = Object.entries(blocks).map(
    ([cidr, name]) =>
      [cidr as Cidr, { host: hostId(name), epoch: 0, container: null, confirmed: true }] as const,
  )
  return { ...environmentOf({ self: hostId(self), hosts, containers }), blocks: new Map(held) }
}
