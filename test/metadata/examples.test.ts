/**
 * The examples of docs/clients.md, its blocks and its files, with their real programs: HAProxy and nginx send requests to the containers of the
 * moment, Prometheus scrapes them. Programs that are not installed are skipped.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { type Test, test } from 'tap'
import { parse } from 'yaml'
import type { ContainerState } from '../../model/records.ts'
import { becomeHost, metadataHost, metadataUrl } from '../support/metadata-host.ts'
import { isRoot, until } from '../support/netns.ts'
import { containerRecordOf, environmentOf, ip } from '../support/snapshots.ts'

const examples = join(import.meta.dirname, '../../docs/examples')
const execute = promisify(execFile)
if (isRoot) becomeHost()

const needs = (program: string) => ({
  timeout: 120_000,
  ...(isRoot ? {} : { skip: 'needs root for network namespaces' }),
  ...(existsSync(program) ? {} : { skip: `${program} is not installed` }),
})

/** Two containers of one service, of which the second is in a state. */
const shop = (revision: number, second: ContainerState) => {
  const labels = {
    'http.host': 'shop.example.com',
    'prometheus.io/scrape': 'true',
    'prometheus.io/path': '/numbers',
    metrics: '8081',
  }
  const web = { stack: 'shop', service: 'web', labels, exposed: ['8081/tcp', '9999/tcp'] }
  const containers = [
    containerRecordOf(1, { ...web, name: 'web-1', address: ip('10.42.0.11') }),
    containerRecordOf(2, { ...web, name: 'web-2', address: ip('10.42.0.12'), index: 2, state: second }),
    containerRecordOf(3, { name: 'other', exposed: ['1/tcp'] }),
  ]
  return environmentOf({ revision, containers })
}

/** Programs that answer with the name of their container, and with numbers for Prometheus. */
async function webServers(t: Test): Promise<void> {
  const servers = ['10.42.0.11', '10.42.0.12'].map(async (address, at) => {
    const server = createServer((request, response) => {
      const numbers = ['/numbers', '/metrics'].includes(request.url ?? '')
      if (numbers) response.setHeader('Content-Type', 'text/plain; version=0.0.4')
      response.end(numbers ? `answers_total ${at + 1}\n` : `web-${at + 1}`)
    })
    await new Promise<void>((resolve) => server.listen(8081, address, resolve))
    t.teardown(() => {
      server.close()
      server.closeAllConnections()
    })
  })
  await Promise.all(servers)
}

