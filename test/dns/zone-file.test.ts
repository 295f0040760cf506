/**
 * What is answered outlives a process that is killed: the file, and a thread that answers from it before a daemon
 * looks after it. Real threads on loopback.
 */
import { createSocket } from 'node:dgram'
import { appendFileSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Test, test } from 'tap'
import { type Dns, prepareDns, startDns } from '../../dns/dns.ts'
import { type DnsOptions, listenOptionsOf } from '../../dns/options.ts'
import { DnsThread } from '../../dns/thread.ts'
import { ZoneProjection } from '../../dns/zone/projection.ts'
import { readZoneFile, type Telling, ZoneFile } from '../../dns/zone-file.ts'
import type { Environment } from '../../model/environment.ts'
import { question, readAnswer } from '../support/dns-messages.ts'
import { freePort } from '../support/free-port.ts'
import { until } from '../support/netns.ts'
import { MemoryLog, MemoryMeter } from '../support/ports.ts'
import { realClock } from '../support/real-clock.ts'
import { containerRecordOf, environmentOf, ip } from '../support/snapshots.ts'
import { piecesOf } from '../support/zone-of.ts'

function fileOf(t: Test): string {
  const folder = mkdtempSync(join(tmpdir(), 'dt-zone-file-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  return join(folder, 'dns.zone')
}

const container = (n: number, name: string) =>
  containerRecordOf(n, { stack: 'shop', service: name, name, address: ip(`10.42.${n >> 8}.${n & 255}`) })
const [web, shop] = [container(1, 'web'), container(2, 'api')]
const snapshot = (revision: number, containers = [web]): Environment =>
  environmentOf({ revision, containers })

const zoneOf = (environment: Environment): readonly Telling[] => {
  const projection = new ZoneProjection({ service: ip('169.254.169.250'), lastResort: 'running' })
  return piecesOf(projection.update(environment), true).map((piece) => ({ is: 'zone', piece }))
}
const networks: Telling = { is: 'networks', networks: [] }
const unused = (): never => {
  throw new TypeError('not asked for')
}

test('a zone that is told anew says so once, and leaves no compiled answer', (t) => {
  const many = Array.from({ length: 1500 }, (_, n) => container(n + 1, `web${n}`))
  for (const containers of [[web], many]) {
    const pieces = zoneOf(snapshot(1, containers)).flatMap((one) => (one.is === 'zone' ? one.piece : []))
    t.same(
      pieces.map(({ anew, big }) => [anew, big]),
      pieces.map((_, at) => [at === 0, true]),
    )
  }
  t.end()
})

test('the file', (t) => {
  const path = fileOf(t)
  const zone = zoneOf(snapshot(1))
  const log = new MemoryLog()
  t.same(readZoneFile(path), [], 'nothing is there')
  const file = new ZoneFile(path, log)
  file.add([networks], unused)
  t.same(readZoneFile(path), [], 'changes of nothing are not kept')
  file.begin([...zone, networks])
  file.add([networks], unused)
  t.same(readZoneFile(path), [...zone, networks, networks], 'in the order in which it was told')
  t.equal(statSync(path).mode & 0o777, 0o600)
  const whole = readFileSync(path)
  file.add([networks], unused)
  const { size } = statSync(path)
  for (let cut = whole.length; cut < size; cut++) {
    const bytes = readFileSync(path).subarray(0, cut)
    writeFileSync(`${path}.cut`, bytes)
    t.equal(readZoneFile(`${path}.cut`).length, zone.length + 2, `the last ends after ${cut} bytes`)
  }
  appendFileSync(path, Buffer.from([3, 0, 0, 0, 1, 2, 3]))
  t.equal(readZoneFile(path).length, zone.length + 3, 'what nobody can read ends it')
  new ZoneFile(path, log).begin(zone)
  t.same(readZoneFile(path), zone, 'anew')
  file.close()
  writeFileSync(path, 'drover zone 0\n')
  t.same(readZoneFile(path), [], 'of another format')
  t.end()
})

test('changes that take too much room make the file begin again', (t) => {
  const path = fileOf(t)
  const file = new ZoneFile(path, new MemoryLog())
  const zone = zoneOf(snapshot(1))
  file.begin(zone)
  let asked = 0
  for (let n = 0; n < 100_000 && asked === 0; n++)
    file.add(zone, () => {
      asked += 1
      return zone
    })
  t.equal(asked, 1)
  t.same(readZoneFile(path), zone)
  file.close()
  t.end()
})

test('a file that cannot be written stops nothing, and is not there', (t) => {
  const path = join(fileOf(t), 'in', 'no', 'folder')
  const log = new MemoryLog()
  const file = new ZoneFile(path, log)
  file.begin([])
  file.add([networks], unused)
  t.match(log.lines, [{ level: 'debug' }])
  t.end()
})

/** The addresses of a name; undefined while there is no answer at all. */
async function asked(port: number, name: string): Promise<readonly string[] | undefined> {
  const socket = createSocket('udp4')
  try {
    return await new Promise((resolve) => {
      socket.on('error', () => resolve(undefined))
      socket.on('message', (bytes) =>
        resolve(readAnswer(bytes).answers.map((line) => line.split(' ').at(-1) ?? '')),
      )
      socket.connect(port, '127.0.0.1', () => socket.send(question(name, 'A')))
    })
  } finally {
    socket.close()
  }
}

const nameOf = (one: string): string => `${one}.shop.rancher.internal`

interface Left {
  readonly options: DnsOptions
  readonly deps: { clock: typeof realClock; log: MemoryLog; meter: MemoryMeter }
}

/** A daemon has answered `web`, and is no more. */
async function answeredBefore(t: Test): Promise<Left> {
  const options: DnsOptions = {
    address: '127.0.0.1',
    port: await freePort(),
    upstreams: [],
    resolvConf: '/nonexistent',
    domain: 'rancher.internal',
    search: 'safe',
    kept: fileOf(t),
  }
  const deps = { clock: realClock, log: new MemoryLog(), meter: new MemoryMeter() }
  const before = await startDns(deps, options, snapshot(1, [shop]))
  before.apply(snapshot(2))
  await before.close()
  return { options, deps }
}

/** As the next one starts it. */
function early({ options }: Left): DnsThread {
  const thread = new DnsThread()
  thread.begin({ ...listenOptionsOf(options), inherited: undefined })
  for (const telling of readZoneFile(options.kept ?? '')) thread.tell(telling)
  thread.tell({ is: 'listen' })
  return thread
}

async function answers(port: number, name: string, addresses: readonly string[]): Promise<void> {
  const wanted = JSON.stringify(addresses)

  await until(`${name} is ${wanted}`, async () => JSON.stringify(await asked(port, name)) === wanted)
}

test('the next thread answers what was told last, and then what its daemon knows', async (t) => {
  const left = await answeredBefore(t)
  const { port } = left.options
  const thread = early(left)
  t.teardown(() => thread.end())
  await answers(port, nameOf('web'), ['10.42.0.1'])
  t.same(await asked(port, nameOf('api')), [], 'what was taken out stays out')
  const prepared = prepareDns(left.deps, left.options, thread)
  t.same(await asked(port, nameOf('web')), ['10.42.0.1'], 'while nobody knows better')
  const dns: Dns = await prepared.start(snapshot(1, [shop]))
  t.equal(dns.stats().port, port)
  await answers(port, nameOf('api'), ['10.42.0.2'])
  t.same(await asked(port, nameOf('web')), [], 'nothing of what was is left')
  t.equal(dns.stats().restarts, 0, 'by the same thread')
  await prepared.close()
  t.equal(await asked(port, nameOf('api')), undefined)
})

test('a thread that answers with other options gives way to one with those of its daemon', async (t) => {
  const left = await answeredBefore(t)
  const thread = early(left)
  await answers(left.options.port, nameOf('web'), ['10.42.0.1'])
  const options: DnsOptions = { ...left.options, domain: 'shop.example' }
  const environment = snapshot(3)
  const settings = { ...environment.settings, domain: 'shop.example' }
  const prepared = prepareDns(left.deps, options, thread)
  await prepared.start({ ...environment, settings })
  await thread.exited
  t.same(await asked(options.port, 'web.shop.shop.example'), ['10.42.0.1'])
  await prepared.close()
})

test('a thread that could not listen is tried again by its daemon', async (t) => {
  const left = await answeredBefore(t)
  const { port } = left.options
  const other = createSocket('udp4')
  await new Promise<void>((resolve) => other.bind(port, '127.0.0.1', resolve))
  const thread = early(left)
  const prepared = prepareDns(left.deps, left.options, thread)
  await thread.exited
  await new Promise<void>((resolve) => other.close(() => resolve()))
  await prepared.start(snapshot(3))
  t.same(await asked(port, nameOf('web')), ['10.42.0.1'])
  await prepared.close()
})

test('a thread that has not begun yet is taken', async (t) => {
  const left = await answeredBefore(t)
  const thread = new DnsThread()
  const prepared = prepareDns(left.deps, left.options, thread)
  await prepared.start(snapshot(3))
  t.same(await asked(left.options.port, nameOf('web')), ['10.42.0.1'])
  await prepared.close()
  await thread.exited
})
