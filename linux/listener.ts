/**
 * A TCP socket bound to an IPv4 address, as a descriptor whose number we know: Node tells nobody those of its own
 * servers, and a successor inherits it. Node's server listens on it, and closes it.
 */
import type { Libc } from './ffi.ts'

const level = { socket: 1 }
const option = { SO_REUSEADDR: 2 }
const stream = 1 | 0o4000 | 0o2000000 // SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC
const inet = 2 // AF_INET

/** Room for a struct sockaddr_in. */
export const inetRoom = 16

/** Writes a struct sockaddr_in. */
export function writeInet({ arena: { view } }: Libc, at: number, address: number, port: number): void {
  view.setUint16(at, inet, true)
  view.setUint16(at + 2, port)
  view.setUint32(at + 4, address)
  view.setUint32(at + 8, 0)
  view.setUint32(at + 12, 0)
}

/** The descriptor, or a negative error. Connections that an earlier socket has left behind are no obstacle. */
export function bindListener(libc: Libc, address: number, port: number): number {
  const fd = libc.socket(inet, stream, 0)
  if (fd < 0) return fd
  const at = libc.arena.take(inetRoom)
  writeInet(libc, at, address, port)
  libc.setOption(fd, level.socket, option.SO_REUSEADDR, 1)
  const bound = libc.bind(fd, at, inetRoom)
  if (bound >= 0) return fd
  libc.close(fd)
  return bound
}
