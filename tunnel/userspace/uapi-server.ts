/**
 * WireGuard's configuration socket: `NAME.sock`, mode 0600, in a folder that all tunnels share. Feeds connections
 * to the UAPI codec and the engine; says when somebody removes the socket.
 */
import { lstatSync, mkdirSync, renameSync, rmSync, watch } from 'node:fs'
import { createServer, type Server, type Socket } from 'node:net'
import { networkInterfaces } from 'node:os'
import { dirname } from 'node:path'
import type { DeviceChange } from '../wireguard/change.ts'
import { renderErrno, type UapiOperation, UapiReader } from '../wireguard/uapi.ts'

export interface UapiHandler {
  /** The whole answer to `get=1`. */
  get(): Promise<string>
  /** An errno. */
  set(change: DeviceChange): Promise<number>
}

const lookEvery = 1000

export class UapiServer {
  readonly #server: Server
  readonly #connections = new Set<Socket>()

  constructor(handler: UapiHandler) {
    this.#server = createServer({ allowHalfOpen: true }, (socket) => this.#serve(socket, handler))
  }

  /**
   * Listens at a path; a stale socket there is replaced. The socket gets its name once it listens: `wg` removes one
   * that does not.
   */
  async listen(path: string): Promise<void> {
    mkdirSync(dirname(path), { recursive: true, mode: 0o755 })
    const fresh = `${path}.new`
    rmSync(fresh, { force: true })
    const umask = process.umask(0o077)
    try {
      await this.#listening({ path: fresh })
    } finally {
      process.umask(umask)
    }
    renameSync(fresh, path)
  }

  /** Takes over a socket that already listens. */
  adopt(fd: number): Promise<void> {
    return this.#listening({ fd })
  }

  close(): void {
    this.#server.close()
    for (const socket of this.#connections) socket.destroy()
  }

  #listening(where: { readonly path: string } | { readonly fd: number }): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#server.once('error', reject)
      this.#server.listen(where, resolve)
    })
  }

  #serve(socket: Socket, handler: UapiHandler): void {
    const reader = new UapiReader(zoneOf)
    let last = Promise.resolve()
    this.#connections.add(socket)
    socket.on('close', () => this.#connections.delete(socket))
    socket.on('error', () => socket.destroy())
    socket.on('data', (chunk) => {
      for (const operation of reader.push(Buffer.from(chunk))) {
        last = last.then(async () => {
          if (operation.is === 'broken') socket.destroy()
          else socket.write(await answerTo(operation, handler))
        })
      }
      last = last.catch(() => void socket.destroy())
    })
    // Whoever says no more may still wait for an answer.
    socket.on('end', () => void last.then(() => socket.end()))
  }
}

/** Zones are those of link-local addresses, so an interface without one is none. */
const zoneOf = (name: string): number | undefined =>
  networkInterfaces()[name]?.flatMap((each) =>
    each.family === 'IPv6' && each.scopeid ? [each.scopeid] : [],
  )[0]

async function answerTo(
  operation: Exclude<UapiOperation, { is: 'broken' }>,
  handler: UapiHandler,
): Promise<string> {
  if (operation.is === 'get') return handler.get()
  return renderErrno(operation.is === 'set' ? await handler.set(operation.change) : operation.errno)
}

/** Calls `removed` once when the file at `path` is no longer the one that is there now. */
export function whenRemoved(path: string, removed: () => void): { close(): void } {
  const inode = inodeOf(path)
  const look = (): void => {
    if (inodeOf(path) === inode) return
    close()
    removed()
  }
  const watcher = watch(dirname(path), look)
  watcher.on('error', look)
  const timer = setInterval(look, lookEvery)
  const close = (): void => {
    watcher.close()
    clearInterval(timer)
  }
  return { close }
}

const inodeOf = (path: string): number | undefined => lstatSync(path, { throwIfNoEntry: false })?.ino
