/**
 * HTTP for the metadata service, on node:http itself: what the contract says byte for byte is not left to a framework
 * (docs/adr/0016). Whoever asks is admitted, told apart and answered here; answers of a change are given in the same turn
 * of the event loop. No answer carries a stack, and no request ends without an answer.
 */
import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { Clock } from '../model/ports.ts'
import type { Millis } from '../model/time.ts'
import { Formats } from './accept.ts'
import { type Answer, type Asked, askedBy, plain } from './answer.ts'
import type { Answers } from './answers.ts'
import { Connections } from './connections.ts'
import type { Client, Proxies } from './forwarded.ts'
import { Lane } from './lane.ts'
import { Replies } from './replies.ts'
import { Shares } from './shares.ts'
import type { Simple } from './simple.ts'
import { Waiters } from './wait.ts'

/** Milliseconds that a request may take to arrive, and that may pass between two. */
const arrival = 15_000
const keptAlive = 75_000
/** Milliseconds that a socket may do nothing: longer than the longest poll. */
const idle = 150_000
const largestHead = 16 * 1024
const backlog = 4096

const limits = ['connections', 'polls', 'head', 'time'] as const
export type Limit = (typeof limits)[number]

export interface ServerStats {
  readonly requests: number
  /** Answers of 400 and above. */
  readonly refused: number
  readonly waiting: number
  readonly connections: number
  /** Refusals by the limit that was met; part of `refused`. */
  readonly limited: Readonly<Record<Limit, number>>
}

export interface ServerOptions {
  /** Connections that one address may have open, and long polls that it may have waiting. */
  readonly connections: number
}

interface ServerDeps {
  readonly clock: Clock
  readonly answers: Answers
  readonly proxies: Proxies
}

const noHost = plain(400, '400 Bad Request: missing required Host header')
const tooManyPolls = plain(429, 'Too many requests that wait\n')
const unexpected = plain(417, '417 Expectation Failed')

export class MetadataServer {
  readonly #server: Server
  readonly #waiters: Waiters
  readonly #answers: Answers
  readonly #proxies: Proxies
  readonly #connections: Connections
  readonly #polls: Shares
  readonly #lane: Lane
  readonly #formats = new Formats()
  readonly #replies = new Replies()
  readonly #limited: Record<Limit, number> = { connections: 0, polls: 0, head: 0, time: 0 }
  #requests = 0
  #refused = 0

  constructor({ clock, answers, proxies }: ServerDeps, { connections }: ServerOptions) {
    this.#waiters = new Waiters({ clock })
    this.#answers = answers
    this.#proxies = proxies
    const isExempt = (address: string): boolean => proxies.trusts(address)
    this.#connections = new Connections({ clock }, { connections, isExempt })
    this.#polls = new Shares({ most: connections })
    const options = {
      requestTimeout: arrival,
      headersTimeout: arrival,
      connectionsCheckingInterval: 5000,
      keepAliveTimeout: keptAlive,
      maxHeaderSize: largestHead,
      requireHostHeader: false,
    }
    this.#server = createServer(options, (request, response) => this.#serve(request, response))
    this.#server.setTimeout(idle)
    const [speak] = this.#server.listeners('connection')
    this.#lane = new Lane(
      {
        clock,
        answer: (request, socket) => this.#quickAnswer(request, socket),
        leave: (socket) => speak?.call(this.#server, socket),
        late: (socket) => this.#clientError('ERR_HTTP_REQUEST_TIMEOUT', socket),
      },
      { arrival, keptAlive },
    )
    this.#server.removeAllListeners('connection')
    this.#listen()
  }

