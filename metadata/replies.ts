/**
 * An answer as it goes over the wire: headers, conditions, compression. Heads are made once for each answer, and a
 * body is compressed once for all who want it so. Large bodies go to one client a few at a time.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { acceptsGzip } from './accept.ts'
import type { Answer, Body } from './answer.ts'
import { Gzip } from './gzip.ts'
import { Turnstile } from './turnstile.ts'

/** Below this a body is not worth compressing. */
const gzipFrom = 1400
/** From here on a body is large: it does not fit into a socket at once. */
const largeFrom = 64 * 1024
/** Large bodies that are on their way to one client at once. */
const largeAtOnce = 4

interface Head {
  readonly headers: readonly string[]
  /** latin1 where it is the same bytes: it is written faster. */
  readonly encoding: 'latin1' | 'utf8'
}

export class Replies {
  readonly #heads = new WeakMap<Answer, Head>()
  readonly #gzip = new Gzip()
  readonly #turnstile = new Turnstile({ width: largeAtOnce })

  send(answer: Answer, request: IncomingMessage, response: ServerResponse): void {
    const { body, status } = answer
    if (response.destroyed || response.headersSent) return
    if (status === 200) {
      const condition = request.headers['if-none-match']
      if (condition !== undefined && matches(condition, body.etag)) {
        response.writeHead(304, commonHeaders(answer, body.etag)).end()
        return
      }
      if (body.length >= gzipFrom && acceptsGzip(request.headers['accept-encoding'])) {
        this.#sendZipped(answer, response)
        return
      }
    }
    const { headers, encoding } = this.#headOf(answer)
    this.#finish(response, { status, headers, body, encoding })
  }

  #headOf(answer: Answer): Head {
    const known = this.#heads.get(answer)
    if (known !== undefined) return known
    const { content, length, etag } = answer.body
    const headers = [...commonHeaders(answer, etag), 'Content-Length', String(length)]
    const head: Head = { headers, encoding: length === content.length ? 'latin1' : 'utf8' }
    this.#heads.set(answer, head)
    return head
  }

  #sendZipped(answer: Answer, response: ServerResponse): void {
    const { etag } = answer.body
    this.#gzip.of(answer.body).then(
      (body) => {
        const common = commonHeaders(answer, etag.replace(/"$/, '-gzip"'))
        const headers = [...common, 'Content-Encoding', 'gzip', 'Content-Length', String(body.length)]
        this.#finish(response, { status: 200, headers, body, encoding: 'latin1' })
      },
      () => this.#finish(response, { status: 200, ...this.#headOf(answer), body: answer.body }),
    )
  }

  #finish(response: ServerResponse, reply: Reply): void {
    if (reply.body.length < largeFrom) {
      write(response, reply)
      return
    }
    this.#turnstile.enter(response.socket?.remoteAddress ?? '', (leave) => {
      if (response.destroyed) return leave()
      response.once('close', leave)
      write(response, reply)
    })
  }
}

interface Reply extends Head {
  readonly status: number
  readonly body: Pick<Body, 'content' | 'length'>
}

function write(response: ServerResponse, { status, headers, encoding, body: { content } }: Reply): void {
  if (response.destroyed) return
  response.writeHead(status, headers as string[])
  if (typeof content === 'string') {
    response.end(content, encoding)
    return
  }
  response.cork()
  for (const chunk of content) response.write(chunk)
  response.end()
}

/** What every reply with this answer says, whatever form its body has. */
export function commonHeaders({ status, type, location, shared }: Answer, etag: string): string[] {
  const headers = shared ? ['Access-Control-Allow-Origin', '*'] : []
  if (location !== undefined) headers.push('Location', location)
  if (type !== undefined) headers.push('Content-Type', type)
  if (status >= 400) headers.push('X-Content-Type-Options', 'nosniff')
  if (status === 200) headers.push('ETag', etag, 'Vary', 'Accept, Accept-Encoding')
  return headers
}

/** RFC 9110 13.1.2: weak comparison; the compressed form counts as the same. */
function matches(condition: string, etag: string): boolean {
  const known = condition.split(',').map((tag) =>
    tag
      .trim()
      .replace(/^W\//, '')
      .replace(/-gzip"$/, '"'),
  )
  return known.includes(etag) || known.includes('*')
}
