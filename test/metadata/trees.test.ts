/**
 * The trees that the original (rancher-metadata 0.10.4) served for four versions and five clients, against ours
 * for the same environment. What differs on purpose is listed with its reason and nowhere else.
 */
import { readFileSync } from 'node:fs'
import { test } from 'tap'
import { askersOf } from '../../metadata/asker.ts'
import { Pieces } from '../../metadata/pieces.ts'
import { jsonOf } from '../../metadata/render.ts'
import { treeOf } from '../../metadata/tree.ts'
import { versionOf } from '../../metadata/versions.ts'
import { type ContainerId, type HostId, serviceKinds } from '../../model/records.ts'
import { instant } from '../../model/time.ts'
import { type Uuid, uuidOf } from '../../model/uuid.ts'
import {
  containerIdOf,
  containerRecordOf,
  declaredOf,
  environmentOf,
  hostIdOf,
  hostOf,
  hostRecordOf,
  ip,
  settingsOf,
} from '../support/snapshots.ts'

type Json = null | boolean | number | string | Json[] | { [key: string]: Json }
type Row = { [key: string]: Json }

const golden = JSON.parse(
  readFileSync(new URL('../fixtures/meta-0.10.4-trees.golden.json', import.meta.url), 'utf8'),
) as { input_objects: Row[]; trees: Record<string, Row> }

/** Keys whose value is ours by design, by the kind of the object that has them. */
const deliberate: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  root: { version: 'a digest of the content; the original drew a random one at each reload' },
  container: {
    health_check_hosts: "Docker checks on the container's own host; Rancher chose three",
    create_index: 'null outside of services, as Rancher did for containers it had not scheduled',
    service_index: 'null outside of services, as Rancher did for containers it had not scheduled',
  },
  service: {
    ports: 'what the containers publish; there is no launch config',
    token: 'Rancher API credential; there is none',
    health_check: 'checks are Docker HEALTHCHECKs: a command, not an HTTP request',
    metadata: 'numbers beyond 2^53 lose digits on their way through the record',
  },
  host: { hostId: "the row number of Rancher's database" },
  network: {
    name: 'the network is ours',
    uuid: 'the network is ours',
    metadata: 'the network is ours',
    host_ports: 'Docker publishes ports',
  },
}

/** In the original, `self.host` of an unknown client was the server's own copy, without its number. */
const unknownClient = '10.42.0.99'

const environmentUuid = 'env-1'
const uuids = new Map<string, string>([
  ['h1', hostIdOf(1)],
  ['h2', hostIdOf(2)],
  ['st1', uuidOf('stack', environmentUuid, 'Shop')],
  ['sv1', uuidOf('service', environmentUuid, 'Shop', 'Web')],
  ['sv2', uuidOf('service', environmentUuid, 'Shop', 'db')],
  ['nw1', uuidOf('network', environmentUuid)],
  ...[1, 2, 3, 4].map((n) => [`ext-c${n}`, containerIdOf(n)] as const),
])

const rows = (kind: string): readonly Row[] =>
  golden.input_objects.filter((row) => row.metadata_kind === kind)
const text = (value: Json | undefined): string => String(value ?? '')
const texts = (value: Json | undefined): string[] => (Array.isArray(value) ? value.map(text) : [])
const strings = (value: Json | undefined): Record<string, string> => (value ?? {}) as Record<string, string>

function mappedContainers() {
  const links = rows('serviceContainerLink')
  return rows('container').map((row, at) => {
    const service = links.find((link) => link.container_uuid === row.uuid)?.service_name
    const byUuid = new Map(rows('container').map((each) => [each.uuid, text(each.name)]))
    const named = rows('containerLink').filter((link) => link.container_uuid === row.uuid)
    return containerRecordOf(at + 1, {
      id: containerIdOf(at + 1) as ContainerId,
      uuid: text(row.uuid) as Uuid,
      host: uuids.get(text(row.host_uuid)) as HostId,
      name: text(row.name),
      hostname: text(row.hostname),
      address: ip(text(row.primary_ip)),
      mac: text(row.primary_mac_address),
      health: 'healthy',
      stack: service === undefined ? null : 'Shop',
      service: service === undefined ? null : 'Web',
      sidekick: service === 'Log' ? 'Log' : null,
      index: Number(row.create_index),
      labels: strings(row.labels),
      ports: texts(row.ports),
      dns: texts(row.dns),
      dnsSearch: texts(row.dns_search),
      links: Object.fromEntries(named.map((link) => [text(link.key), byUuid.get(link.value ?? null) ?? ''])),
      createdAt: instant(at),
    })
  })
}

