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
  /** The whole answer to `replace=1`. */
  replace(command: readonly string[]): Promise<string>
}

/** The socket that listens, and how to get another descriptor of it. */
export interface Listening {
  readonly fd: number
  readonly dup: (fd: number) => number
}

const lookEvery = 1000

export class UapiServer {
  readonly #listening: Listening
  readonly #handler: UapiHandler
  readonly #connections = new Set<Socket>()
  #server: Server | undefined
  /** Questions wait for it. */
  #turn: Promise<void> = Promise.resolve()

  constructor(listening: Listening, handler: UapiHandler) {
    this.#listening = listening
    this.#handler = handler
  }

  open(): Promise<void> {
    const server = createServer({ allowHalfOpen: true }, (socket) => this.#serve(socket, this.#handler))
    this.#server = server
    return new Promise((resolve, reject) => {
      server.once('error', reject)
      server.listen({ fd: this.#listening.dup(this.#listening.fd) }, resolve)
    })
  }

  /** New connections wait in the kernel, questions of the others here, until what it answers is called. */
  hold(): () => Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#turn = promise
    this.#server?.close()
    return async () => {
      await this.open()
      resolve()
    }
  }

  /** Lets go of the socket, but not of the descriptor; what was answered is still sent. */
  close(): void {
    this.#server?.close()
    for (const socket of this.#connections) socket.destroySoon()
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
          await this.#turn
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
  if (operation.is === 'replace') return handler.replace(operation.command)
  return renderErrno(operation.is === 'set' ? await handler.set(operation.change) : operation.errno)
}

/**
 * The descriptor of a socket at a path that only we may connect to; a stale socket there is replaced. It gets its
 * name once it listens: `wg` removes one that does not.
 */
export function atPath(path: string, listen: (path: string) => number): number {
  mkdirSync(dirname(path), { recursive: true, mode: 0o755 })
  const fresh = `${path}.new`
  rmSync(fresh, { force: true })
  const umask = process.umask(0o077)
  let fd: number
  try {
    fd = listen(fresh)
  } finally {
    process.umask(umask)
  }
  renameSync(fresh, path)
  return fd
}

/** Calls `removed` once when the file at `path` is no longer the one that is there now. */
export function whenRemoved(path: string, removed: () => void): { close(): void } {
  const inode = inodeOf(path)
  const look = (): void => {
    if (inode !== undefined && inodeOf(path) === inode) return
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
  look()
  return { close }
}

const inodeOf = (path: string): number | undefined => lstatSync(path, { throwIfNoEntry: false })?.ino
