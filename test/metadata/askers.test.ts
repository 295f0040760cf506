/**
 * Who is answered what: proxies that are trusted, containers that see their own stack only, shares of one client, and
 * requests that come in pieces or many at once. Addresses of 127.0.0.0/8 stand for containers; curl is the client.
 */
import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { connect } from 'node:net'
import { promisify } from 'node:util'
import { gunzipSync } from 'node:zlib'
import { type Test, test } from 'tap'
import { Proxies } from '../../metadata/forwarded.ts'
import type { WorkerOptions } from '../../metadata/messages.ts'
import { Shares } from '../../metadata/shares.ts'
import { SimpleRequests } from '../../metadata/simple.ts'
import { startMetadata } from '../../metadata/thread.ts'
import { Turnstile } from '../../metadata/turnstile.ts'
import { parseCidr } from '../../model/ip.ts'
import { MemoryLog, MemoryMeter } from '../support/ports.ts'
import { containerRecordOf, environmentOf, hostIdOf, ip } from '../support/snapshots.ts'

const run = promisify(execFile)
const [shop, blog] = [
  { stack: 'shop', service: 'web' },
  { stack: 'blog', service: 'db' },
]
const many = Array.from({ length: 300 }, (_, n) =>
  containerRecordOf(n + 100, { ...blog, name: `db-${n}`, index: n, address: null }),
)
const environment = environmentOf({
  containers: [
    containerRecordOf(1, { ...shop, name: 'web-1', address: ip('127.0.0.11') }),
    containerRecordOf(2, { ...shop, name: 'web-2', index: 2, address: ip('127.0.0.12'), host: hostIdOf(2) }),
    containerRecordOf(3, { name: 'alone', address: ip('127.0.0.13') }),
    ...many,
  ],
})

async function start(t: Test, options: Partial<WorkerOptions> = {}) {
  const metadata = await startMetadata(
    { log: new MemoryLog(), meter: new MemoryMeter() },
    { address: '127.0.0.1', port: 0, connections: 256, trustedProxies: [], scope: 'environment', ...options },
  )
  t.teardown(() => metadata.close())
  metadata.apply(environment)
  await metadata.stats()
  const curl = async (path: string, from: string, ...args: string[]): Promise<Buffer> => {
    const url = `http://127.0.0.1:${metadata.port}${path}`
    const argv = ['-sS', '--max-time', '20', '--interface', from, ...args, url]
    return (await run('curl', argv, { encoding: 'buffer', maxBuffer: 1e8 })).stdout
  }
  const text = async (path: string, from: string, ...args: string[]) =>
    String(await curl(path, from, ...args))
  return { metadata, curl, text }
}

test('X-Forwarded-For of a trusted proxy', async (t) => {
  const cidr = parseCidr('127.0.0.50/32')
  const { text } = await start(t, { trustedProxies: cidr === undefined ? [] : [cidr] })
  const name = (from: string, header: string): Promise<string> =>
    text('/latest/self/container/name', from, '-H', `X-Forwarded-For: ${header}`)
  t.equal(await name('127.0.0.50', '127.0.0.11'), 'web-1')
  t.equal(await name('127.0.0.50', '127.0.0.12'), 'web-2', 'a container of another host as well')
  t.equal(
    await name('127.0.0.50', '127.0.0.11, 127.0.0.12'),
    'web-2',
    'what the client wrote itself does not count',
  )
  t.equal(await name('127.0.0.50', '127.0.0.12, 127.0.0.50'), 'web-2', 'proxies behind each other')
  t.equal(await name('127.0.0.11', '127.0.0.12'), 'web-1', 'others are not believed')
  t.equal(await name('127.0.0.50', 'rubbish'), 'Not found\n')
  t.equal(await text('/latest/self/container/name', '127.0.0.50'), 'Not found\n')
})

