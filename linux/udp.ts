/**
 * A UDP socket in batches: one system call receives many datagrams (each perhaps a run of equal segments, GRO),
 * one sends many (runs to one address are handed over as one, GSO). Every offload has its switch, and GSO gives
 * way by itself where a route refuses it; so does a local address that is no longer the host's. Receiving never
 * blocks; sending may, for a second at most.
 */
import { errors, type Libc } from './ffi.ts'
import { MessageTable, nameRoom, type UdpAddress, udpGro } from './messages.ts'
import type { Packets } from './tun.ts'

export interface UdpOptions {
  readonly family: 4 | 6
  /** Bytes of the local address; all of them when it is left out. */
  readonly address?: Uint8Array
  readonly gso: boolean
  readonly gro: boolean
  /** Ends a GSO run of equal segments with a one-byte datagram, for kernels that corrupt such runs. */
  readonly gsoTail: boolean
  /** In bytes, for each direction; forced where the process may. */
  readonly buffer: number
  /** Datagrams (or runs) in one receive. */
  readonly slots: number
}

/** What one receive brought: `packets` lie in the arena, each with its segment size and its sender. */
export interface Received extends Packets {
  /** Size of the segments of a run; equal to `length` for a single datagram. */
  readonly segment: Uint32Array
  /** Where the sender's address lies in the arena: 4 or 16 bytes, in network order. */
  readonly addressAt: Uint32Array
  /** Where the local address lies that it came to; 0 where the kernel does not say. */
  readonly localAt: Uint32Array
  readonly port: Uint32Array
  readonly scope: Uint32Array
}

/** Datagrams to send, in order. */
export interface Outgoing extends Packets {
  readonly to: UdpAddress[]
}

const level = { ip: 0, socket: 1, udp: 17, ipv6: 41 }
const option = {
  IP_PKTINFO: 8,
  IPV6_RECVPKTINFO: 49,
  IP_MTU_DISCOVER: 10,
  IPV6_MTU_DISCOVER: 23,
  SO_SNDBUF: 7,
  SO_RCVBUF: 8,
  SO_SNDBUFFORCE: 32,
  SO_RCVBUFFORCE: 33,
  SO_MARK: 36,
  SO_SNDTIMEO: 21,
  IPV6_V6ONLY: 26,
  UDP_SEGMENT: 103,
  UDP_GRO: udpGro,
}
/**
 * Modes of IP_MTU_DISCOVER. `whole`: nothing is fragmented, what is larger than the kernel knows to pass is refused.
 * `fits`: that is fragmented before it leaves; but runs of segments lose their don't-fragment bit over IPv4.
 */
const discovery = { fits: 1, whole: 2 }
const slotRoom = 65_536
/** Free bytes before and after a datagram that was received. */
const slotMargin = 64
const maxMessages = 64
const maxSegments = 64
/** IPv6 header, UDP header and a little below 65,535. */
const maxRun = 65_000

export class UdpSocket {
  /** -1 while it is not open. */
  fd = -1
  readonly family: 4 | 6
  readonly received: Received
  /** Datagrams that the kernel refused, and why the last one was. */
  readonly refused = { count: 0, errno: 0 }
  readonly #libc: Libc
  readonly #options: UdpOptions
  #gso = false
  #gro = false
  /** While what does not fit is sent once more. */
  #fragments = false
  /** Local addresses that the kernel refused to send from, until something comes to them again. */
  readonly #lost = new Set<string>()
  readonly #receive: MessageTable
  readonly #send: MessageTable
  readonly #tail: number

