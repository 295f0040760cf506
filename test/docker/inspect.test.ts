/** `docker inspect` of Docker 20.10, as recorded, becomes what the house reads. */
import { readFileSync } from 'node:fs'
import { test } from 'tap'
import { eventOf } from '../../docker/engine.ts'
import { inspectionOf, networkFrameOf, networksOf } from '../../docker/inspect.ts'

const golden: unknown[] = JSON.parse(readFileSync(new URL('inspect.golden.json', import.meta.url), 'utf8'))
const inspections = golden.flatMap((raw) => inspectionOf(raw) ?? [])
const named = (name: string) => {
  const found = inspections.find(({ container }) => container.name === name)
  if (found === undefined) throw new TypeError(`no ${name} in the golden file`)
  return found.container
}

test('a container on a user-defined network', async (t) => {
  const web = named('web1')
  t.match(web, {
    id: /^[0-9a-f]{64}$/,
    hostname: 'Web',
    image: 'dt-busybox',
    state: 'running',
    health: 'healthy',
    network: { is: 'network', name: 'foo' },
    restartCount: 0,
    engineAddresses: ['172.18.0.2'],
    labels: { 'io.rancher.stack_service.name': 'shop/web' },
  })
  t.strictSame([...web.ports].sort(), ['0.0.0.0:53:53/udp', '127.0.0.1:8080:80/tcp'])
  t.strictSame([...web.exposed].sort(), ['53/udp', '80/tcp', '99/tcp'])
  t.ok(web.pid > 1)
  t.match(web.resolvConf, /resolv\.conf$/)
  t.equal(web.startedAt, Date.parse('2026-11-21T06:23:22.478Z'))
  t.equal(web.finishedAt, 0, "Docker's zero time is 0")
})

test('links, DNS settings and every network mode', async (t) => {
  const linked = named('linked')
  t.strictSame(linked.links, { db: 'c1' })
  t.strictSame(linked.dns, ['1.2.3.4'])
  t.strictSame(linked.dnsSearch, ['example.org'])
  t.strictSame(linked.network, { is: 'bridge' })
  t.strictSame(named('onhost').network, { is: 'host' })
  t.strictSame(named('nonet').network, { is: 'none' })
  t.strictSame(named('side').network, { is: 'container', container: named('c1').id })
  t.strictSame(named('side').engineAddresses, [])
})

test('states', async (t) => {
  t.equal(named('created').state, 'created')
  t.equal(named('created').pid, 0)
  t.equal(named('gone').state, 'exited')
  t.ok(named('gone').finishedAt > 0)
  t.equal(named('c1').state, 'paused')
  t.equal(named('c1').health, 'none')
})

test('what other engines leave out does no harm', async (t) => {
  t.equal(inspectionOf({}), undefined)
  t.equal(inspectionOf(null), undefined)
  t.equal(inspectionOf({ Id: 'short' }), undefined)
  const bare = inspectionOf({
    Id: 'a'.repeat(64),
    HostConfig: { Links: 3 },
    State: [],
    Config: { Labels: 'x' },
  })
  t.match(bare, { container: { state: 'created', network: { is: 'bridge' }, ports: [] }, endpoints: [] })
})

test('networks know who is on them, by which names', async (t) => {
  const id = inspections
    .flatMap(({ endpoints }) => endpoints)
    .find(({ names }) => names.includes('zap'))?.network
  const raw = { Id: id, Name: 'foo', IPAM: { Config: [{ Subnet: '172.18.0.0/16' }] } }
  const frames = [raw, { Id: 'x', Name: 'bridge' }].flatMap((network) => networkFrameOf(network) ?? [])
  const [foo, ...others] = networksOf(frames, inspections)
  t.strictSame(others, [])
  t.strictSame(foo?.subnets, ['172.18.0.0/16'])
  t.equal(foo?.endpoints.length, 1)
  const web = named('web1')
  t.equal(foo?.endpoints[0]?.container, web.id)
  t.strictSame(foo?.endpoints[0]?.names, ['web1', web.id.slice(0, 12), 'zap', 'web'])
})

test('a line of the event stream', async (t) => {
  const id = 'b'.repeat(64)
  const line = `{"Type":"container","Action":"start","Actor":{"ID":"${id}"},"timeNano":1763706202478961302}`
  t.match(eventOf(line), { about: 'container', action: 'start', container: id, at: 1763706202478 })
  t.equal(eventOf(line)?.stamp, 1763706202478961302n)
  const network = `{"Type":"network","Action":"connect","Actor":{"ID":"n","Attributes":{"container":"${id}"}}}`
  t.match(eventOf(network), { about: 'network', container: id })
  t.equal(eventOf('{"Type":"image"}'), undefined)
  t.equal(eventOf('not json'), undefined)
  t.equal(eventOf('null'), undefined)
})
