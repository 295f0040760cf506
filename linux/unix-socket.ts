/**
 * A unix socket that listens at a path, as a descriptor of our own: Node gives its servers' away to nobody, and a
 * successor inherits it. Node's server listens on a duplicate.
 */
import { DroverError } from '../model/errors.ts'
import type { Libc } from './ffi.ts'

const unixFamily = 1
const stream = 1 | 0o4000 | 0o2000000 // SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC
const pathRoom = 108
const backlog = 128

/** The path must be free; the caller's umask decides who may connect. */
export function listenAt(libc: Libc, path: string): number {
  const name = Buffer.from(path)
  const fail = (step: string, errno: number): DroverError =>
    new DroverError('LISTEN_FAILED', `${step} ${path}: errno ${errno}`, { fields: { errno } })
  if (name.length >= pathRoom) throw fail('bind', 36)
  const address = libc.arena.take(2 + pathRoom)
  libc.arena.view.setUint16(address, unixFamily, true)
  libc.arena.bytes.fill(0, address + 2, address + 2 + pathRoom)
  libc.arena.bytes.set(name, address + 2)
  const fd = libc.socket(unixFamily, stream, 0)
  if (fd < 0) throw fail('socket', -fd)
  const bound = libc.bind(fd, address, 2 + name.length + 1)
  const result = bound < 0 ? bound : libc.listen(fd, backlog)
  if (result >= 0) return fd
  libc.close(fd)
  throw fail(bound < 0 ? 'bind' : 'listen', -result)
}