function folderOf(t: Test): string {
  const folder = mkdtempSync(join(tmpdir(), 'drover-examples-'))
  // Workers of nginx are not root.
  chmodSync(folder, 0o755)
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

/** A program that ends with the test, and with this process. */
function run(t: Test, argv: readonly string[]): ChildProcess {
  const environment = { ...process.env, METADATA_URL: metadataUrl }
  const child = spawn('setpriv', ['--pdeathsig', 'TERM', ...argv], {
    env: environment,
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const said: string[] = []
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (chunk: Buffer) => said.push(String(chunk)))
  const ended = new Promise((resolve) => child.once('exit', resolve))
  t.teardown(async () => {
    if (child.exitCode !== null) t.comment(`${argv[0]} ended: ${said.join('')}`)
    child.kill('SIGTERM')
    await ended
  })
  return child
}

/** Renders a template of the examples into a file, as docs/clients.md says; resolves when the file is there. */
async function rendered(t: Test, template: string, file: string, command: string): Promise<void> {
  const node = [process.execPath, '--conditions=drover-source', join(examples, 'render.mjs')]
  run(t, [...node, join(examples, template), file, 'sh', '-c', command])
  await until(`${file} is written`, () => existsSync(file), 30_000)
}

/** What a site answers; empty while it does not. */
function answerOf(host: string): Promise<string> {
  return new Promise((resolve) => {
    const asking = request({ host: '127.0.0.1', port: 8080, headers: { Host: host } }, (response) => {
      let text = ''
      response.on('data', (chunk: Buffer) => {
        text += String(chunk)
      })
      response.on('end', () => resolve(response.statusCode === 200 ? text : ''))
    })
    asking.on('error', () => resolve(''))
    asking.end()
  })
}

/** Waits until a dozen requests are answered by exactly these. */
const answeredBy = (...names: readonly string[]): Promise<unknown> =>
  until(
    `answers of ${names.join(' and ')}`,
    async () => {
      const seen = new Set<string>()
      for (let at = 0; at < 12; at += 1) seen.add(await answerOf('shop.example.com'))
      return [...seen].sort().join() === names.join()
    },
    30_000,
  )

async function follows(t: Test, start: (folder: string) => Promise<void>): Promise<void> {
  const metadata = await metadataHost(t, shop(1, 'running'))
  await webServers(t)
  await start(folderOf(t))
  await answeredBy('web-1', 'web-2')
  metadata.apply(shop(2, 'exited'))
  await answeredBy('web-1')
  t.equal(await answerOf('elsewhere.example.com'), '', 'another site is none of ours')
  metadata.apply(shop(3, 'running'))
  await answeredBy('web-1', 'web-2')
}

test('HAProxy', needs('/usr/sbin/haproxy'), (t) =>
  follows(t, async (folder) => {
    const [file, pid] = [join(folder, 'haproxy.cfg'), join(folder, 'haproxy.pid')]
    await rendered(t, 'haproxy.cfg.mjs', file, `[ ! -e ${pid} ] || kill -USR2 $(cat ${pid})`)
    run(t, ['/usr/sbin/haproxy', '-W', '-f', file, '-p', pid])
  }),
)

test('nginx', needs('/usr/sbin/nginx'), (t) =>
  follows(t, async (folder) => {
    const [file, pid, main] = [
      join(folder, 'sites.conf'),
      join(folder, 'nginx.pid'),
      join(folder, 'nginx.conf'),
    ]
    const http = `access_log off; include ${file}; server { listen 8080 default_server; return 404; }`
    writeFileSync(main, `daemon off; pid ${pid}; events {} http { ${http} }\n`)
    await rendered(t, 'nginx.conf.mjs', file, `[ ! -e ${pid} ] || kill -HUP $(cat ${pid})`)
    run(t, ['/usr/sbin/nginx', '-e', 'stderr', '-c', main])
  }),
)

interface Target {
  readonly scrapeUrl: string
  readonly health: string
  readonly labels: Readonly<Record<string, string>>
}

test('Prometheus', needs('/usr/bin/prometheus'), async (t) => {
  const metadata = await metadataHost(t, shop(1, 'running'))
  await webServers(t)
  const folder = folderOf(t)
  const config = join(folder, 'prometheus.yml')
  const text = readFileSync(join(examples, 'prometheus.yml'), 'utf8')
  writeFileSync(config, text.replaceAll('http://rancher-metadata', metadataUrl).replaceAll('15s', '1s'))
  run(t, [
    '/usr/bin/prometheus',
    `--config.file=${config}`,
    `--storage.tsdb.path=${folder}/data`,
    '--web.listen-address=127.0.0.1:9090',
  ])
  const targets = async (job: string): Promise<readonly Target[]> => {
    const answer = await fetch('http://127.0.0.1:9090/api/v1/targets?state=active').catch(() => undefined)
    if (answer?.ok !== true) return []
    const { data } = (await answer.json()) as { readonly data: { readonly activeTargets: readonly Target[] } }
    return data.activeTargets.filter(({ labels }) => labels.job === job)
  }
  const scraped = (job: string, ...urls: readonly string[]) =>
    until(
      `${job} scrapes ${urls.join(' and ')}`,
      async () => {
        const up = (await targets(job)).filter(({ health }) => health === 'up')
        const sorted = up.toSorted((one, other) => (one.scrapeUrl < other.scrapeUrl ? -1 : 1))
        return sorted.map(({ scrapeUrl }) => scrapeUrl).join() === urls.join() && sorted
      },
      60_000,
    )
  const [first] = await scraped(
    'containers',
    'http://10.42.0.11:8081/numbers',
    'http://10.42.0.12:8081/numbers',
  )
  t.match(first?.labels, { container: 'web-1', service: 'web', stack: 'shop', host: 'host1' })
  const all = (await targets('containers')).map(({ scrapeUrl }) => scrapeUrl)
  t.ok(all.includes('http://10.42.0.11:9999/numbers'), 'without a port every exposed one is a target')
  await scraped('by-label', 'http://10.42.0.11:8081/numbers', 'http://10.42.0.12:8081/numbers')
  const answer = await fetch('http://127.0.0.1:9090/api/v1/query?query=answers_total{job="by-label"}')
  const { data } = (await answer.json()) as {
    readonly data: { readonly result: readonly { readonly value: unknown }[] }
  }
  t.equal(data.result.length, 2, 'the numbers are stored')
  metadata.apply(shop(2, 'exited'))
  await scraped('containers', 'http://10.42.0.11:8081/numbers')
})

test('what Traefik is given', async (t) => {
  const { render } = (await import(join(examples, 'traefik.yml.mjs'))) as {
    render(services: unknown): string
  }
  const container = { name: 'web-1', state: 'running', health_state: null, primary_ip: '10.42.0.11' }
  const service = {
    name: 'web',
    stack_name: 'shop',
    labels: { 'http.host': 'shop.example.com' },
    expose: ['443/tcp', '80/tcp', '53/udp'],
    containers: [container, { ...container, health_state: 'unhealthy' }, { ...container, primary_ip: null }],
  }
  t.strictSame(parse(render([service, { ...service, labels: {} }])), {
    http: {
      routers: { shop_web: { rule: 'Host(`shop.example.com`)', service: 'shop_web' } },
      services: { shop_web: { loadBalancer: { servers: [{ url: 'http://10.42.0.11:80' }] } } },
    },
  })
  t.strictSame(parse(render([])), {})
})

/** The blocks of the page in a language. */
const blocksOf = (language: string): readonly string[] => {
  const page = readFileSync(join(examples, '../clients.md'), 'utf8')
  return [...page.matchAll(new RegExp(`^\`\`\`${language}\n(.*?)^\`\`\`$`, 'gms'))].map(
    (match) => match[1] ?? '',
  )
}

test('the blocks of docs/clients.md', needs('/usr/bin/curl'), async (t) => {
  await metadataHost(t, shop(1, 'running'))
  // Who does not choose an address asks as the first container.
  const place = 'route change local 169.254.169.250 dev lo table local src 10.42.0.11'
  await execute('ip', place.split(' '))
  /** There is no DNS here. */
  const named = (text: string): string => text.replaceAll('http://rancher-metadata', metadataUrl)
  const shell = blocksOf('sh').map((block) => block.replaceAll('wget -qO- ', 'busybox wget -qO- '))
  t.equal(shell.length, 3)
  const outputs: string[] = []
  for (const block of shell) outputs.push((await execute('sh', ['-ec', named(block)])).stdout)
  t.match(outputs[0], /0=web-1\n1=web-2\n\{.*"name":"web"/s)
  t.equal(outputs[1], '0=web-1\n1=web-2\n')
  t.equal(outputs[2], '10.42.0.11')
  const [program = '', ...none] = blocksOf('js')
  t.strictSame(none, [])
  const file = join(examples, `../.clients-${process.pid}.mjs`)
  t.teardown(() => rmSync(file, { force: true }))
  const client = `new MetadataClient({ url: '${metadataUrl}' })`
  writeFileSync(file, program.replace('new MetadataClient()', client))
  const { stdout } = await execute(process.execPath, ['--conditions=drover-source', file])
  t.equal(stdout, "10.42.0.11 undefined\n[ 'web-1', 'web-2' ]\n")
})
