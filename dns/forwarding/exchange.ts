/**
 * Questions to upstreams over sockets: a new one with a random port for each, connected, so that only the upstream
 * can answer and ICMP errors are heard (RFC 5452 9.2).
 */
import { createSocket } from 'node:dgram'
import { connect, isIPv6 } from 'node:net'
import { Frames, framed } from '../codec/frames.ts'
import type { Reply } from '../codec/message.ts'
import type { Asking, Exchange } from './forwarder.ts'
import type { Upstream } from './upstreams.ts'

export class SocketExchange implements Exchange {
  ask(upstream: Upstream, message: Uint8Array, how: Asking): Promise<Reply> {
    return how.transport === 'udp' ? askDatagram(upstream, message, how) : askStream(upstream, message, how)
  }
}

/** Answers that do not fit the question are not heard: somebody may be guessing. */
function askDatagram(upstream: Upstream, message: Uint8Array, { read, signal }: Asking): Promise<Reply> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(signal.reason)
    const socket = createSocket(isIPv6(upstream.address) ? 'udp6' : 'udp4')
    const stop = (): void => end(() => reject(signal.reason))
    const end = (settle: () => void): void => {
      signal.removeEventListener('abort', stop)
      socket.removeAllListeners()
      socket.on('error', () => {})
      socket.close()
      settle()
    }
    signal.addEventListener('abort', stop, { once: true })
    socket.once('error', (error) => end(() => reject(error)))
    socket.on('message', (bytes) => {
      const reply = read(bytes)
      if (reply !== undefined) end(() => resolve(reply))
    })
    // Not as a callback of `connect`: that is also called where there is no route.
    socket.once('connect', () => socket.send(message))
    socket.connect(upstream.port, upstream.address)
  })
}

function askStream(upstream: Upstream, message: Uint8Array, { read, signal }: Asking): Promise<Reply> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(signal.reason)
    const frames = new Frames()
    const socket = connect(upstream.port, upstream.address)
    const stop = (): void => end(() => reject(signal.reason))
    const end = (settle: () => void): void => {
      signal.removeEventListener('abort', stop)
      socket.destroy()
      settle()
    }
    signal.addEventListener('abort', stop, { once: true })
    socket.on('error', (error) => end(() => reject(error)))
    socket.once('close', () => reject(new DOMException('the upstream closed the connection', 'AbortError')))
    socket.once('connect', () => socket.write(framed(message)))
    socket.on('data', (chunk: Buffer) => {
      const reply = frames
        .push(chunk)
        .map(read)
        .find((found) => found !== undefined)
      if (reply !== undefined) end(() => resolve(reply))
    })
  })
}
