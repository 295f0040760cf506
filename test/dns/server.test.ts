/**
 * The real thing on loopback: worker, sockets, dig as a client, an upstream beside it.
 */
import { execFile, execFileSync } from 'node:child_process'
import { createSocket } from 'node:dgram'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { type Test, test } from 'tap'
import { type Dns, prepareDns, startDns } from '../../dns/dns.ts'
import { followHostUpstreams } from '../../dns/forwarding/host-upstreams.ts'
import type { Upstream } from '../../dns/forwarding/upstreams.ts'
import type { DnsOptions } from '../../dns/options.ts'
import type { EngineNetwork } from '../../model/engine.ts'
import type { Environment } from '../../model/environment.ts'
import { seconds } from '../../model/time.ts'
import { made, question, readAnswer, stubUpstream } from '../support/dns-messages.ts'
import { freePort } from '../support/free-port.ts'
import { FakeClock, MemoryLog, MemoryMeter } from '../support/ports.ts'
import { realClock } from '../support/real-clock.ts'
import { containerIdOf, containerRecordOf, environmentOf, ip } from '../support/snapshots.ts'

const run = promisify(execFile)

const web = (n: number) =>
  containerRecordOf(n, {
    stack: 'shop',
    service: 'web',
    name: `shop-web-${n}`,
    address: ip(`10.42.0.${n}`),
    index: n,
  })

