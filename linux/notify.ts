/**
 * sd_notify(3): tells systemd that a service is ready, alive or stopping, by one datagram to a unix socket.
 * Node has no unix datagram sockets, hence libc's. A message that cannot be sent is dropped: systemd then judges
 * by its own time-outs.
 */
import type { Libc } from './ffi.ts'

const unixFamily = 1
const datagram = 2 | 0o2000000 // SOCK_DGRAM | SOCK_CLOEXEC
const pathRoom = 108
const messageRoom = 512
const dontWait = 0x40

export class SystemdNotifier {
  readonly #libc: Libc
  readonly #fd: number
  readonly #address: number
  readonly #addressLength: number
  readonly #message: number

  /** `socket` is NOTIFY_SOCKET: a path, or a name of the abstract namespace that begins with `@`. */
  constructor(libc: Libc, socket: string) {
    this.#libc = libc
    this.#fd = libc.socket(unixFamily, datagram, 0)
    this.#address = libc.arena.take(2 + pathRoom)
    this.#message = libc.arena.take(messageRoom)
    const path = Buffer.from(socket.replace(/^@/, '\0')).subarray(0, pathRoom)
    libc.arena.view.setUint16(this.#address, unixFamily, true)
    libc.arena.bytes.set(path, this.#address + 2)
    this.#addressLength = 2 + path.length
  }

  /** `READY=1`, `WATCHDOG=1`, `STOPPING=1`, `STATUS=…`; several are separated by newlines. */
  tell(message: string): void {
    const bytes = Buffer.from(message).subarray(0, messageRoom)
    this.#libc.arena.bytes.set(bytes, this.#message)
    this.#libc.sendTo(this.#fd, this.#message, bytes.length, dontWait, this.#address, this.#addressLength)
  }

  close(): void {
    this.#libc.close(this.#fd)
  }
}
