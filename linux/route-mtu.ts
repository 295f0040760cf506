/**
 * What the kernel knows of the path MTU towards an address: that of the route, or less where an ICMP error said so
 * and is not forgotten yet. Sends nothing. A hint: where ICMP is filtered the kernel learns nothing.
 */
import type { Libc } from './ffi.ts'
import type { UdpAddress } from './messages.ts'

export interface PathHints {
  /** Bytes of the largest IP packet; undefined where there is no route. */
  pathMtu(to: UdpAddress): number | undefined
}

const level = { 4: 0, 6: 41 }
const ipMtu = { 4: 14, 6: 24 }
const nameRoom = 28
/** The length of an address of family AF_UNSPEC. */
const unspecified = 16
const datagram = 2 | 0o2000000

export class RouteMtu implements PathHints {
  readonly #libc: Libc
  readonly #name: number
  /** One for each family, made when it is first needed. */
  readonly #sockets = new Map<4 | 6, number>()

  constructor(libc: Libc) {
    this.#libc = libc
    this.#name = libc.arena.take(nameRoom)
  }

  pathMtu(to: UdpAddress): number | undefined {
    const { family } = to
    const fd = this.#sockets.get(family) ?? this.#libc.socket(family === 4 ? 2 : 10, datagram, 0)
    if (fd < 0) return undefined
    this.#sockets.set(family, fd)
    // let go first: a connected socket keeps the source of its first route
    this.#libc.arena.bytes.fill(0, this.#name, this.#name + nameRoom)
    this.#libc.connect(fd, this.#name, unspecified)
    this.#putName(to)
    const connected = this.#libc.connect(fd, this.#name, family === 4 ? 16 : nameRoom)
    const mtu = connected < 0 ? connected : this.#libc.option(fd, level[family], ipMtu[family])
    return mtu > 0 ? mtu : undefined
  }

  #putName({ family, bytes: address, scope }: UdpAddress): void {
    const { bytes, view } = this.#libc.arena
    const at = this.#name
    bytes.fill(0, at, at + nameRoom)
    view.setUint16(at, family === 4 ? 2 : 10, true)
    bytes.set(address.subarray(-2), at + 2)
    bytes.set(address.subarray(0, -2), at + (family === 4 ? 4 : 8))
    if (family === 6) view.setUint32(at + 24, scope, true)
  }
}
