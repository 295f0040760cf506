/**
 * The UDP socket in the event loop: Node wakes us with the first datagram, and the batch takes whatever lies behind
 * it by itself. When it closes, no question is read any more, and those that were read are answered.
 */
import { createSocket, type Socket } from 'node:dgram'
import { type Ipv4, parseIpv4 } from '../model/ip.ts'
import type { Batches } from './answers/batches.ts'

export interface Datagrams {
  readonly port: number
  close(): Promise<void>
}

const maxParsed = 10_000

/** Reads the questions of a bound socket, which it owns from now on. */
export async function readDatagrams(batches: Batches, fd: number): Promise<Datagrams> {
  const socket = createSocket('udp4')
  await new Promise<void>((resolve, reject) => {
    socket.once('error', reject)
    socket.bind({ fd, exclusive: true }, () => {
      socket.off('error', reject)
      resolve()
    })
  })
  // An ICMP error for an answer of ours says nothing about the socket.
  socket.on('error', () => {})
  return new EventLoopDatagrams(socket, fd, batches)
}

class EventLoopDatagrams implements Datagrams {
  readonly port: number
  readonly #socket: Socket
  readonly #batches: Batches
  /** What answers leave by. */
  #fd: number
  readonly #parsed = new Map<string, Ipv4>()
  #closed = false

  constructor(socket: Socket, fd: number, batches: Batches) {
    this.port = socket.address().port
    this.#socket = socket
    this.#batches = batches
    this.#fd = fd
    const later = (message: Uint8Array, address: Ipv4, port: number): void =>
      batches.sendLate(this.#fd, message, address, port)
    let lingering = false
    const linger = (): void => {
      if (lingering || this.#closed || !batches.linger(fd, later)) return
      lingering = true
      setImmediate(() => {
        lingering = false
        linger()
      })
    }
    socket.on('message', (bytes, { address, port }) => {
      const from = this.#parse(address)
      if (from === undefined || this.#closed) return
      batches.receive(fd, { bytes, address: from, port }, later)
      linger()
    })
  }

  async close(): Promise<void> {
    this.#closed = true
    this.#fd = this.#batches.keep(this.#fd)
    await new Promise<void>((resolve) => {
      this.#socket.close(() => resolve())
    })
    await this.#batches.release(this.#fd)
  }

  #parse(text: string): Ipv4 | undefined {
    const known = this.#parsed.get(text)
    if (known !== undefined) return known
    const address = parseIpv4(text)
    if (this.#parsed.size >= maxParsed) this.#parsed.clear()
    if (address !== undefined) this.#parsed.set(text, address)
    return address
  }
}