  #listen(): void {
    this.#server.on('connection', (socket: Socket) => this.#admit(socket))
    this.#server.on('clientError', (error: NodeJS.ErrnoException, socket: Socket) =>
      this.#clientError(error.code, socket),
    )
    this.#server.on('connect', (_request: IncomingMessage, socket: Socket) =>
      this.#dismiss(socket, '404 Not Found', '404 page not found\n'),
    )
    this.#server.on('checkExpectation', (request: IncomingMessage, response: ServerResponse) =>
      this.#reply(unexpected, request, response),
    )
  }

  /** Begins to listen on a bound socket, which it owns from now on, and returns the port. */
  async listen(fd: number): Promise<number> {
    this.#server.listen({ fd, backlog })
    await once(this.#server, 'listening')
    const bound = this.#server.address()
    return typeof bound === 'object' && bound !== null ? bound.port : 0
  }

  /** The source shows something new: polls that wait are looked at again. */
  wake(): void {
    this.#waiters.wake()
  }

  stats(): ServerStats {
    return {
      requests: this.#requests,
      refused: this.#refused,
      waiting: this.#waiters.size,
      connections: this.#connections.open,
      limited: { ...this.#limited },
    }
  }

  /** Answers what waits, lets these answers go, and ends. */
  async close(): Promise<void> {
    this.#waiters.close()
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()))
    this.#lane.close()
    setImmediate(() => this.#server.closeAllConnections())
    await closed
  }

  /** For the fast lane: what needs neither time nor conditions. */
  #quickAnswer({ target, accept }: Simple, socket: Socket): Answer | undefined {
    if (!this.#connections.asks(socket)) return undefined
    const client = { address: socket.remoteAddress ?? '', forwarded: false }
    const asking = { method: 'GET', target, accept, client }
    const known = this.#answers.known(asking, this.#formats.of(accept))
    const answer = known ?? this.#atOnce(askedBy(asking))
    if (typeof answer?.body.content !== 'string') return undefined
    this.#requests += 1
    if (answer.status >= 400) this.#refused += 1
    return answer
  }

  #atOnce(asked: Asked): Answer | undefined {
    return this.#patience(asked) === undefined ? this.#answers.answer(asked) : undefined
  }

  #serve(request: IncomingMessage, response: ServerResponse): void {
    if (!this.#connections.asks(request.socket)) return
    this.#requests += 1
    const { method = '', url: target = '', headers } = request
    if (headers.host === undefined && request.httpVersion === '1.1') {
      this.#reply(noHost, request, response)
      return
    }
    const client = this.#proxies.clientOf(request.socket.remoteAddress ?? '', forwardedFor(request))
    const asking = { method, target, accept: headers.accept, client }
    const known = this.#answers.known(asking, this.#formats.of(headers.accept))
    if (known !== undefined) this.#replies.send(known, request, response)
    else this.#answer(askedBy(asking), client, request, response)
  }

  #answer(asked: Asked, client: Client, request: IncomingMessage, response: ServerResponse): void {
    const patience = this.#patience(asked)
    if (patience === undefined) {
      this.#reply(this.#answers.answer(asked), request, response)
      return
    }
    if (!this.#polls.take(client.address)) {
      this.#limited.polls += 1
      this.#reply(tooManyPolls, request, response)
      return
    }
    const poll = this.#waiters.wait(
      () => this.#answers.isUnchanged(asked),
      patience,
      () => this.#reply(this.#answers.answer(asked), request, response),
    )
    response.once('close', () => {
      poll.cancel()
      this.#polls.give(client.address)
    })
  }

  /** How long to wait for a change; undefined for an answer at once. */
  #patience(asked: Asked): Millis | undefined {
    if (asked.is !== 'value' || asked.wait === undefined || asked.wait.atMost <= 0) return undefined
    return this.#answers.isUnchanged(asked) ? asked.wait.atMost : undefined
  }

  #reply(answer: Answer, request: IncomingMessage, response: ServerResponse): void {
    if (answer.status >= 400) this.#refused += 1
    this.#replies.send(answer, request, response)
  }

  #admit(socket: Socket): void {
    if (this.#connections.admit(socket)) {
      this.#lane.take(socket)
      return
    }
    this.#refused += 1
    this.#limited.connections += 1
  }

  #clientError(code: string | undefined, socket: Socket): void {
    if (code === 'HPE_HEADER_OVERFLOW') {
      this.#limited.head += 1
      this.#dismiss(socket, '431 Request Header Fields Too Large', '431 Request Header Fields Too Large')
    } else if (code === 'ERR_HTTP_REQUEST_TIMEOUT') {
      this.#limited.time += 1
      this.#dismiss(socket, '408 Request Timeout', '408 Request Timeout')
    } else this.#dismiss(socket, '400 Bad Request', '400 Bad Request')
  }

  #dismiss(socket: Socket, status: string, text: string): void {
    this.#refused += 1
    this.#connections.dismiss(socket, status, text)
  }
}

function forwardedFor({ headers }: IncomingMessage): string | undefined {
  const value = headers['x-forwarded-for']
  return Array.isArray(value) ? value.join(',') : value
}