async function until(what: string, holds: () => boolean): Promise<void> {
  const deadline = performance.now() + 15_000
  while (!holds()) {
    if (performance.now() > deadline) throw new TypeError(`still waiting: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}

async function started(t: Test, over: Partial<DnsOptions> = {}, environment?: Environment) {
  const upstream = await stubUpstream(({ name, transport }, asked) => {
    if (name.startsWith('big') && transport === 'udp') return made(asked, { truncated: true })
    const count = name.startsWith('big') ? 120 : 1
    return made(asked, { addresses: Array.from({ length: count }, (_, at) => `192.0.2.${at + 1}`) })
  })
  t.teardown(() => upstream.close())
  const log = new MemoryLog()
  const meter = new MemoryMeter()
  const dns = await startDns(
    { clock: realClock, log, meter },
    {
      address: '127.0.0.1',
      port: 0,
      upstreams: [`127.0.0.1:${upstream.port}`],
      resolvConf: '/nonexistent',
      domain: 'rancher.internal',
      search: 'safe',
      ...over,
    },
    environment,
  )
  t.teardown(() => dns.close())
  return { dns, upstream, log, meter }
}

test('the first answer of all has the names at hand', async (t) => {
  const port = await freePort()
  const socket = createSocket('udp4')
  const heard: (readonly string[])[] = []
  socket.on('message', (bytes) => heard.push(readAnswer(bytes).answers))
  socket.on('error', () => {})
  const asked = question('3.web.shop.rancher.internal', 'A')
  const asking = setInterval(() => socket.send(asked, port, '127.0.0.1', () => {}), 1)
  t.teardown(() => {
    clearInterval(asking)
    socket.close()
  })
  await started(t, { port }, environmentOf({ revision: 1, containers: containersOf(5000) }))
  await until('answers', () => heard.length > 0)
  t.match(heard[0], [/ 10\.42\.0\.3$/])
})

/** The first is also known by an address of loopback, as one is by its engine's address. */
const containersOf = (count: number) =>
  Array.from({ length: count }, (_, at) => ({
    ...web(at + 1),
    engineAddresses: at === 0 ? ['127.0.0.77'] : [],
  }))

async function applied(dns: Dns, containers: number, revision: number): Promise<void> {
  dns.apply(environmentOf({ revision, containers: containersOf(containers) }))
  await until(`revision ${revision}`, () => dns.stats().revision === revision)
}

const digArgs = (dns: Dns, ...args: string[]): string[] => [
  ...['@127.0.0.1', '-p', String(dns.stats().port), '+time=5', '+tries=1'],
  ...args,
]

const dig = async (dns: Dns, ...args: string[]): Promise<string> =>
  (await run('dig', digArgs(dns, ...args))).stdout

test('a thread that is prepared listens when it is started, and ends without', async (t) => {
  const port = await freePort()
  const deps = { clock: realClock, log: new MemoryLog(), meter: new MemoryMeter() }
  const options = { address: '127.0.0.1', port, upstreams: [], resolvConf: '/nonexistent' }
  const prepared = prepareDns(deps, { ...options, domain: 'rancher.internal', search: 'safe' })
  const other = createSocket('udp4')
  await new Promise<void>((resolve) => other.bind(port, '127.0.0.1', resolve))
  await t.rejects(prepared.start(), { code: 'DNS_ADDRESS' }, 'not before: the port was taken meanwhile')
  other.close()
  const unused = prepareDns(deps, { ...options, domain: 'rancher.internal', search: 'safe' })
  await unused.close()
  const used = prepareDns(deps, { ...options, domain: 'rancher.internal', search: 'safe' })
  const dns = await used.start()
  t.equal(dns.stats().port, port)
  await used.close()
})

test('dig', async (t) => {
  const { dns, upstream, meter } = await started(t)
  await applied(dns, 2, 1)
  const short = await dig(dns, '+short', 'web.shop.rancher.internal')
  t.strictSame(short.trim().split('\n').sort(), ['10.42.0.1', '10.42.0.2'])
  t.match(
    await dig(dns, '+tcp', 'WEB.shop.Rancher.internal'),
    /status: NOERROR[\s\S]*flags: qr aa rd ra;[\s\S]*10\.42\.0\.1/,
  )
  t.match(await dig(dns, 'web.shop.rancher.internal', 'AAAA'), /status: NOERROR[\s\S]*AUTHORITY: 1[\s\S]*SOA/)
  t.match(await dig(dns, 'shop.rancher.internal'), /status: NOERROR/)
  t.match(await dig(dns, 'nosuch.rancher.internal'), /status: NXDOMAIN/)
  t.match(await dig(dns, '-x', '10.42.0.2'), /PTR\s+shop-web-2\.rancher\.internal\./)
  t.match(await dig(dns, '+edns=1', '+noednsneg', 'web.shop.rancher.internal'), /status: BADVERS/)
  t.match(await dig(dns, 'web.shop.rancher.internal'), /COOKIE: [0-9a-f]{48} \(good\)/)
  t.match(await dig(dns, 'www.example.com'), /COOKIE: [0-9a-f]{48} \(good\)/)
  t.match(await dig(dns, '+ednsopt=10:010203', '+nocookie', 'web.shop.rancher.internal'), /status: FORMERR/)
  t.match(
    await dig(dns, '+ednsopt=65001:0102', 'web.shop.rancher.internal'),
    /status: NOERROR/,
    'unknown option',
  )
  t.match(await dig(dns, 'CH', 'TXT', 'version.bind'), /status: NOTIMP/)
  t.match(await dig(dns, '+short', 'www.example.com'), /192\.0\.2\.1/)
  t.match(
    await dig(dns, 'big.example.com'),
    /ANSWER: 120/,
    'cut upstream: over TCP, and then dig over TCP too',
  )
  t.ok(upstream.asked.includes('tcp big.example.com A'))
  t.match(await dig(dns, '+noall', '+stats', 'web.shop.rancher.internal'), /Query time/)
  await applied(dns, 1, 2)
  t.equal(
    (await dig(dns, '+short', 'web.shop.rancher.internal')).trim(),
    '10.42.0.1',
    'gone with the snapshot',
  )
  t.match(await dns.explain('web.shop.rancher.internal', 'shop-web-1'), {
    found: 'web.shop.rancher.internal',
    answer: ['A 10.42.0.1'],
    containers: [{ name: 'shop-web-1', given: true }],
  })
  const outside = await dns.explain('www.example.com', undefined)
  t.match(outside, { found: null, answer: [/^A 192\.0\.2\.1$/] })
  t.match(outside.rule, new RegExp(`are asked: 127\\.0\\.0\\.1:${upstream.port} \\(\\d+ ms\\)$`))
  await t.rejects(dns.explain('web', 'nobody'), { code: 'USAGE' })
  await until('a report', () => (meter.values.get('drover_dns_questions_total{"result":"local"}') ?? 0) >= 6)
  t.match(dns.stats(), {
    up: true,
    restarts: 0,
    names: Number,
    upstreams: [{ address: '127.0.0.1', up: true }],
  })
})

test('no last resort, where that is wished', async (t) => {
  const ailing = environmentOf({ revision: 1, containers: [{ ...web(1), health: 'unhealthy' }] })
  const { dns } = await started(t, { lastResort: 'none' }, ailing)
  t.match(await dig(dns, 'web.shop.rancher.internal'), /status: NOERROR[\s\S]*ANSWER: 0, AUTHORITY: 1/)
  t.match(await dns.explain('web.shop.rancher.internal', undefined), {
    answer: [/^NODATA/],
    containers: [{ given: false, why: 'it is unhealthy' }],
  })
})

test('upstreams beside each other, with real sockets', async (t) => {
  const silent = await stubUpstream(() => undefined)
  const slow = await stubUpstream((_, asked) => made(asked, { addresses: ['192.0.2.200'] }))
  const closed = await stubUpstream(() => undefined)
  await closed.close()
  t.teardown(() => Promise.all([silent.close(), slow.close()]))
  const { dns } = await started(t, {
    upstreams: [closed, silent, slow].map(({ port }) => `127.0.0.1:${port}`),
  })
  await applied(dns, 1, 1)
  const names = Array.from({ length: 30 }, (_, n) => `n${n}.example.com`)
  const answers = await dig(dns, '+short', ...names)
  t.equal(answers.trim().split('\n').length, names.length, 'all are answered by the one that lives')
  await until('the others to be known', () => dns.stats().upstreams.filter(({ up }) => up).length === 1)
  t.match(await dig(dns, '+short', 'late.example.com'), /192\.0\.2\.200/)
  t.equal(dns.stats().restarts, 0)
})

test('a busy daemon delays nobody', async (t) => {
  const { dns } = await started(t)
  await applied(dns, 2, 1)
  // Nothing of this thread runs until dig has its answer.
  const said = execFileSync('dig', digArgs(dns, '+short', 'web.shop.rancher.internal'), { encoding: 'utf8' })
  t.strictSame(said.trim().split('\n').sort(), ['10.42.0.1', '10.42.0.2'])
})

test('a burst', async (t) => {
  const { dns } = await started(t)
  await applied(dns, 2, 1)
  const { port } = dns.stats()
  const ids = new Set<number>()
  // More than the thread takes in one turn, from several sockets: none has room for all answers.
  const [clients, each] = [10, 120]
  for (let client = 0; client < clients; client++) {
    const socket = createSocket('udp4')
    t.teardown(() => socket.close())
    socket.on('message', (bytes) => ids.add(bytes.readUInt16BE(0)))
    for (let n = 0; n < each; n++) {
      const bytes = question('web.shop.rancher.internal', 'A', { id: client * each + n })
      socket.send(bytes, port, '127.0.0.1')
    }
  }
  await until('every answer', () => ids.size === clients * each)
  t.equal(ids.size, clients * each)
})

test('many questions in one TCP connection', async (t) => {
  const { dns } = await started(t)
  await applied(dns, 2, 1)
  const framed = (bytes: Buffer): Buffer =>
    Buffer.concat([Buffer.of(bytes.length >>> 8, bytes.length & 255), bytes])
  const count = 500
  const stream = Array.from({ length: count }, (_, id) =>
    framed(question(id % 10 === 0 ? `n${id}.example.com` : 'web.shop.rancher.internal', 'A', { id })),
  )
  const socket = connect(dns.stats().port, '127.0.0.1')
  t.teardown(() => socket.destroy())
  socket.end(Buffer.concat(stream))
  let received = Buffer.alloc(0)
  const ids = new Set<number>()
  for await (const chunk of socket) {
    received = Buffer.concat([received, chunk as Buffer])
    while (received.length >= 2 && received.length >= 2 + received.readUInt16BE(0)) {
      const end = 2 + received.readUInt16BE(0)
      const answer = readAnswer(received.subarray(2, end))
      if (answer.answers.length > 0) ids.add(answer.id)
      received = received.subarray(end)
    }
  }
  t.equal(ids.size, count, 'every one is answered, then the connection ends')
  const greedy = Array.from({ length: 80 }, () =>
    connect(dns.stats().port, '127.0.0.1').on('error', () => {}),
  )
  t.teardown(() => {
    for (const one of greedy) one.destroy()
  })
  await until('the limit', () => greedy.filter(({ closed }) => closed).length >= 16)
  t.match(await dig(dns, '+short', 'web.shop.rancher.internal'), /10\.42/, 'UDP goes on')
})

test('whoever takes all TCP connections gives one up for each newcomer', async (t) => {
  const { dns } = await started(t)
  await applied(dns, 2, 1)
  const from = (localAddress: string) =>
    connect({ port: dns.stats().port, host: '127.0.0.1', localAddress }).on('error', () => {})
  const greedy = Array.from({ length: 16 * 64 }, (_, at) => from(`127.0.0.${2 + (at % 16)}`))
  t.teardown(() => {
    for (const one of greedy) one.destroy()
  })
  await until('all of them', () => greedy.every(({ connecting }) => !connecting))
  for (let round = 1; round <= 3; round++)
    t.match(await dig(dns, '+tcp', '+short', 'web.shop.rancher.internal'), /10\.42/, `newcomer ${round}`)
  await until('those that had to go', () => greedy.filter(({ closed }) => closed).length >= 3)
})

test('garbage on both transports', async (t) => {
  const { dns } = await started(t)
  await applied(dns, 2, 1)
  const { port } = dns.stats()
  const socket = createSocket('udp4')
  for (let n = 0; n < 2000; n++) {
    const bytes = n % 2 === 0 ? Buffer.alloc(n % 100, n) : question('web.shop', 'A').subarray(0, n % 30)
    await new Promise((resolve) => socket.send(bytes, port, '127.0.0.1', resolve))
  }
  socket.close()
  for (const bytes of [Buffer.alloc(70_000, 0xff), Buffer.of(0, 0, 0, 0), Buffer.of(0, 5, 1)]) {
    const stream = connect(port, '127.0.0.1').on('error', () => {})
    stream.end(bytes)
    stream.resume()
    await until('the end', () => stream.closed)
  }
  t.match(await dig(dns, '+short', 'web.shop.rancher.internal'), /10\.42/)
  t.equal(dns.stats().restarts, 0)
})

test('a thread that dies is started again with what it knew', async (t) => {
  const { dns, log } = await started(t)
  await applied(dns, 2, 5)
  const { port } = dns.stats()
  const network: EngineNetwork = {
    id: 'n',
    name: 'n',
    subnets: [],
    endpoints: [{ container: containerIdOf(9), address: '127.0.0.1', names: ['db-7'] }],
  }
  // What no caller of sound mind sends: the thread stumbles over it.
  dns.applyNetworks([{ ...network, name: 5 as unknown as string }])
  dns.applyNetworks([network])
  await until('the end of it', () => dns.stats().restarts > 0)
  await until('the new one', () => dns.stats().up && dns.stats().revision === 5)
  t.equal(dns.stats().port, port)
  t.equal((await dig(dns, '+short', 'web.shop.rancher.internal')).trim().split('\n').length, 2)
  t.match(await dig(dns, '+short', 'db-7'), /127\.0\.0\.1/, 'networks too')
  t.ok(log.lines.some(({ message }) => message === 'the DNS thread ended and is started again'))
})

test('an address that the machine does not have', async (t) => {
  await t.rejects(started(t, { address: '203.0.113.1' }), {
    code: 'DNS_ADDRESS',
    message: /^DNS cannot listen on its address: 203\.0\.113\.1 port 0: bind EADDRNOTAVAIL/,
  })
  await t.rejects(started(t, { address: 'nowhere' }), { code: 'DNS_ADDRESS' })
  const { dns } = await started(t)
  await t.rejects(started(t, { port: dns.stats().port }), { code: 'DNS_ADDRESS' }, 'a port that is taken')
})

test('the host’s resolv.conf is followed', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'drover-dns-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  const resolvConf = join(folder, 'resolv.conf')
  writeFileSync(resolvConf, 'nameserver 192.0.2.1\nnameserver 169.254.169.250\n')
  const clock = new FakeClock()
  const used: (readonly Upstream[])[] = []
  const following = await followHostUpstreams(
    { clock, use: (list) => used.push(list) },
    { upstreams: [], resolvConf, own: ['169.254.169.250'], port: 10053 },
  )
  t.strictSame(used, [[{ address: '192.0.2.1', port: 53 }]])
  writeFileSync(resolvConf, 'nameserver 192.0.2.2\n')
  await until('the second look', () => {
    clock.advance(seconds(5))
    return used.length > 1
  })
  t.strictSame(used[1], [{ address: '192.0.2.2', port: 53 }])
  following.close()
})
