/**
 * The metadata thread over real sockets on loopback: what clients see, how long polls end, what limits hold, and
 * that it comes back after a crash. Addresses of 127.0.0.0/8 stand for containers, so no namespace is needed.
 */
import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { Agent, type IncomingHttpHeaders, request } from 'node:http'
import { connect } from 'node:net'
import { promisify } from 'node:util'
import type { Worker } from 'node:worker_threads'
import { gunzipSync } from 'node:zlib'
import { type Test, test } from 'tap'
import type { WorkerOptions } from '../../metadata/messages.ts'
import { type Metadata, startMetadata } from '../../metadata/thread.ts'
import type { Environment } from '../../model/environment.ts'
import { DroverError } from '../../model/errors.ts'
import { MemoryLog, MemoryMeter, SeededRandom } from '../support/ports.ts'
import { containerRecordOf, environmentOf, hostIdOf, ip } from '../support/snapshots.ts'

const run = promisify(execFile)
const inShop = { stack: 'shop', service: 'web' }

const containers = [
  containerRecordOf(1, {
    ...inShop,
    name: 'web-1',
    address: ip('127.0.0.11'),
    engineAddresses: ['127.0.1.11'],
  }),
  containerRecordOf(2, { ...inShop, name: 'web-2', address: ip('127.0.0.12'), index: 2, host: hostIdOf(2) }),
  containerRecordOf(3, { name: 'twin-1', address: null, engineAddresses: ['10.9.9.9', '127.0.1.13'] }),
  containerRecordOf(4, { name: 'twin-2', address: null, engineAddresses: ['10.9.9.9'] }),
]
const shop = environmentOf({ revision: 7, containers })

interface Reply {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly bytes: Buffer
  readonly text: string
}

interface Ask {
  readonly from?: string
  readonly method?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly agent?: Agent
  readonly body?: string
}

function ask(
  port: number,
  path: string,
  { from = '127.0.0.1', body, headers, ...options }: Ask = {},
): Promise<Reply> {
  return new Promise((resolve, reject) => {
    const length = body === undefined ? {} : { 'Content-Length': String(body.length) }
    const all = { ...options, headers: { ...headers, ...length } }
    const asking = request({ host: '127.0.0.1', port, path, localAddress: from, ...all }, (response) => {
      const chunks: Buffer[] = []
      response.on('data', (chunk: Buffer) => chunks.push(chunk))
      response.on('error', reject)
      response.on('end', () => {
        const bytes = Buffer.concat(chunks)
        resolve({
          status: response.statusCode ?? 0,
          headers: response.headers,
          bytes,
          text: bytes.toString(),
        })
      })
    })
    asking.on('error', reject)
    asking.end(body)
  })
}

/** One raw exchange: what comes back until the other side closes. */
async function raw(port: number, text: string): Promise<string> {
  const socket = connect(port, '127.0.0.1')
  const chunks: Buffer[] = []
  socket.on('data', (chunk: Buffer) => chunks.push(chunk))
  socket.on('error', () => socket.destroy())
  socket.write(text)
  await once(socket, 'close')
  return Buffer.concat(chunks).toString()
}

const usual = {
  address: '127.0.0.1',
  port: 0,
  connections: 1000,
  trustedProxies: [],
  scope: 'environment',
} as const

async function start(t: Test, environment: Environment | null = shop, options: Partial<WorkerOptions> = {}) {
  const log = new MemoryLog()
  const meter = new MemoryMeter()
  const metadata = await startMetadata({ log, meter }, { ...usual, ...options })
  t.teardown(() => metadata.close())
  if (environment !== null) await show(metadata, environment)
  return { metadata, port: metadata.port, log, meter }
}

/** Messages keep their order, so statistics asked for afterwards know the snapshot. */
async function show(metadata: Metadata, environment: Environment): Promise<void> {
  metadata.apply(environment)
  await metadata.stats()
}