test('which address a request belongs to', async (t) => {
  const cidrs = ['10.0.0.0/8'].flatMap((text) => parseCidr(text) ?? [])
  const proxies = new Proxies({ trusted: cidrs })
  const of = (peer: string, header?: string): string => {
    const { address, forwarded } = proxies.clientOf(peer, header)
    return `${address}${forwarded ? ' forwarded' : ''}`
  }
  t.equal(of('10.1.1.1'), '10.1.1.1')
  t.equal(of('::ffff:10.1.1.1', '192.0.2.1 ,192.0.2.2,10.2.2.2'), '192.0.2.2 forwarded')
  t.equal(of('10.1.1.1', '10.3.3.3,10.2.2.2'), '10.3.3.3 forwarded')
  t.equal(of('192.0.2.9', '192.0.2.1'), '192.0.2.9')
  t.equal(of('10.1.1.1', ''), ' forwarded')
})

test('containers that see their own stack only', async (t) => {
  const { text } = await start(t, { scope: 'stack' })
  t.equal(await text('/latest/containers', '127.0.0.11'), '0=web-1\n1=web-2\n')
  t.equal(await text('/latest/stacks', '127.0.0.11'), '0=shop\n')
  t.equal(await text('/latest/services', '127.0.0.13'), '')
  t.equal(await text('/latest/containers', '127.0.0.13'), '0=alone\n')
  t.equal(await text('/latest/self/stack/services', '127.0.0.11'), '0=web\n')
  t.equal(await text('/latest/stacks', '127.0.0.1'), '0=blog\n1=shop\n', 'the host sees everything')
  const versions = ['127.0.0.11', '127.0.0.13', '127.0.0.1'].map((from) => text('/latest/version', from))
  t.equal(new Set(await Promise.all(versions)).size, 3)
})

test('large JSON is the same whole, zipped and in pieces', async (t) => {
  const { curl, metadata } = await start(t)
  const json = ['-H', 'Accept: application/json']
  for (const path of [
    '/latest',
    '/2015-07-25',
    '/2015-12-19/stacks',
    '/latest/containers',
    '/latest/services',
  ]) {
    const plain = await curl(path, '127.0.0.11', ...json)
    const zipped = await curl(path, '127.0.0.11', ...json, '-H', 'Accept-Encoding: gzip')
    t.ok(gunzipSync(zipped).equals(plain), `${path}: ${zipped.length} of ${plain.length} bytes`)
    t.ok(zipped.length < plain.length)
    JSON.parse(String(plain))
  }
  metadata.apply({
    ...environment,
    revision: 2,
    containers: new Map([...environment.containers].slice(0, 50)),
  })
  const { containers } = JSON.parse(String(await curl('/latest', '127.0.0.11', ...json))) as {
    containers: unknown[]
  }
  t.equal(containers.length, 50)
  t.strictSame(containers, JSON.parse(String(await curl('/latest/containers', '127.0.0.11', ...json))))
})

test('requests in pieces and many at once', async (t) => {
  const { metadata } = await start(t)
  const simple = 'GET /latest/self/host/name HTTP/1.1\r\nHost: a\r\n\r\n'
  const last = simple.replace('\r\n\r\n', '\r\nConnection: close\r\n\r\n')
  const exchanged = async (pieces: readonly string[]): Promise<number> => {
    const socket = connect(metadata.port, '127.0.0.1').setNoDelay()
    let text = ''
    socket.on('data', (chunk) => {
      text += String(chunk)
    })
    for (const piece of pieces) await new Promise((resolve) => socket.write(piece, resolve))
    await once(socket, 'close')
    return text.split('\r\n\r\nhost1').length - 1
  }
  t.equal(await exchanged([last]), 1)
  t.equal(await exchanged([simple, simple, last]), 3)
  t.equal(await exchanged([...last]), 1, 'byte by byte')
  t.equal(await exchanged([simple + simple.slice(0, 9), simple.slice(9), last]), 3)
  t.equal(await exchanged([simple.repeat(2000), last]), 2001, 'a whole row without waiting')
})

