/**
 * Which containers Prometheus is told of, at which port, with which labels; and what a service without a snapshot, or
 * one that shows containers only their own stack, says.
 */
import { test } from 'tap'
import { targetsOf } from '../../metadata/prometheus.ts'
import { jsonOf } from '../../metadata/render.ts'
import type { ContainerRecord } from '../../model/records.ts'
import { metadataOf, shopOf, usual } from '../support/metadata.ts'
import { containerRecordOf, environmentOf } from '../support/snapshots.ts'

interface Group {
  readonly targets: readonly string[]
  readonly labels: Readonly<Record<string, string>>
}

function groupsOf(choice: 'marked' | 'all', ...containers: readonly ContainerRecord[]): readonly Group[] {
  const list = targetsOf(environmentOf({ containers }), containers, choice)
  return JSON.parse(jsonOf(list)) as readonly Group[]
}

const marked = (labels: Readonly<Record<string, string>> = {}, given: Partial<ContainerRecord> = {}) =>
  containerRecordOf(1, { ...given, labels: { 'prometheus.io/scrape': 'true', ...labels } })

const addressesOf = (groups: readonly Group[]): string[] => groups.flatMap(({ targets }) => targets)

test('which ports', async (t) => {
  const ports = (labels: Readonly<Record<string, string>>, exposed: string[] = []) =>
    addressesOf(groupsOf('marked', marked(labels, { exposed }))).map((target) => target.split(':')[1])
  t.strictSame(ports({ 'prometheus.io/port': '9100' }, ['80/tcp']), ['9100'], 'what it asks for')
  t.strictSame(ports({}, ['9090/tcp', '53/udp', '80/tcp']), ['80', '9090'], 'else every exposed TCP port')
  t.strictSame(ports({}), ['80'], 'else that of the scheme')
  t.strictSame(ports({ 'prometheus.io/scheme': 'https' }), ['443'])
  for (const wrong of ['0', '65536', 'http', '-1', '']) {
    t.strictSame(ports({ 'prometheus.io/port': wrong }, ['80/tcp']), ['80'], `${wrong} is no port`)
  }
})

test('which containers', async (t) => {
  const of = (labels: Readonly<Record<string, string>>, given: Partial<ContainerRecord> = {}) =>
    groupsOf('marked', containerRecordOf(1, { exposed: ['80/tcp'], ...given, labels })).length
  t.equal(of({ 'prometheus.io/scrape': 'true' }), 1)
  t.equal(of({ 'prometheus.io/scrape': 'false' }), 0)
  t.equal(of({}), 0)
  t.equal(of({ 'prometheus.io/scrape': 'true' }, { address: null }), 0)
  t.equal(of({ 'prometheus.io/scrape': 'true' }, { state: 'exited' }), 0)
  t.equal(of({ 'prometheus.io/scrape': 'true' }, { state: 'paused' }), 0, 'it could not answer')
  const unmarked = containerRecordOf(2, { exposed: ['80/tcp', '443/tcp'] })
  t.strictSame(addressesOf(groupsOf('all', marked(), unmarked, containerRecordOf(3))), [
    '10.42.0.11:80',
    '10.42.0.12:80',
    '10.42.0.12:443',
  ])
})

test('with which labels', async (t) => {
  const labels = {
    'prometheus.io/path': '/-/metrics',
    'prometheus.io/scheme': 'https',
    'com.example-a/b': 'ü',
  }
  const [group] = groupsOf(
    'marked',
    marked(labels, { stack: 'shop', service: 'web', name: 'web-1', image: 'nginx:1' }),
  )
  t.match(group?.labels, {
    container: 'web-1',
    stack: 'shop',
    service: 'web',
    host: 'host1',
    __metrics_path__: '/-/metrics',
    __scheme__: 'https',
    __meta_drover_environment: 'default',
    __meta_drover_port: '443',
    __meta_drover_container_image: 'nginx:1',
    __meta_drover_container_label_com_example_a_b: 'ü',
    __meta_drover_container_label_prometheus_io_scrape: 'true',
  })
  const [bare] = groupsOf('marked', marked({ 'prometheus.io/scheme': 'gopher' }))
  t.notOk(
    Object.keys(bare?.labels ?? {}).some((key) =>
      ['stack', 'service', '__scheme__', '__metrics_path__'].includes(key),
    ),
  )
  const names = Object.keys({ ...group?.labels, ...bare?.labels })
  t.strictSame(
    names.filter((name) => !/^[a-zA-Z_]\w*$/.test(name)),
    [],
    'names that Prometheus takes',
  )
})

test('a service without a snapshot does not say that there is nothing', async (t) => {
  const { ask } = await metadataOf(t, null)
  t.equal((await ask('/prometheus/sd')).status, 404)
})

test('an environment without targets is an empty list', async (t) => {
  const { ask } = await metadataOf(t, environmentOf())
  t.match(await ask('/prometheus/sd'), { status: 200, type: 'application/json', text: '[]' })
})

test('who sees only a stack scrapes only that', async (t) => {
  const elsewhere = containerRecordOf(9, { stack: 'other', service: 'x', exposed: ['1/tcp'] })
  const shop = shopOf()
  const environment = { ...shop, containers: new Map([...shop.containers, [elsewhere.id, elsewhere]]) }
  const targets = async (scope: 'environment' | 'stack') => {
    const { ask } = await metadataOf(t, environment, { ...usual, scope })
    return addressesOf(JSON.parse((await ask('/prometheus/sd/all')).text) as readonly Group[])
  }
  t.ok((await targets('environment')).includes('10.42.0.19:1'))
  t.notOk((await targets('stack')).includes('10.42.0.19:1'))
  t.ok((await targets('stack')).includes('127.0.0.11:80'))
})
