/**
 * The connections of the metadata service: how many one client may have, how much it may ask in one turn of the event
 * loop, and how a connection ends that cannot be served. A client that wants more than its share waits or is told so;
 * the others do not notice. Counts by address and by nothing else.
 */
import type { Socket } from 'node:net'
import type { Clock } from '../model/ports.ts'
import { seconds } from '../model/time.ts'

export interface ConnectionLimits {
  /** Connections that one address may have open. */
  readonly connections: number
  /** Addresses without such a limit: they speak for many. */
  isExempt(address: string): boolean
}

/** What one address has. */
interface Holder {
  readonly address: string
  readonly sockets: Set<Socket>
}

/**
 * Requests of one connection with no other's between: so many come at once when they are sent without waiting for
 * answers. Then all connections of that client pause for the rest of this turn.
 */
const longestRun = 16
/** Connections that are read to their end after the last word, so that it arrives: a reset would overtake it. */
const mostLingering = 256
const lingering = seconds(2)

export class Connections {
  readonly #clock: Clock
  readonly #limits: ConnectionLimits
  readonly #holders = new Map<string, Holder>()
  readonly #bySocket = new WeakMap<Socket, Holder>()
  #asking: Socket | undefined
  #run = 0
  #lingering = 0
  #open = 0

  constructor({ clock }: { readonly clock: Clock }, limits: ConnectionLimits) {
    this.#clock = clock
    this.#limits = limits
  }

  get open(): number {
    return this.#open
  }

  /** Takes a new connection into account; false, and the connection is on its end, when its client has too many. */
  admit(socket: Socket): boolean {
    const address = socket.remoteAddress ?? ''
    const holder = this.#holders.get(address) ?? { address, sockets: new Set() }
    if (holder.sockets.size >= this.#limits.connections && !this.#limits.isExempt(address)) {
      this.dismiss(socket, '429 Too Many Requests', 'Too many connections\n')
      return false
    }
    this.#holders.set(address, holder)
    this.#bySocket.set(socket, holder)
    holder.sockets.add(socket)
    this.#open += 1
    socket.once('close', () => this.#leave(socket, holder))
    return true
  }

  /** Counts a request; whether its connection was admitted. */
  asks(socket: Socket): boolean {
    const holder = this.#bySocket.get(socket)
    if (holder === undefined) return false
    this.#run = this.#asking === socket ? this.#run + 1 : 1
    this.#asking = socket
    if (this.#run === longestRun) this.#pause(holder)
    return true
  }

  /** The last word on a connection. */
  dismiss(socket: Socket, status: string, text: string): void {
    if (socket.destroyed || socket.writableEnded) return
    socket.on('error', () => undefined)
    const length = Buffer.byteLength(text)
    const head = [
      `HTTP/1.1 ${status}`,
      'Content-Type: text/plain; charset=utf-8',
      'X-Content-Type-Options: nosniff',
      `Content-Length: ${length}`,
      'Connection: close',
    ].join('\r\n')
    socket.end(`${head}\r\n\r\n${text}`)
    socket.resume()
    this.#linger(socket)
  }

  #linger(socket: Socket): void {
    if (this.#lingering >= mostLingering) {
      socket.destroySoon()
      return
    }
    this.#lingering += 1
    const timer = this.#clock.after(lingering, () => socket.destroy())
    socket.once('close', () => {
      this.#lingering -= 1
      timer.cancel()
    })
  }

  #leave(socket: Socket, holder: Holder): void {
    this.#open -= 1
    holder.sockets.delete(socket)
    if (holder.sockets.size === 0) this.#holders.delete(holder.address)
  }

  /** What was read already is answered still. */
  #pause({ sockets }: Holder): void {
    const paused = [...sockets]
    for (const socket of paused) socket.pause()
    setImmediate(() => {
      for (const socket of paused) socket.resume()
      this.#asking = undefined
    })
  }
}