  constructor(libc: Libc, options: UdpOptions) {
    this.#libc = libc
    this.family = options.family
    this.#options = options
    this.#tail = libc.arena.take(1)
    this.#receive = new MessageTable(libc, options.slots, options.slots)
    this.#send = new MessageTable(libc, maxMessages, maxMessages * 8)
    this.received = receiveSlots(libc, options.family, options.slots, this.#receive)
  }

  /** Binds to a port, 0 for any; what was open before is closed. Answers the port, or a negative error. */
  open(port: number): number {
    this.close()
    const fd = this.#libc.socket(this.family === 4 ? 2 : 10, 2 | 0o2000000, 0)
    if (fd < 0) return fd
    const result = this.#bind(fd, port)
    if (result < 0) {
      this.#libc.close(fd)
      return result
    }
    this.fd = fd
    this.#tune()
    return this.port()
  }

  /** Takes over a socket that is bound. Answers its port, or a negative error. */
  adopt(fd: number): number {
    this.close()
    this.fd = fd
    this.#tune()
    return this.port()
  }

  /** Whether runs are still handed to the kernel as one. */
  get gso(): boolean {
    return this.#gso
  }

  /** Whether runs are received as one. */
  get gro(): boolean {
    return this.#gro
  }

  /** The local port. */
  port(): number {
    const at = this.#send.name(0)
    const result = this.#libc.socketName(this.fd, at, nameRoom)
    if (result < 0) return result
    return this.#libc.arena.view.getUint16(at + 2)
  }

  /** Marks what is sent, for policy routing; 0 takes the mark away. */
  setMark(mark: number): number {
    return this.#libc.setOption(this.fd, level.socket, option.SO_MARK, mark)
  }

  /** Receives what is there, at most one batch, into `received`. */
  receiveBatch(): number {
    const { received } = this
    for (let slot = 0; slot < received.count; slot++) this.#receive.rearm(slot)
    received.count = 0
    const count = this.#libc.receiveMany(this.fd, this.#receive.at, received.at.length, 0x40)
    if (count < 0) return 0
    for (let slot = 0; slot < count; slot++) this.#readMessage(slot)
    received.count = count
    return count
  }

  /** Sends all; what the kernel refuses is counted and left out. */
  sendBatch(outgoing: Outgoing): void {
    let from = 0
    while (from < outgoing.count) from = this.#sendSome(outgoing, from)
  }

  close(): void {
    if (this.fd >= 0) this.#libc.close(this.fd)
    this.fd = -1
  }

  /** Fills the table with runs from `from` on and sends them; returns where to go on. */
  #sendSome(outgoing: Outgoing, from: number): number {
    const table = this.#send
    table.reset()
    let next = from
    while (next < outgoing.count) {
      const end = this.#gso ? runEnd(outgoing, next) : next + 1
      if (!table.fits(end - next + 1)) break
      this.#addRun(outgoing, next, end)
      next = end
    }
    const sent = this.#libc.sendMany(this.fd, table.at, table.count, 0)
    if (sent === -errors.EINTR) return from
    if (sent <= 0) return this.#afterRefusal(outgoing, from, -sent)
    return sent === table.count ? next : table.startOf(sent)
  }

  /**
   * The first run was refused. What does not fit through the path goes as single datagrams, in fragments where
   * need be; a run that was refused for another reason is tried again without GSO, a single one from the address
   * of its route; then it is dropped.
   */
  #afterRefusal(outgoing: Outgoing, from: number, errno: number): number {
    const end = this.#send.endOf(0)
    const tooLarge = errno === errors.EMSGSIZE || (errno === errors.EINVAL && end - from > 1)
    if (tooLarge && !this.#fragments) {
      this.#sendFragmented(outgoing, from, end)
      return end
    }
    if (end - from > 1) {
      if (errno === errors.EIO) this.#gso = false
      this.#sendSingly(outgoing, from, end)
      return end
    }
    if (this.#losesSource(outgoing.to[from], errno)) return from
    this.refused.count++
    this.refused.errno = errno
    return end
  }

