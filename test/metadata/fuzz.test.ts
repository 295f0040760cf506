/**
 * Any request over a real socket gets an answer of the contract: paths, headers, methods and noise, the same ones for
 * the same seed (DROVER_TEST_SEED). Never 5xx, never a connection that ends without a word, never a stack.
 * DROVER_FUZZ_ROUNDS=100000 is the whole run, about half a minute.
 */
import { connect, type Socket } from 'node:net'
import { test } from 'tap'
import { startMetadata } from '../../metadata/thread.ts'
import { MemoryLog, MemoryMeter, SeededRandom } from '../support/ports.ts'
import { containerRecordOf, environmentOf, ip } from '../support/snapshots.ts'

const seed = Number(process.env.DROVER_TEST_SEED ?? 16)
const rounds = Number(process.env.DROVER_FUZZ_ROUNDS ?? 20_000)
const lanes = 20
const patience = 60_000

const parts = [
  ...[
    '/',
    '//',
    '.',
    '..',
    '%',
    '%2F',
    '%2f',
    '%zz',
    '%00',
    '%ff',
    '%e2%82%ac',
    '+',
    '?',
    '&',
    '=',
    '#',
    ';',
    ':',
  ],
  ...[
    '/latest',
    '/2015-07-25',
    '/2016-07-29',
    '/self',
    '/SELF',
    '/containers',
    '/services',
    '/stacks',
    '/hosts',
  ],
  ...['/web', '/shop', '/0', '/-1', '/1e3', '/name', '/labels', '/version', '/favicon.ico', '/prometheus/sd'],
  ...[
    'wait=true',
    'value=',
    'maxWait=0',
    'maxWait=-1',
    'maxWait=x',
    'value=%',
    'http://a',
    'http://a/latest',
  ],
  ...[
    '__proto__',
    'constructor',
    'toString',
    '\u00e9',
    '\x7f',
    '\xff',
    ' ',
    '"',
    '<',
    '9'.repeat(40),
    'x'.repeat(300),
  ],
] as const
const methods = [
  'GET',
  'GET',
  'GET',
  'GET',
  'HEAD',
  'POST',
  'OPTIONS',
  'DELETE',
  'TRACE',
  'PROPFIND',
  'CONNECT',
  'get',
  'G\x01',
]
const names = [
  ...[
    'Accept',
    'accept',
    'Accept-Encoding',
    'If-None-Match',
    'X-Forwarded-For',
    'Connection',
    'User-Agent',
    'Range',
  ],
  ...['Expect', 'Upgrade', 'Cookie', 'TE', 'Origin', 'If-Modified-Since', 'X y', '', 'Host', 'Content-Type'],
]
const values = [
  ...[
    'application/json',
    'text/*;q=0.5, application/yaml',
    '*/*',
    'a;q=x,,;',
    'gzip',
    'gzip;q=0, *',
    '*',
    'W/"x", "y"',
  ],
  ...[
    '127.0.0.11',
    'close',
    'keep-alive',
    '100-continue',
    'websocket',
    'x'.repeat(4000),
    '\x00',
    '\xe9',
    '',
    '\t',
    '"',
  ],
  ...['bytes=0-1', '__proto__', 'a\r\n b', 'h2c, \x7f'],
]
const versions = ['HTTP/1.1', 'HTTP/1.1', 'HTTP/1.1', 'HTTP/1.1', 'HTTP/1.0', 'HTTP/2.0', 'HTTP/9', '']

const tame = {
  parts: parts.filter((part) => /^(\/[A-Za-z0-9-]+|[?&=+]|%2F|[a-zA-Z]+=[a-z0-9-]*)$/.test(part)),
  names: names.filter((name) => /^[A-Z]/.test(name) && !/ |Expect|Host/.test(name)),
  values: values.filter((value) => /^[ -~]+$/.test(value) && value.length < 100),
}

/** A request that is over when it is sent: nothing has to wait for more of it. Every other one is wild. */
function requestOf(random: SeededRandom): string {
  const pick = (from: readonly string[]): string => from[random.below(from.length)] ?? ''
  if (random.below(2) === 0) {
    const target = Array.from({ length: random.below(5) }, () => pick(tame.parts)).join('')
    const headers = Array.from(
      { length: random.below(4) },
      () => `${pick(tame.names)}: ${pick(tame.values)}\r\n`,
    )
    return `${pick(['GET', 'GET', 'HEAD'])} /${target.replace(/^\//, '')} HTTP/1.1\r\nHost: a\r\n${headers.join('')}\r\n`
  }
  const method = pick(methods)
  const target = `${random.below(30) === 0 ? '' : '/'}${Array.from({ length: random.below(6) }, () => pick(parts)).join('')}`
  const lines = random.below(20) === 0 ? [] : ['Host: rancher-metadata']
  for (let left = random.below(4); left > 0; left--) lines.push(`${pick(names)}: ${pick(values)}`)
  const body = random.below(8)
  if (body === 0) lines.push('Content-Length: 5', '', 'hello')
  else if (body === 1) lines.push('Transfer-Encoding: chunked', '', '3\r\nabc\r\n0\r\n\r\n')
  else if (body === 2 && random.below(20) === 0) lines.push('Content-Length: x', '', '')
  else lines.push('', '')
  return `${method} ${target} ${pick(versions)}\r\n${lines.join('\r\n')}`
}

