/** Labels become wishes; absurd ones become one clear line, and nothing else breaks. */
import { readFileSync } from 'node:fs'
import { test } from 'tap'
import { fittingLabels, honouredLabels, wishOf } from '../../docker/labels.ts'
import type { EngineContainer } from '../../model/engine.ts'
import { containerIdField } from '../../model/records.ts'
import { instant } from '../../model/time.ts'

const attach = { 'io.rancher.container.network': 'true' }

const container = (labels: Record<string, string>, rest: Partial<EngineContainer> = {}): EngineContainer => ({
  id: containerIdField.parse('c'.repeat(64)),
  name: 'one',
  hostname: 'one',
  image: 'i',
  labels,
  state: 'running',
  health: 'none',
  pid: 1,
  network: { is: 'bridge' },
  restartCount: 0,
  ports: [],
  exposed: [],
  engineAddresses: [],
  resolvConf: '',
  dns: [],
  dnsSearch: [],
  links: {},
  createdAt: instant(0),
  startedAt: instant(0),
  finishedAt: instant(0),
  ...rest,
})
const wish = (labels: Record<string, string>) => wishOf(container(labels))

test('no labels, no wish', async (t) => {
  t.strictSame(wish({}), {
    managed: false,
    environment: 'default',
    stack: null,
    service: null,
    sidekick: null,
    index: null,
    requestedAddresses: [],
    dns: true,
    dnsPriority: 'first',
    problems: [],
  })
  t.equal(wish(attach).managed, true)
  t.equal(wish({ 'io.rancher.container.network': 'false' }).managed, false)
  t.equal(
    wish({ 'io.rancher.container.ip': '10.42.0.9/16' }).managed,
    false,
    'an address alone attaches nothing',
  )
})

test('stack, service and sidekick from each scheduler', async (t) => {
  const rancher = wish({ ...attach, 'io.rancher.stack_service.name': 'Shop/Web/log' })
  t.match(rancher, { stack: 'Shop', service: 'Web', sidekick: 'log', problems: [] })
  t.match(wish({ 'io.rancher.project_service.name': 'shop/web' }), {
    stack: 'shop',
    service: 'web',
    sidekick: null,
  })
  const compose = {
    'com.docker.compose.project': 'shop',
    'com.docker.compose.service': 'web',
    'com.docker.compose.container-number': '3',
  }
  t.match(wish(compose), { stack: 'shop', service: 'web', index: 3, problems: [] })
  const swarm = {
    'com.docker.stack.namespace': 'shop',
    'com.docker.swarm.service.name': 'shop_web',
    'com.docker.swarm.task.name': 'shop_web.2.x7sdfsdf',
  }
  t.match(wish(swarm), { stack: 'shop', service: 'web', index: 2, problems: [] })
  const global = { ...swarm, 'com.docker.swarm.task.name': 'shop_web.nodeid.x7' }
  t.match(wish(global), { index: null, problems: [] }, 'a global service has no slot')
})

test('the first label that is present wins', async (t) => {
  const all = {
    'com.docker.compose.project': 'd',
    'com.docker.stack.namespace': 'c',
    'io.rancher.project.name': 'b',
  }
  t.equal(wish({ ...all, 'io.rancher.stack.name': 'a' }).stack, 'a')
  t.equal(wish(all).stack, 'b')
  t.equal(wish({ 'com.docker.compose.project': 'd', 'com.docker.stack.namespace': 'c' }).stack, 'c')
  const both = { 'com.docker.compose.project': 'folder', 'io.rancher.stack_service.name': 'shop/web' }
  t.match(
    wish(both),
    { stack: 'shop', service: 'web' },
    "a path's stack goes before what Compose calls the folder",
  )
  t.match(wish({ ...both, 'io.rancher.stack.name': 'own' }), { stack: 'own', service: 'web' })
})

test('addresses, DNS and environment', async (t) => {
  const ip = 'io.rancher.container.requested_ip'
  t.strictSame(wish({ [ip]: ' 10.42.1.2, nonsense,,10.42.1.3 ' }).requestedAddresses, [
    '10.42.1.2',
    'nonsense',
    '10.42.1.3',
  ])
  t.equal(wish({ 'io.rancher.container.dns': 'False' }).dns, false)
  t.equal(wish({ 'io.rancher.container.dns.priority': 'service_last' }).dnsPriority, 'last')
  t.equal(wish({ 'io.rancher.container.dns.priority': 'None' }).dnsPriority, 'none')
  t.equal(wish({ 'drover.environment': 'blue' }).environment, 'blue')
})

test('absurd values are one clear line each', async (t) => {
  const absurd: Record<string, string> = {
    'ten kilobytes': 'x'.repeat(10_000),
    'control characters': 'a\n\x1b[31mb\0',
    'not a DNS label': 'Stack One!',
    'not text': '\ufffd\ud800\ufffd',
    empty: '',
    'a path': '../../etc/passwd',
    'an object key': '__proto__',
  }
  for (const [what, value] of Object.entries(absurd)) {
    for (const { label, means } of honouredLabels) {
      const got = wish({ ...attach, [label]: value })
      t.equal(got.managed, means !== 'attach', `${label} with ${what}`)
      for (const line of got.problems) {
        t.notMatch(line, /[\x00-\x1f\x7f]/, 'one line')
        t.ok(line.length < 200 && line.isWellFormed())
        t.match(line, label)
      }
      const quiet = label === 'com.docker.swarm.task.name' || means === 'address'
      if (!quiet && !(value === '__proto__' && /stack|service|environment/.test(means)))
        t.equal(
          got.problems.length > 0 || (means === 'environment' && /DNS|path/.test(what)),
          true,
          `${label}: ${what}`,
        )
    }
  }
  t.match(wish({ ...attach, 'io.rancher.stack_service.name': 'a/b/c/d' }), { stack: null, service: null })
  t.equal(wish({ 'io.rancher.container.requested_ip': ',,' }).problems.length, 1)
  t.equal(wish({ 'com.docker.compose.container-number': '-1' }).index, null)
  t.equal(wish({ ...attach, 'io.rancher.container.network ': 'x' }).managed, true)
})

test('the host network ignores the label with a line', async (t) => {
  const got = wishOf(container(attach, { network: { is: 'host' } }))
  t.match(got.problems, [/host network/])
})

test('labels that no record holds are left out, with a line', async (t) => {
  const labels = { ...attach, big: 'x'.repeat(20_000), ['k'.repeat(2000)]: 'v' }
  t.strictSame(fittingLabels(labels), attach)
  t.equal(fittingLabels(attach), attach)
  t.equal(wish(labels).problems.length, 2)
  const many = Object.fromEntries(Array.from({ length: 50 }, (_, at) => [`l${at}`, 'x'.repeat(20_000)]))
  t.ok(wish(many).problems.length <= 16)
})

test('docs/labels.md lists exactly the labels that are read', async (t) => {
  const page = readFileSync(new URL('../../docs/labels.md', import.meta.url), 'utf8')
  const [honoured = '', ignored = ''] = page.split('## Not honoured')
  const inTable = [...honoured.matchAll(/^\| `([^`=]+)[^`]*` +\|/gm)].map((match) => match[1])
  t.strictSame(
    inTable,
    honouredLabels.map(({ label }) => label),
  )
  t.match(ignored, /io\.rancher\.container\.ip`/)
  for (const { label } of honouredLabels) t.notOk(ignored.includes(`\`${label}\``), label)
})