  /** Whether the source of a refused datagram is to blame: it is not used any more, so the datagram may be tried again. */
  #losesSource(to: UdpAddress | undefined, errno: number): boolean {
    const source = this.#sourceOf(to)
    if (source === undefined || (errno !== errors.EINVAL && errno !== errors.ENETUNREACH)) return false
    this.#lost.add(source.join())
    return true
  }

  #sourceOf(to: UdpAddress | undefined): Uint8Array | undefined {
    const source = to?.source
    return source !== undefined && this.#lost.size > 0 && this.#lost.has(source.join()) ? undefined : source
  }

  #sendFragmented(outgoing: Outgoing, from: number, end: number): void {
    this.#fragments = true
    this.#discover(discovery.fits)
    this.#sendSingly(outgoing, from, end)
    this.#discover(discovery.whole)
    this.#fragments = false
  }

  #discover(mode: number): void {
    const [layer, name] =
      this.family === 4 ? [level.ip, option.IP_MTU_DISCOVER] : [level.ipv6, option.IPV6_MTU_DISCOVER]
    this.#libc.setOption(this.fd, layer, name, mode)
  }

  #sendSingly(outgoing: Outgoing, from: number, end: number): void {
    const gso = this.#gso
    this.#gso = false
    const part = { ...outgoing, count: end }
    for (let at = from; at < end; ) at = this.#sendSome(part, at)
    this.#gso = gso
  }

  #addRun(outgoing: Outgoing, from: number, end: number): void {
    const table = this.#send
    const first = outgoing.length[from] ?? 0
    table.begin(from, end)
    for (let index = from; index < end; index++)
      table.piece(outgoing.at[index] ?? 0, outgoing.length[index] ?? 0)
    const equal = end - from > 1 && outgoing.length[end - 1] === first
    if (this.#options.gsoTail && equal && first > 1) table.piece(this.#tail, 1)
    const to = outgoing.to[from]
    if (to !== undefined) table.address(to)
    table.finish(end - from > 1 ? first : 0, this.#sourceOf(to))
  }

  #readMessage(slot: number): void {
    const { received } = this
    const { view } = this.#libc.arena
    const length = this.#receive.length(slot)
    received.length[slot] = length
    received.segment[slot] = this.#receive.segment(slot) || length
    const name = this.#receive.name(slot)
    received.port[slot] = view.getUint16(name + 2)
    received.scope[slot] = this.family === 6 ? view.getUint32(name + 24, true) : 0
    const local = this.#receive.local(slot, this.family)
    received.localAt[slot] = local
    if (this.#lost.size > 0 && local > 0) this.#regain(local)
  }

  #regain(local: number): void {
    this.#lost.delete(this.#libc.arena.bytes.subarray(local, local + (this.family === 4 ? 4 : 16)).join())
  }

  #bind(fd: number, port: number): number {
    const { bytes, view } = this.#libc.arena
    const { family, address } = this.#options
    if (family === 6) this.#libc.setOption(fd, level.ipv6, option.IPV6_V6ONLY, 1)
    const at = this.#send.name(0)
    bytes.fill(0, at, at + nameRoom)
    view.setUint16(at, family === 4 ? 2 : 10, true)
    view.setUint16(at + 2, port)
    if (address !== undefined) bytes.set(address, at + (family === 4 ? 4 : 8))
    return this.#libc.bind(fd, at, family === 4 ? 16 : 28)
  }

  #tune(): void {
    const options = this.#options
    const forced = { SO_RCVBUFFORCE: option.SO_RCVBUF, SO_SNDBUFFORCE: option.SO_SNDBUF }
    for (const name of ['SO_RCVBUFFORCE', 'SO_SNDBUFFORCE'] as const) {
      if (this.#libc.setOption(this.fd, level.socket, option[name], options.buffer) < 0)
        this.#libc.setOption(this.fd, level.socket, forced[name], options.buffer)
    }
    const timeout = this.#send.name(0)
    this.#libc.arena.view.setUint32(timeout, 1, true)
    this.#libc.arena.bytes.fill(0, timeout + 4, timeout + 16)
    this.#libc.setOptionAt(this.fd, level.socket, option.SO_SNDTIMEO, timeout, 16)
    this.#gro = options.gro && this.#libc.setOption(this.fd, level.udp, option.UDP_GRO, 1) >= 0
    if (this.family === 4) this.#libc.setOption(this.fd, level.ip, option.IP_PKTINFO, 1)
    else this.#libc.setOption(this.fd, level.ipv6, option.IPV6_RECVPKTINFO, 1)
    // whatever the sysctl: probes of the path MTU tell the truth only where nobody fragments
    this.#discover(discovery.whole)
    this.#gso = options.gso && this.#libc.setOption(this.fd, level.udp, option.UDP_SEGMENT, 0) >= 0
  }
}

/** Where the run that begins at `from` ends: one address, equal lengths, only the last may be shorter. */
function runEnd(outgoing: Outgoing, from: number): number {
  const { length, to, count } = outgoing
  const size = length[from] ?? 0
  let total = size
  let end = from + 1
  while (end < count && end - from < maxSegments && to[end] === to[from]) {
    const next = length[end] ?? 0
    if (next > size || next === 0 || total + next > maxRun || length[end - 1] !== size) break
    total += next
    end++
  }
  return end
}

function receiveSlots(libc: Libc, family: 4 | 6, count: number, table: MessageTable): Received {
  const at = new Uint32Array(count)
  const addressAt = new Uint32Array(count)
  for (let slot = 0; slot < count; slot++) {
    const place = libc.arena.take(slotRoom + 2 * slotMargin) + slotMargin
    at[slot] = place
    table.prepare(slot, place, slotRoom)
    addressAt[slot] = table.name(slot) + (family === 4 ? 4 : 8)
  }
  const column = (): Uint32Array => new Uint32Array(count)
  const columns = { length: column(), segment: column(), localAt: column(), port: column(), scope: column() }
  return { count: 0, at, addressAt, ...columns }
}