interface Reply {
  readonly status: number
  readonly head: string
  readonly body: string
}

/** The first final answer in what came, or undefined while it is not whole. */
function replyIn(text: string, isHead: boolean): Reply | undefined {
  const end = text.indexOf('\r\n\r\n')
  if (end < 0) return undefined
  const head = text.slice(0, end)
  const status = Number(/^HTTP\/1\.1 (\d{3}) /.exec(head)?.[1])
  const rest = text.slice(end + 4)
  if (status < 200) return replyIn(rest, isHead)
  const length = isHead || status === 304 ? 0 : Number(/\r\ncontent-length: (\d+)/i.exec(head)?.[1] ?? 0)
  return rest.length < length ? undefined : { status, head, body: rest.slice(0, length) }
}

const documented = [
  /^Not found(: more than one container has this address)?\n$/,
  /^Invalid version\n$/,
  /^\{"code":404,"message":"(Not found|Invalid version)","type":"error"\}\n$/,
  /^code: 404\nmessage: (Not found|Invalid version)\ntype: error\n\n$/,
  /^404 page not found\n$/,
  /^400 Bad Request(: missing required Host header)?$/,
  /^417 Expectation Failed$/,
  /^431 Request Header Fields Too Large$/,
]

/** What is wrong with an answer; undefined when nothing is. */
function complaint({ status, head, body }: Reply, isHead: boolean): string | undefined {
  if (![200, 301, 304, 400, 404, 417, 431].includes(status)) return `status ${status}`
  if (/node:|\.ts:\d|\n {4}at /.test(head + body)) return 'a stack'
  if (status >= 400 && !isHead && !documented.some((text) => text.test(body))) return `body ${body}`
  if (status === 301 && !/\r\nLocation: \//.test(head)) return 'no location'
  return undefined
}

class Client {
  readonly #port: number
  #socket: Socket | undefined

  constructor(port: number) {
    this.#port = port
  }

  /** One exchange; what is wrong with it. */
  async exchange(request: string, seen: Map<number, number>): Promise<string | undefined> {
    const isHead = request.startsWith('HEAD ')
    const socket = this.#socket ?? connect(this.#port, '127.0.0.1')
    this.#socket = socket
    const reply = await this.#reply(socket, request, isHead)
    if (typeof reply === 'string') return reply
    const isLast = /\r\nConnection: close/i.test(reply.head) || !request.includes(' HTTP/1.1\r\n')
    if (isLast) this.close()
    seen.set(reply.status, (seen.get(reply.status) ?? 0) + 1)
    return complaint(reply, isHead)
  }

  close(): void {
    this.#socket?.destroy()
    this.#socket = undefined
  }

  #reply(socket: Socket, request: string, isHead: boolean): Promise<Reply | string> {
    return new Promise((resolve) => {
      let text = ''
      const done = (reply: Reply | string): void => {
        clearTimeout(timer)
        socket.removeAllListeners().on('error', () => undefined)
        if (typeof reply === 'string') this.close()
        resolve(reply)
      }
      const timer = setTimeout(() => done('no answer'), patience)
      socket.on('data', (chunk: Buffer) => {
        text += chunk.toString('latin1')
        const reply = replyIn(text, isHead)
        if (reply !== undefined) done(reply)
      })
      socket.on('close', () => done(`closed after ${JSON.stringify(text)}`))
      socket.on('error', () => undefined)
      socket.write(request, 'latin1')
    })
  }
}

test(`${rounds} requests of seed ${seed}`, { timeout: 600_000 }, async (t) => {
  const containers = [
    containerRecordOf(1, { stack: 'shop', service: 'web', name: 'web-1', address: ip('127.0.0.1') }),
    containerRecordOf(2, { stack: 'shop', service: 'web', name: 'web-2', index: 2 }),
  ]
  const log = new MemoryLog()
  const metadata = await startMetadata(
    { log, meter: new MemoryMeter() },
    { address: '127.0.0.1', port: 0, connections: 256, trustedProxies: [], scope: 'environment' },
  )
  t.teardown(() => metadata.close())
  metadata.apply(environmentOf({ containers }))
  await metadata.stats()
  const random = new SeededRandom(seed)
  const wrong: string[] = []
  const seen = new Map<number, number>()
  let left = rounds
  const work = async (): Promise<void> => {
    const client = new Client(metadata.port)
    while (left > 0 && wrong.length < 10) {
      left -= 1
      const request = requestOf(random)
      const why = await client.exchange(request, seen)
      if (why !== undefined) wrong.push(`${why} to ${JSON.stringify(request)}`)
    }
    client.close()
  }
  await Promise.all(Array.from({ length: lanes }, work))
  t.strictSame(wrong, [])
  for (const status of [200, 301, 400, 404, 417]) t.ok(seen.has(status), `${seen.get(status)} × ${status}`)
  t.strictSame(log.lines, [], 'and nothing to log')
  t.match(await metadata.stats(), { revision: 1 }, 'by the thread that was there in the beginning')
})
