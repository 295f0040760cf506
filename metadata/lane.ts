/**
 * The fast lane of the metadata service: simple requests with small answers, without a parser and without objects for
 * request and response. A connection starts here, and leaves for `node:http` for good with the first bytes that are
 * anything else: nothing is decided here that is not decided there as well.
 */
import { STATUS_CODES } from 'node:http'
import type { Socket } from 'node:net'
import type { Clock } from '../model/ports.ts'
import type { Answer } from './answer.ts'
import { commonHeaders } from './replies.ts'
import { longestSimple, type Simple, SimpleRequests } from './simple.ts'

export interface LaneDeps {
  readonly clock: Clock
  /** The answer, if it can be given at once and is small. */
  answer(request: Simple, socket: Socket): Answer | undefined
  /** Goes on with a connection in HTTP; what was read so far comes again. */
  leave(socket: Socket): void
  /** Nothing came for too long. */
  late(socket: Socket): void
}

export interface LaneOptions {
  /** Milliseconds for the first bytes to arrive, and between requests. */
  readonly arrival: number
  readonly keptAlive: number
}

export class Lane {
  readonly #deps: LaneDeps
  readonly #options: LaneOptions
  readonly #requests = new SimpleRequests()
  readonly #texts = new WeakMap<Answer, string>()
  readonly #sockets = new Set<Socket>()
  #second = 0
  #date = ''

  constructor(deps: LaneDeps, options: LaneOptions) {
    this.#deps = deps
    this.#options = options
  }

  take(socket: Socket): void {
    this.#sockets.add(socket)
    let answered = false
    const read = (bytes: Buffer): void => {
      const reply = this.#replyTo(bytes, socket)
      if (reply === undefined) {
        leave()
        socket.pause()
        socket.unshift(bytes)
        this.#deps.leave(socket)
        socket.resume()
        return
      }
      if (!answered) socket.setTimeout(this.#options.keptAlive)
      answered = true
      socket.write(reply, 'latin1')
    }
    const idle = (): void => {
      leave()
      if (answered) socket.end()
      else this.#deps.late(socket)
    }
    const forget = (): void => void this.#sockets.delete(socket)
    const end = (): void => void socket.end()
    const fail = (): void => void socket.destroy()
    const leave = (): void => {
      forget()
      socket.setTimeout(0)
      socket.off('data', read).off('timeout', idle).off('end', end).off('error', fail).off('close', forget)
    }
    socket.on('data', read).on('timeout', idle).on('end', end).on('error', fail).on('close', forget)
    socket.setTimeout(this.#options.arrival)
  }

  /** Ends the connections that are in the lane. */
  close(): void {
    for (const socket of this.#sockets) socket.destroySoon()
  }

  #replyTo(bytes: Buffer, socket: Socket): string | undefined {
    if (bytes.length > longestSimple || socket.writableLength > 0) return undefined
    const request = this.#requests.read(bytes.toString('latin1'))
    const answer = request === undefined ? undefined : this.#deps.answer(request, socket)
    if (answer === undefined || typeof answer.body.content !== 'string') return undefined
    const text = this.#texts.get(answer) ?? this.#textOf(answer, answer.body.content)
    return `HTTP/1.1 ${answer.status} ${STATUS_CODES[answer.status]}\r\nDate: ${this.#now()}\r\n${text}`
  }

  /** All behind the date, as latin1 that carries the bytes of UTF-8. */
  #textOf(answer: Answer, content: string): string {
    const { length, etag } = answer.body
    const alive = ['Connection', 'keep-alive', 'Keep-Alive', `timeout=${this.#options.keptAlive / 1000}`]
    const headers = [...commonHeaders(answer, etag), 'Content-Length', String(length), ...alive]
    const lines = headers.map((word, at) => (at % 2 === 0 ? `${word}: ` : `${word}\r\n`))
    const text = `${lines.join('')}\r\n${Buffer.from(content).toString('latin1')}`
    this.#texts.set(answer, text)
    return text
  }

  /** RFC 9110 5.6.7, to the second. */
  #now(): string {
    const second = Math.floor(this.#deps.clock.now() / 1000)
    if (second !== this.#second) {
      this.#second = second
      this.#date = new Date(second * 1000).toUTCString()
    }
    return this.#date
  }
}