test('a client has its share of connections and of polls', async (t) => {
  const { metadata, text } = await start(t, { connections: 3 })
  const version = await text('/latest/version', '127.0.0.11')
  const sockets = Array.from({ length: 3 }, () =>
    connect({ port: metadata.port, host: '127.0.0.1', localAddress: '127.0.0.11' }),
  )
  await Promise.all(sockets.map((socket) => once(socket, 'connect')))
  t.equal(await text('/latest/version', '127.0.0.11'), 'Too many connections\n')
  t.equal(await text('/latest/version', '127.0.0.13'), version, 'others have theirs')
  const [first] = sockets
  const poll = `GET /latest/version?wait=true&value=${version} HTTP/1.1\r\nHost: a\r\n\r\n`
  first?.write(poll.repeat(4))
  for (const end = Date.now() + 20_000; (await metadata.stats())?.limited.polls !== 1; )
    if (Date.now() > end) throw new RangeError('the fourth poll was never refused')
  t.match(await metadata.stats(), { waiting: 3, limited: { connections: 1, polls: 1 } })
  for (const socket of sockets) socket.destroy()
})

test('shares and turns', async (t) => {
  const shares = new Shares({ most: 2 })
  t.strictSame(
    [shares.take('a'), shares.take('a'), shares.take('a'), shares.take('b')],
    [true, true, false, true],
  )
  shares.give('a')
  t.ok(shares.take('a'))
  const turnstile = new Turnstile({ width: 1 })
  const went: string[] = []
  const leaves: (() => void)[] = []
  for (const [client, what] of ['aa', 'ab', 'ba', 'ac'])
    turnstile.enter(client ?? '', (leave) => {
      went.push(`${client}${what}`)
      leaves.push(leave)
    })
  t.strictSame(went, ['aa', 'ba'])
  while (leaves.length > 0) leaves.shift()?.()
  t.strictSame(went, ['aa', 'ba', 'ab', 'ac'])
  t.equal(turnstile.size, 0)
})

test('what is a simple request', async (t) => {
  const requests = new SimpleRequests()
  const read = (...lines: string[]) => requests.read(`${[...lines, '', ''].join('\r\n')}`)
  t.strictSame(read('GET /x?y HTTP/1.1', 'Host: a'), { target: '/x?y', accept: undefined })
  t.strictSame(read('GET / HTTP/1.1', 'host:a', 'ACCEPT: */*', 'Connection: Keep-Alive'), {
    target: '/',
    accept: '*/*',
  })
  const others = [
    ['GET / HTTP/1.1'],
    ['GET / HTTP/1.0', 'Host: a'],
    ['HEAD / HTTP/1.1', 'Host: a'],
    ['GET / x HTTP/1.1', 'Host: a'],
    ['GET x HTTP/1.1', 'Host: a'],
    ['GET / HTTP/1.1', 'Host: a', 'Host: a'],
    ['GET / HTTP/1.1', 'Host: a', 'Connection: close'],
    ['GET / HTTP/1.1', 'Host: a', 'Content-Length: 3'],
    ['GET / HTTP/1.1', 'Host: a', 'Transfer-Encoding: chunked'],
    ['GET / HTTP/1.1', 'Host: a', 'If-None-Match: *'],
    ['GET / HTTP/1.1', 'Host: a', 'X-Forwarded-For: b'],
    ['GET / HTTP/1.1', 'Host: a', ' folded'],
    ['GET / HTTP/1.1', 'Host : a'],
    ['GET / HTTP/1.1', 'Host: a\nAccept: b'],
    ['GET / HTTP/1.1', 'Host: a', '', 'GET / HTTP/1.1', 'Host: a'],
  ]
  for (const lines of others) t.equal(read(...lines), undefined, lines.join(' '))
  t.equal(requests.read('GET / HTTP/1.1\r\nHost: a\r\n'), undefined, 'not all of it')
})
