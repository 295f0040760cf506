/**
 * A client of Rancher's metadata contract over a bare socket, written from its description alone: HTTP/1.1 by hand,
 * the text form walked from listing to listing as shell scripts did, changes by polling `version` as the Go client
 * did. Shares nothing with metadata/ or client/.
 */
import { once } from 'node:events'
import { connect } from 'node:net'

export interface Received {
  readonly status: number
  readonly headers: ReadonlyMap<string, string>
  readonly body: string
}

export class ContractClient {
  readonly #host: string
  readonly #port: number
  readonly #from: string

  /** `from` is the address to ask from. */
  constructor(host: string, port: number, from: string) {
    this.#host = host
    this.#port = port
    this.#from = from
  }

  /** One request on a connection of its own. */
  async ask(target: string, headers: readonly string[] = []): Promise<Received> {
    const socket = connect({ host: this.#host, port: this.#port, localAddress: this.#from })
    const chunks: Buffer[] = []
    socket.on('data', (chunk: Buffer) => chunks.push(chunk))
    const lines = [`GET ${target} HTTP/1.1`, 'Host: rancher-metadata', 'Connection: close', ...headers]
    socket.write(`${lines.join('\r\n')}\r\n\r\n`)
    await once(socket, 'close')
    return received(Buffer.concat(chunks))
  }

  async text(path: string): Promise<string> {
    const { status, body } = await this.ask(path)
    if (status !== 200) throw new TypeError(`${path}: ${status} ${body}`)
    return body
  }

  /** Every scalar below a path of listings: path → text. What is empty below a slash is an empty text. */
  async walk(path: string, found = new Map<string, string>()): Promise<ReadonlyMap<string, string>> {
    const listing = await this.text(path)
    if (listing === '') found.set(path, '')
    for (const line of listing.split('\n').slice(0, -1)) {
      const element = /^(\d+)(=.*|\/)?$/.exec(line)
      const branch = line.endsWith('/') || element?.[2]?.startsWith('=') === true
      const key = element?.[1] ?? line.replace(/\/$/, '')
      if (branch) await this.walk(`${path}/${key}`, found)
      else found.set(`${path}/${key}`, await this.text(`${path}/${key}`))
    }
    return found
  }

  /** The next version that is another one than `known`, which is `init` at first. */
  async nextVersion(known: string, maxWait: number): Promise<string> {
    for (;;) {
      const query = `wait=true&value=${encodeURIComponent(known)}&maxWait=${maxWait}`
      const { body } = await this.ask(`/latest/version?${query}`, ['Accept: application/json'])
      const version = JSON.parse(body) as string
      if (version !== known) return version
    }
  }
}

function received(bytes: Buffer): Received {
  const end = bytes.indexOf('\r\n\r\n')
  const [first = '', ...lines] = bytes.subarray(0, Math.max(end, 0)).toString().split('\r\n')
  const headers = new Map(
    lines.map((line): [string, string] => {
      const colon = line.indexOf(':')
      return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()]
    }),
  )
  const status = Number(/^HTTP\/1\.1 (\d{3}) /.exec(first)?.[1])
  const body = bytes.subarray(end + 4)
  if (body.length !== Number(headers.get('content-length'))) throw new TypeError(`cut short: ${first}`)
  return { status, headers, body: body.toString() }
}
