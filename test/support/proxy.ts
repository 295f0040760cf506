/**
 * A TCP proxy on loopback in front of one server, that can be cut: silently (connections stay, nothing passes,
 * as when a cable is pulled) or with resets.
 */
import { once } from 'node:events'
import { connect, createServer, type Server, type Socket } from 'node:net'

export class TestProxy {
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  #cut: 'no' | 'silent' | 'reset' = 'no'

  private constructor(server: Server) {
    this.#server = server
  }

  static async start(target: number, address = '127.0.0.1'): Promise<TestProxy> {
    const server = createServer({ pauseOnConnect: true }).listen(0, address)
    await once(server, 'listening')
    const proxy = new TestProxy(server)
    server.on('connection', (client) => proxy.#accept(client, target))
    return proxy
  }

  get endpoint(): string {
    const address = this.#server.address()
    return typeof address === 'object' && address !== null ? `${address.address}:${address.port}` : ''
  }

  cut(how: 'silent' | 'reset'): void {
    this.#cut = how
    for (const socket of this.#sockets) {
      if (how === 'reset') socket.resetAndDestroy()
      else socket.unpipe().pause()
    }
  }

  /** What was cut silently stays dead, as after a change of routes; new connections pass. */
  mend(): void {
    this.#cut = 'no'
  }

  remove(): void {
    for (const socket of this.#sockets) socket.destroy()
    this.#server.close()
  }

  #accept(client: Socket, target: number): void {
    this.#keep(client)
    if (this.#cut === 'reset') client.resetAndDestroy()
    if (this.#cut !== 'no') return
    const server = connect(target, '127.0.0.1')
    this.#keep(server)
    client.pipe(server).pipe(client)
    client.on('close', () => server.destroy())
    server.on('close', () => client.destroy())
  }

  #keep(socket: Socket): void {
    this.#sockets.add(socket)
    socket.on('error', () => {})
    socket.on('close', () => this.#sockets.delete(socket))
  }
}
