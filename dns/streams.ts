/**
 * DNS over TCP (RFC 7766): pipelined questions, answers in the order in which they are ready, with limits on
 * connections, on questions under way and on idling, so that nobody can take it from the others.
 */
import { createServer, type Server, type Socket } from 'node:net'
import { type Ipv4, parseIpv4 } from '../model/ip.ts'
import { Frames, framed, idleTime } from './codec/frames.ts'

export interface Streams {
  /** Accepts nothing more, answers what was asked, and ends each connection once it is quiet. */
  close(): Promise<void>
}

/** undefined for a message that deserves no answer. */
export type Respond = (bytes: Uint8Array, from: Ipv4) => Uint8Array | Promise<Uint8Array> | undefined

const quiet = 300 // ms, for connections of a server that closes
const maxConnections = 1024
const maxConnectionsOfOne = 64
const maxUnderWay = 64
/** Questions of one connection before others have their turn. */
const perTurn = 100
const maxUnsent = 256 << 10 // bytes

/** Listens on a bound socket, which it owns from now on. */
export function acceptStreams(fd: number, respond: Respond): Promise<Streams> {
  const guests = new Guests()
  const server = createServer({ noDelay: true, allowHalfOpen: true }, (socket) =>
    accept(socket, guests, respond),
  )
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen({ fd }, () => {
      server.off('error', reject)
      server.on('error', () => {})
      resolve({ close: () => closed(server, guests) })
    })
  })
}

function closed(server: Server, guests: Guests): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve())
    guests.finish()
  })
}

function accept(socket: Socket, guests: Guests, respond: Respond): void {
  const from = parseIpv4(socket.remoteAddress ?? '')
  socket.on('error', () => socket.destroy())
  if (from === undefined || !guests.admit(from)) {
    socket.destroy()
    return
  }
  const conversation = new Conversation(socket, from, respond)
  guests.add(conversation)
  socket.once('close', () => guests.remove(conversation))
}

/** Who is connected. Where all places are taken, whoever has most of them gives one up for somebody who has fewer. */
class Guests {
  readonly #open = new Map<Ipv4, Set<Conversation>>()
  #places = maxConnections

  /** Whether one more may come from there. */
  admit(from: Ipv4): boolean {
    const others = this.#open.get(from)?.size ?? 0
    if (others >= maxConnectionsOfOne) return false
    if (this.#places > 0) return true
    const [first, ...rest] = this.#open.values()
    if (first === undefined) return false
    const most = rest.reduce((one, other) => (other.size > one.size ? other : one), first)
    const [oldest] = most
    if (oldest === undefined || most.size <= others + 1) return false
    oldest.leave()
    this.remove(oldest)
    return true
  }

  add(conversation: Conversation): void {
    const some = this.#open.get(conversation.from) ?? new Set()
    this.#open.set(conversation.from, some.add(conversation))
    this.#places--
  }

  remove(conversation: Conversation): void {
    const some = this.#open.get(conversation.from)
    if (some?.delete(conversation) !== true) return
    this.#places++
    if (some.size === 0) this.#open.delete(conversation.from)
  }

  finish(): void {
    for (const some of this.#open.values()) for (const conversation of some) conversation.finish()
  }
}

/** One connection: questions in, answers out; what is ready together leaves in one piece. */
class Conversation {
  readonly #socket: Socket
  readonly from: Ipv4
  readonly #respond: Respond
  readonly #frames = new Frames()
  #waiting: Uint8Array[] = []
  #ready: Uint8Array[] = []
  #unsent = 0
  #underWay = 0
  #ended = false
  #working = false
  #finishing = false

  constructor(socket: Socket, from: Ipv4, respond: Respond) {
    this.#socket = socket
    this.from = from
    this.#respond = respond
    socket.setTimeout(idleTime)
    socket.on('timeout', () => this.#silent())
    socket.on('data', (chunk: Buffer) => {
      this.#waiting.push(...this.#frames.push(chunk))
      this.#work()
    })
    socket.on('drain', () => this.#work())
    // Half-open clients still get what is under way.
    socket.on('end', () => {
      this.#ended = true
      this.#work()
    })
  }

  /** Ends once nothing was asked for a moment, with all answered. */
  finish(): void {
    this.#finishing = true
    this.#socket.setTimeout(quiet)
  }

  /** Makes room for somebody else. */
  leave(): void {
    this.#socket.destroy()
  }

  #silent(): void {
    if (!this.#finishing) this.#socket.destroy()
    else if (this.#underWay === 0) this.#socket.destroySoon()
    else this.finish()
  }

  #work(): void {
    if (this.#working || this.#socket.destroyed) return
    let next = 0
    while (next < this.#waiting.length && next < perTurn && !this.#isFull())
      this.#take(this.#waiting[next++] ?? new Uint8Array(0))
    this.#waiting.splice(0, next)
    this.#flush()
    if (this.#waiting.length > 0) this.#pause()
    else if (this.#ended && this.#underWay === 0) this.#socket.end()
    else this.#socket.resume()
  }

  /** Others come first for a turn; a full one goes on when it has room. */
  #pause(): void {
    this.#socket.pause()
    if (this.#isFull()) return
    this.#working = true
    setImmediate(() => {
      this.#working = false
      this.#work()
    })
  }

  #take(message: Uint8Array): void {
    const answer = this.#respond(message, this.from)
    if (answer === undefined) return void this.#socket.destroy()
    if (answer instanceof Promise) {
      this.#underWay += 1
      void answer.then((late) => {
        this.#underWay -= 1
        this.#send(late)
        this.#work()
      })
    } else this.#send(answer)
  }

  #send(message: Uint8Array): void {
    const frame = framed(message)
    this.#unsent += frame.length
    this.#ready.push(frame)
  }

  #flush(): void {
    if (this.#ready.length > 0 && !this.#socket.destroyed)
      this.#socket.write(this.#ready.length === 1 ? (this.#ready[0] ?? '') : Buffer.concat(this.#ready))
    this.#ready = []
    this.#unsent = 0
  }

  #isFull(): boolean {
    return this.#underWay >= maxUnderWay || this.#socket.writableLength + this.#unsent > maxUnsent
  }
}