async function until(what: string, holds: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + 20_000
  while (!(await holds())) {
    if (performance.now() > deadline) throw new TypeError(`not reached: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}

const isWaiting = (metadata: Metadata, polls: number) => async (): Promise<boolean> =>
  (await metadata.stats())?.waiting === polls

test('what a container reads', async (t) => {
  const { port, metadata } = await start(t)
  const text = async (path: string, from?: string) =>
    (await ask(port, path, from === undefined ? {} : { from })).text
  t.equal(await text('/'), '2015-07-25\n2015-12-19\n2016-07-29\nlatest\n')
  t.equal(await text('/latest/self/container/primary_ip', '127.0.0.11'), '127.0.0.11')
  t.equal(await text('/latest/self/container', '127.0.0.12'), 'Not found\n', 'it is on another host')
  t.equal(await text('/latest/self/service/containers', '127.0.0.11'), '0=web-1\n1=web-2\n')
  t.equal(await text('/latest/self/stack/name', '127.0.0.11'), 'shop')
  t.equal(await text('/latest/self'), 'host/\n', 'the host sees itself')
  t.equal(await text('/latest/self/container'), 'Not found\n')
  t.equal(await text('/latest/containers'), '0=web-1\n1=web-2\n2=twin-1\n3=twin-2\n')
  t.equal(await text('/latest/containers/web-2/service_index'), '2')
  t.match(await text('/latest/version'), /^[0-9a-f-]{36}$/)
  const spoofed = { from: '127.0.0.11', headers: { 'X-Forwarded-For': '127.0.0.12' } }
  t.equal((await ask(port, '/latest/self/container/name', spoofed)).text, 'web-1')
  t.match(await metadata.stats(), { revision: 7, refused: 2, waiting: 0 })
})

test('an address of two containers is nobody', async (t) => {
  const twins = [1, 2].map((n) => containerRecordOf(n, { address: ip('127.0.0.20') }))
  const { port } = await start(t, environmentOf({ containers: twins }))
  const reply = await ask(port, '/latest/self/container/name', { from: '127.0.0.20' })
  t.match(reply, { status: 404, text: 'Not found: more than one container has this address\n' })
  t.equal((await ask(port, '/latest/nope', { from: '127.0.0.20' })).text, 'Not found\n')
})

test('before the first snapshot', async (t) => {
  const { port } = await start(t, null)
  t.equal((await ask(port, '/')).text, 'latest\n')
  t.match(await ask(port, '/2016-07-29/self'), { status: 404, text: 'Invalid version\n' })
  t.match(await ask(port, '/latest/self'), { status: 404, text: 'Not found\n' })
})

test('methods, headers and bodies', async (t) => {
  const { port } = await start(t)
  const json = await ask(port, '/latest/containers/web-1', { headers: { Accept: 'application/json' } })
  t.equal(json.headers['content-type'], 'application/json')
  t.equal(json.headers['access-control-allow-origin'], '*')
  t.equal((JSON.parse(json.text) as { name: string }).name, 'web-1')
  const etag = String(json.headers.etag)
  const again = await ask(port, '/latest/containers/web-1', {
    headers: { Accept: 'application/json', 'If-None-Match': `"x", W/${etag}` },
  })
  t.match(again, { status: 304, text: '' })
  const head = await ask(port, '/latest/containers/web-1', {
    method: 'HEAD',
    headers: { Accept: 'application/json' },
  })
  t.match(head, {
    status: 200,
    text: '',
    headers: { etag, 'content-length': json.headers['content-length'] },
  })
  for (const method of ['POST', 'PUT', 'DELETE', 'OPTIONS', 'PATCH', 'PROPFIND']) {
    const refused = await ask(port, '/latest/version', {
      method,
      headers: { 'Content-Type': 'odd/type' },
      body: 'x',
    })
    t.match(refused, { status: 404, text: '404 page not found\n' }, method)
    t.equal(refused.headers['access-control-allow-origin'], undefined)
  }
  t.match(await ask(port, '/latest/version', { method: 'GET', body: 'a body' }), { status: 200 })
  t.match(await ask(port, '/latest//version'), {
    status: 301,
    text: '',
    headers: { location: '/latest/version' },
  })
  t.match(await ask(port, '/%zz'), { status: 400, text: '400 Bad Request' })
  t.match(await ask(port, '/favicon.ico'), { status: 404, text: '404 page not found\n' })
  const plain = await ask(port, '/latest', { headers: { Accept: 'application/json' } })
  const zipped = await ask(port, '/latest', {
    headers: { Accept: 'application/json', 'Accept-Encoding': 'gzip' },
  })
  t.equal(zipped.headers['content-encoding'], 'gzip')
  t.ok(gunzipSync(zipped.bytes).equals(plain.bytes))
})

test('what is no HTTP gets a short answer', async (t) => {
  const { port } = await start(t)
  t.match(await raw(port, 'rubbish\r\n\r\n'), /^HTTP\/1\.1 400 Bad Request\r\n/)
  t.match(
    await raw(port, `GET / HTTP/1.1\r\nHost: x\r\nX: ${'y'.repeat(64 * 1024)}\r\n\r\n`),
    /^HTTP\/1\.1 431 /,
  )
  t.match(await raw(port, 'GET latest HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n'), /^HTTP\/1\.1 400 /)
  t.match(await raw(port, 'GET /latest/self/host/name HTTP/1.0\r\n\r\n'), /\r\n\r\nhost1$/)
  t.match(
    await raw(port, '\r\nGET /latest/self/host/name HTTP/1.1\r\nConnection: close\r\n\r\n'),
    /^HTTP\/1\.1 (200|400) /,
  )
})

test('half-open clients and noise do not disturb others', async (t) => {
  const { port } = await start(t)
  const idle = Array.from({ length: 200 }, () => connect(port, '127.0.0.1'))
  t.teardown(() => {
    for (const socket of idle) socket.destroy()
  })
  for (const socket of idle)
    socket.on('error', () => undefined).write('GET /latest/containers HTTP/1.1\r\nHo')
  const random = new SeededRandom(11)
  const bits = [
    'GET ',
    'HEAD ',
    '/latest',
    '/%',
    ' HTTP/1.1',
    '\r\n',
    ': ',
    'Host',
    'Accept',
    '\0',
    '\xff',
    '{}',
    'Content-Length',
    '9',
    'Transfer-Encoding',
    'chunked',
  ]
  const noise = Array.from({ length: 100 }, () => {
    const text = Array.from({ length: 12 }, () => bits[random.below(bits.length)]).join('')
    return raw(port, `${text}\r\n\r\n`)
  })
  for (const answer of await Promise.all(noise)) t.match(answer, /^HTTP\/1\.1 (200|301|400|404|417|431) /)
  t.equal((await ask(port, '/latest/self/host/name')).text, 'host1')
})

test('a long poll is answered by the change itself, and only by a change', async (t) => {
  const { port, metadata } = await start(t)
  const version = (await ask(port, '/latest/version')).text
  const poll = ask(port, `/latest/version?wait=true&value=${version}&maxWait=60`)
  const state = ask(port, '/latest/containers/web-1/state?wait=true&value=running&maxWait=60')
  const later = ask(port, '/latest/containers/later/name?wait=true&value=&maxWait=60')
  const { etag } = (await ask(port, '/latest/containers')).headers
  const listing = ask(
    port,
    `/latest/containers?wait=true&maxWait=60&value=${encodeURIComponent(String(etag))}`,
  )
  await until('four polls wait', isWaiting(metadata, 4))
  const [first, ...others] = containers
  if (first === undefined) throw new TypeError('no container')
  await show(
    metadata,
    environmentOf({ revision: 8, containers: [{ ...first, problems: ['unseen'] }, ...others] }),
  )
  t.match(await metadata.stats(), { revision: 8, waiting: 4 }, 'nothing that is shown changed')
  metadata.apply(environmentOf({ revision: 9, containers: [{ ...first, state: 'exited' }, ...others] }))
  t.not((await poll).text, version)
  t.equal((await state).text, 'stopped')
  t.match(await metadata.stats(), { waiting: 2 }, 'the listing is the same')
  metadata.apply(
    environmentOf({ revision: 10, containers: [...containers, containerRecordOf(9, { name: 'later' })] }),
  )
  t.equal((await later).text, 'later')
  t.match((await listing).text, /4=later|=later/)
  t.equal((await ask(port, '/latest/containers?wait=true&value=anything')).status, 200, 'at once')
})

test('a long poll ends at its deadline with what there is', async (t) => {
  const { port, metadata } = await start(t)
  const version = (await ask(port, '/latest/version')).text
  const [same, missing] = await Promise.all([
    ask(port, `/latest/version?wait=true&value=${version}&maxWait=1`),
    ask(port, '/latest/nope?wait=true&value=&maxWait=1'),
  ])
  t.match(same, { status: 200, text: version })
  t.match(missing, { status: 404, text: 'Not found\n' })
  const gone = request({ host: '127.0.0.1', port, path: `/latest/version?wait=true&value=${version}` })
  gone.on('error', () => undefined)
  gone.end()
  await until('it waits', isWaiting(metadata, 1))
  gone.destroy()
  await until('a client that left is forgotten', isWaiting(metadata, 0))
  const last = ask(port, `/latest/version?wait=true&value=${version}`)
  await until('the last one waits', isWaiting(metadata, 1))
  await metadata.close()
  t.equal((await last).text, version, 'the end of the service answers what waits')
})

test('200 long polls are answered together', async (t) => {
  const { port, metadata } = await start(t)
  const version = (await ask(port, '/latest/version')).text
  const agent = new Agent({ maxSockets: 400 })
  t.teardown(() => agent.destroy())
  const polls = Array.from({ length: 200 }, () =>
    ask(port, `/latest/version?wait=true&value=${version}&maxWait=60`, { agent }),
  )
  await until('all wait', isWaiting(metadata, 200))
  metadata.apply(environmentOf({ revision: 8, containers: containers.slice(1) }))
  const answers = new Set((await Promise.all(polls)).map(({ text }) => text))
  t.equal(answers.size, 1)
  t.notOk(answers.has(version))
})

test('busybox wget and curl', async (t) => {
  const { port } = await start(t)
  const url = `http://127.0.0.1:${port}/latest/self/host/name`
  const tools = { busybox: ['wget', '-qO-', url], curl: ['-sS', '--max-time', '20', url] }
  for (const [tool, args] of Object.entries(tools)) {
    if (!existsSync(`/usr/bin/${tool}`) && !existsSync(`/bin/${tool}`)) t.comment(`${tool} is not installed`)
    else t.equal((await run(tool, args)).stdout, 'host1', tool)
  }
})

test('a thread that dies is started again with the newest state', async (t) => {
  const born: Worker[] = []
  const remember = (worker: Worker): void => void born.push(worker)
  process.on('worker', remember)
  t.teardown(() => process.off('worker', remember))
  const { port, metadata, meter } = await start(t)
  await born[0]?.terminate()
  await until('it answers again', async () => (await metadata.stats())?.revision === 7)
  t.equal((await ask(port, '/latest/self/container/name', { from: '127.0.0.11' })).text, 'web-1')
  t.equal(meter.values.get('drover_worker_restarts_total{"worker":"metadata"}'), 1)
  t.equal(metadata.port, port)
})

test('a snapshot that cannot be shown leaves the last one in place', async (t) => {
  const { port, metadata, log } = await start(t)
  const broken = { ...containerRecordOf(5), labels: null as unknown as Record<string, string> }
  await show(metadata, environmentOf({ revision: 8, containers: [...containers, broken] }))
  t.equal((await ask(port, '/latest/containers')).text.split('\n').length, 5)
  t.match(log.lines, [{ level: 'error', message: 'a snapshot could not be shown by metadata' }])
  await show(metadata, environmentOf({ revision: 9, containers: containers.slice(0, 1) }))
  t.equal((await ask(port, '/latest/containers')).text, '0=web-1\n')
})

test('an address that is taken is refused with its name', async (t) => {
  const { port } = await start(t)
  const ports = { log: new MemoryLog(), meter: new MemoryMeter() }
  const refused = await startMetadata(ports, { ...usual, port }).catch((error: unknown) => error)
  t.ok(refused instanceof DroverError)
  t.match(refused, { code: 'LISTEN_FAILED', culprit: 'operator', message: new RegExp(`127.0.0.1:${port}`) })
})
