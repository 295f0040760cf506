/**
 * The UDP socket in the event loop: Node wakes us with the first datagram, and the batch takes whatever lies behind
 * it by itself. Answers that come later leave through Node.
 */
import { createSocket, type Socket } from 'node:dgram'
import { getSystemErrorName } from 'node:util'
import { formatIpv4, type Ipv4, parseIpv4 } from '../model/ip.ts'
import type { Batches } from './batches.ts'

export interface Datagrams {
  readonly port: number
  close(): Promise<void>
}

const maxParsed = 10_000

/** Listens on an address that the machine has already. */
export async function bindDatagrams(batches: Batches, port: number): Promise<Datagrams> {
  const fd = batches.open(port)
  if (fd < 0) throw new DOMException(`bind ${getSystemErrorName(fd)}`, 'NetworkError')
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
  readonly #parsed = new Map<string, Ipv4>()
  #closed = false

  constructor(socket: Socket, fd: number, batches: Batches) {
    this.port = socket.address().port
    this.#socket = socket
    const later = (message: Uint8Array, address: Ipv4, port: number): void => {
      // The callback keeps a failed send from being an error of the socket.
      if (!this.#closed) socket.send(message, port, formatIpv4(address), () => {})
    }
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

  close(): Promise<void> {
    this.#closed = true
    return new Promise((resolve) => {
      this.#socket.close(() => resolve())
    })
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
