/**
 * HTTP for the metadata service. Fastify owns the listener, its limits and its end; every request goes to one
 * handler, which writes the answer itself: what the contract says byte for byte is not left to a framework.
 * Answers of a change are given in the same turn of the event loop. No answer carries a stack.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { gzip } from 'node:zlib'
import { type FastifyInstance, fastify } from 'fastify'
import type { Clock } from '../model/ports.ts'
import type { Millis } from '../model/time.ts'
import { acceptsGzip } from './accept.ts'
import { type Answer, type Answers, type Asked, askedBy, type Body } from './answer.ts'
import { Waiters } from './wait.ts'

/** How long a socket may do nothing: longer than the longest poll. */
const idle = 150_000
/** How long a request may take to arrive. */
const arrival = 15_000
const largestHead = 16 * 1024
/** Below this a body is not worth compressing. */
const gzipFrom = 1400

export interface ServerStats {
  readonly requests: number
  readonly refused: number
  readonly waiting: number
}

export class MetadataServer {
  readonly #app: FastifyInstance
  readonly #waiters: Waiters
  readonly #zipped = new WeakMap<Body, Promise<Buffer>>()
  readonly #answers: Answers
  #requests = 0
  #refused = 0

  constructor({ clock, answers }: { readonly clock: Clock; readonly answers: Answers }) {
    this.#waiters = new Waiters({ clock })
    this.#answers = answers
    this.#app = fastify({
      logger: false,
      requestTimeout: arrival,
      connectionTimeout: idle,
      keepAliveTimeout: 75_000,
      forceCloseConnections: true,
      exposeHeadRoutes: false,
      // One route: the target is read by path.ts and by nothing else.
      rewriteUrl: () => '/',
      http: { maxHeaderSize: largestHead, headersTimeout: arrival, connectionsCheckingInterval: 5000 },
      clientErrorHandler: (error, socket) => this.#clientError(error.code, socket),
    })
    this.#app.removeAllContentTypeParsers()
    this.#app.addContentTypeParser('*', (_request, _payload, done) => done(null))
    this.#app.setNotFoundHandler((request, reply) => {
      reply.hijack()
      this.#serve(request.raw, reply.raw, request.originalUrl)
    })
  }

  /** Begins to listen and returns the port. */
  async listen(address: string, port: number): Promise<number> {
    await this.#app.listen({ host: address, port, backlog: 4096 })
    const bound = this.#app.server.address()
    return typeof bound === 'object' && bound !== null ? bound.port : port
  }

  /** The source shows something new: polls that wait are looked at again. */
  wake(): void {
    this.#waiters.wake()
  }

  stats(): ServerStats {
    return { requests: this.#requests, refused: this.#refused, waiting: this.#waiters.size }
  }

  async close(): Promise<void> {
    this.#waiters.close()
    await this.#app.close()
  }

  #serve(request: IncomingMessage, response: ServerResponse, target: string): void {
    this.#requests += 1
    const asked = askedBy({
      method: request.method ?? '',
      target,
      accept: request.headers.accept,
      client: request.socket.remoteAddress ?? '',
    })
    const reply = (): void => this.#reply(this.#answers.answer(asked), request, response)
    const patience = this.#patience(asked)
    if (patience === undefined) {
      reply()
      return
    }
    const poll = this.#waiters.wait(() => this.#answers.isUnchanged(asked), patience, reply)
    response.on('close', () => poll.cancel())
  }

  /** How long to wait for a change; undefined for an answer at once. */
  #patience(asked: Asked): Millis | undefined {
    if (asked.is !== 'value' || asked.wait === undefined || asked.wait.atMost <= 0) return undefined
    return this.#answers.isUnchanged(asked) ? asked.wait.atMost : undefined
  }

  #reply(answer: Answer, request: IncomingMessage, response: ServerResponse): void {
    const { body } = answer
    if (answer.shared) response.setHeader('Access-Control-Allow-Origin', '*')
    if (answer.location !== undefined) response.setHeader('Location', answer.location)
    if (answer.type !== undefined) response.setHeader('Content-Type', answer.type)
    if (answer.status >= 400) {
      this.#refused += 1
      response.setHeader('X-Content-Type-Options', 'nosniff')
    }
    if (answer.status !== 200) {
      finish(response, answer.status, body.content)
      return
    }
    response.setHeader('ETag', body.etag)
    response.setHeader('Vary', 'Accept, Accept-Encoding')
    const known = matches(request.headers['if-none-match'], body.etag)
    const worthIt = body.content.length >= gzipFrom && acceptsGzip(request.headers['accept-encoding'])
    if (known) finish(response, 304)
    else if (worthIt) this.#replyZipped(body, response)
    else finish(response, 200, body.content)
  }

  #replyZipped(body: Body, response: ServerResponse): void {
    const zipped = this.#zipped.get(body) ?? zip(body.content)
    this.#zipped.set(body, zipped)
    zipped.then(
      (content) => {
        response.setHeader('Content-Encoding', 'gzip')
        response.setHeader('ETag', body.etag.replace(/"$/, '-gzip"'))
        finish(response, 200, content)
      },
      () => finish(response, 200, body.content),
    )
  }

  #clientError(code: string | undefined, socket: Socket): void {
    this.#refused += 1
    if (!socket.writable || socket.destroyed) return
    const status = clientErrors[code ?? ''] ?? '400 Bad Request'
    socket.end(
      `HTTP/1.1 ${status}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: ${status.length}\r\nConnection: close\r\n\r\n${status}`,
    )
  }
}

const clientErrors: Readonly<Record<string, string>> = {
  HPE_HEADER_OVERFLOW: '431 Request Header Fields Too Large',
  ERR_HTTP_REQUEST_TIMEOUT: '408 Request Timeout',
}

function zip(content: string | Buffer): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    gzip(content, { level: 3 }, (error, zipped) => (error === null ? resolve(zipped) : reject(error)))
  })
}

/** RFC 9110 13.1.2: weak comparison; the compressed form counts as the same. */
function matches(condition: string | undefined, etag: string): boolean {
  if (condition === undefined) return false
  const known = condition.split(',').map((tag) =>
    tag
      .trim()
      .replace(/^W\//, '')
      .replace(/-gzip"$/, '"'),
  )
  return known.includes(etag) || known.includes('*')
}

function finish(response: ServerResponse, status: number, content?: string | Buffer): void {
  if (response.destroyed || response.headersSent) return
  response.statusCode = status
  if (content === undefined) {
    response.end()
    return
  }
  response.setHeader('Content-Length', Buffer.byteLength(content))
  response.end(content)
}
