/**
 * Datagrams in batches over node:dgram. Whoever receives a batch is done with its bytes when it returns; whoever
 * sends one may reuse its bytes when the call returns. Another implementation of `Datagrams` replaces this file.
 */
import { createSocket, type Socket } from 'node:dgram'
import { formatIpv4, type Ipv4, parseIpv4 } from '../model/ip.ts'

export interface Datagram {
  readonly bytes: Uint8Array
  readonly address: Ipv4
  readonly port: number
}

export interface Datagrams {
  readonly port: number
  send(batch: readonly Datagram[]): void
  close(): Promise<void>
}

export type Receive = (batch: readonly Datagram[], datagrams: Datagrams) => void

const receiveBuffer = 4 << 20 // bytes
const maxParsed = 10_000

/** Listens on an address that the machine has already. */
export function bindDatagrams(address: Ipv4, port: number, receive: Receive): Promise<Datagrams> {
  return new Promise((resolve, reject) => {
    const socket = createSocket('udp4')
    const refused = (error: Error): void => {
      socket.close()
      reject(error)
    }
    socket.once('error', refused)
    socket.bind(port, formatIpv4(address), () => {
      socket.off('error', refused)
      // An ICMP error for an answer of ours says nothing about the socket.
      socket.on('error', () => {})
      resolve(new NodeDatagrams(socket, receive))
    })
  })
}

class NodeDatagrams implements Datagrams {
  readonly port: number
  readonly #socket: Socket
  readonly #parsed = new Map<string, Ipv4>()

  constructor(socket: Socket, receive: Receive) {
    this.port = socket.address().port
    this.#socket = socket
    socket.setRecvBufferSize(receiveBuffer)
    socket.on('message', (bytes, { address, port }) => {
      const from = this.#parse(address)
      if (from !== undefined) receive([{ bytes, address: from, port }], this)
    })
  }

  send(batch: readonly Datagram[]): void {
    // The callback keeps a failed send from being an error of the socket.
    for (const { bytes, address, port } of batch)
      this.#socket.send(bytes, port, formatIpv4(address), () => {})
  }

  close(): Promise<void> {
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
