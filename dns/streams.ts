/**
 * DNS over TCP (RFC 7766): pipelined questions, answers in the order in which they are ready, with limits on
 * connections, on questions under way and on idling, so that nobody can take it from the others.
 */
import { createServer, type Server, type Socket } from 'node:net'
import { formatIpv4, type Ipv4, parseIpv4 } from '../model/ip.ts'
import { Frames, framed } from './frames.ts'

export interface Streams {
  readonly port: number
  close(): Promise<void>
}

/** undefined for a message that deserves no answer. */
export type Respond = (bytes: Uint8Array, from: Ipv4) => Uint8Array | Promise<Uint8Array> | undefined

const idle = 10_000 // ms, RFC 7766 6.2.3: a few seconds
const maxConnections = 1024
const maxConnectionsOfOne = 64
const maxUnderWay = 64
const maxUnsent = 256 << 10 // bytes

export function bindStreams(address: Ipv4, port: number, respond: Respond): Promise<Streams> {
  const perAddress = new Map<string, number>()
  const open = new Set<Socket>()
  const server = createServer({ noDelay: true, allowHalfOpen: true }, (socket) =>
    accept(socket, { perAddress, open, respond }),
  )
  server.maxConnections = maxConnections
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, formatIpv4(address), () => {
      server.off('error', reject)
      server.on('error', () => {})
      resolve({ port: portOf(server), close: () => closed(server, open) })
    })
  })
}

const portOf = (server: Server): number => {
  const address = server.address()
  return typeof address === 'object' && address !== null ? address.port : 0
}

function closed(server: Server, open: ReadonlySet<Socket>): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve())
    for (const socket of open) socket.destroy()
  })
}

interface Listening {
  readonly perAddress: Map<string, number>
  readonly open: Set<Socket>
  readonly respond: Respond
}

function accept(socket: Socket, { perAddress, open, respond }: Listening): void {
  const text = socket.remoteAddress ?? ''
  const from = parseIpv4(text)
  const others = perAddress.get(text) ?? 0
  socket.on('error', () => socket.destroy())
  if (from === undefined || others >= maxConnectionsOfOne) {
    socket.destroy()
    return
  }
  perAddress.set(text, others + 1)
  open.add(socket)
  socket.once('close', () => {
    open.delete(socket)
    const left = (perAddress.get(text) ?? 1) - 1
    if (left > 0) perAddress.set(text, left)
    else perAddress.delete(text)
  })
  socket.setTimeout(idle, () => socket.destroy())
  serve(socket, from, respond)
}

function serve(socket: Socket, from: Ipv4, respond: Respond): void {
  const frames = new Frames()
  let underWay = 0
  const waiting: Uint8Array[] = []
  let ended = false
  const send = (message: Uint8Array): void => {
    if (!socket.destroyed) socket.write(framed(message))
  }
  const isFull = (): boolean => underWay >= maxUnderWay || socket.writableLength > maxUnsent
  const work = (): void => {
    while (waiting.length > 0 && !isFull()) {
      const message = waiting.shift()
      if (message !== undefined) take(message)
    }
    if (waiting.length > 0) socket.pause()
    else {
      socket.resume()
      if (ended && underWay === 0) socket.end()
    }
  }
  const take = (message: Uint8Array): void => {
    const answer = respond(message, from)
    if (answer instanceof Promise) {
      underWay += 1
      void answer.then(send).finally(() => {
        underWay -= 1
        work()
      })
    } else if (answer !== undefined) send(answer)
    else socket.destroy()
  }
  socket.on('data', (chunk: Buffer) => {
    waiting.push(...frames.push(chunk))
    work()
  })
  socket.on('drain', work)
  // Half-open clients still get what is under way.
  socket.on('end', () => {
    ended = true
    work()
  })
}