const mapped = environmentOf({
  settings: settingsOf({ name: 'prod', uuid: environmentUuid as Uuid }),
  hosts: rows('host').map((row, at) =>
    hostOf(hostRecordOf(at + 1, { engine: '', labels: strings(row.labels), name: text(row.name) })),
  ),
  containers: mappedContainers(),
  services: rows('service').flatMap((row) => {
    const kind = serviceKinds.find((each) => each === row.kind)
    // The sidekick's object follows from its containers; nobody declares it.
    if (kind === undefined || row.name !== row.primary_service_name) return []
    const links = rows('serviceLink').filter((link) => link.service_uuid === row.uuid)
    return [
      declaredOf({
        stack: text(row.stack_name),
        name: text(row.name),
        kind,
        hostname: row.hostname === null ? null : text(row.hostname),
        labels: strings(row.labels),
        metadata: strings(row.metadata),
        scale: Number(row.scale),
        links: Object.fromEntries(links.map((link) => [text(link.key), text(link.value)])),
      }),
    ]
  }),
})

const ours = treeOf(mapped, new Pieces())
const askers = askersOf(mapped, () => false)

/** With uuids as ours, deliberate keys left out and lists of objects in one order. */
function comparable(value: Json, inRoot = false): Json {
  if (typeof value === 'string') return uuids.get(value) ?? value
  if (Array.isArray(value)) {
    const all = value.map((item) => comparable(item))
    const order = (item: Json): string => JSON.stringify(item)
    return all.every((item) => typeof item === 'string')
      ? [...all].sort()
      : all.sort((one, other) => (order(one) < order(other) ? -1 : 1))
  }
  if (typeof value !== 'object' || value === null) return value
  const left = deliberate[inRoot ? 'root' : text(value.metadata_kind)] ?? {}
  return Object.fromEntries(
    Object.keys(value)
      .sort()
      .filter((key) => !Object.hasOwn(left, key))
      .map((key) => [key, comparable(value[key] ?? null)]),
  )
}

test('the same environment gives the same trees', async (t) => {
  t.equal(Object.keys(golden.trees).length, 20)
  for (const [key, tree] of Object.entries(golden.trees)) {
    const [name = '', client = ''] = key.split(' ')
    const version = versionOf(name)
    if (version === undefined) throw new TypeError(`unknown version ${name}`)
    const root = JSON.parse(
      jsonOf(ours.root(version, askers.at({ address: client, forwarded: true }))),
    ) as Row
    t.strictSame(comparable(root, true), comparable(tree, true), key)
    if (client === unknownClient) t.strictSame(Object.keys(strings(root.self)), ['host'])
  }
})

test('every deliberate difference is one', async (t) => {
  const kinds = new Map<string, Row[]>([['root', Object.values(golden.trees)]])
  for (const kind of ['container', 'service', 'host', 'network']) kinds.set(kind, [])
  const collect = (value: Json, into: Map<string, Row[]>): void => {
    if (Array.isArray(value)) for (const item of value) collect(item, into)
    else if (typeof value === 'object' && value !== null) {
      into.get(text(value.metadata_kind))?.push(value)
      for (const item of Object.values(value)) collect(item, into)
    }
  }
  for (const tree of Object.values(golden.trees)) collect(tree, kinds)
  for (const [kind, reasons] of Object.entries(deliberate)) {
    for (const key of Object.keys(reasons)) {
      t.ok(
        kinds.get(kind)?.some((row) => Object.hasOwn(row, key)),
        `${kind}.${key} is recorded`,
      )
    }
  }
})
