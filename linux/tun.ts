/**
 * A TUN device with virtio headers: batches of packets in, batches of gathered packets out. Offloads are probed
 * when it opens and each has its switch. A packet lies at its offset, the ten bytes of the virtio header right
 * before it. Does not look into packets.
 */
import { DroverError } from '../model/errors.ts'
import type { Arena } from './arena.ts'
import { errors, type Libc } from './ffi.ts'

export const virtioHeaderSize = 10
/** What one read may bring: the largest packet of all. */
const packetRoom = 65_536
/** Free bytes before and after a packet that was read. */
const margin = 128

const request = {
  TUNSETIFF: 0x400454ca,
  TUNSETPERSIST: 0x400454cb,
  TUNSETOFFLOAD: 0x400454d0,
  TUNGETIFF: 0x800454d2,
  SIOCGIFMTU: 0x8921,
  SIOCSIFMTU: 0x8922,
  SIOCGIFFLAGS: 0x8913,
  SIOCSIFFLAGS: 0x8914,
}
const flag = { IFF_TUN: 1, IFF_NO_PI: 0x1000, IFF_VNET_HDR: 0x4000, IFF_UP: 1 }
const offload = { CSUM: 1, TSO4: 2, TSO6: 4, USO4: 0x20, USO6: 0x40 }
const ifreqSize = 40

export interface TunOptions {
  readonly name: string
  /** An open descriptor of the device instead of /dev/net/tun. */
  readonly fd?: number | undefined
  /** The device outlives the process. */
  readonly persistent: boolean
  readonly mtu?: number
  readonly tso: boolean
  readonly uso: boolean
  /** Packets in one batch. */
  readonly slots: number
  /** Bytes after which a batch is enough: what is worked on at once should fit the processor's cache. */
  readonly batchBytes: number
}

/** Packets that lie in the arena: `at[i]`, `length[i]` for i < `count`. */
export interface Packets {
  count: number
  readonly at: Uint32Array
  readonly length: Uint32Array
}

/**
 * Packets to write, each gathered of pieces: packet i has the pieces from `end[i - 1]` to `end[i]`; its first
 * piece has its virtio header in front.
 */
export interface Gathered {
  count: number
  readonly end: Uint32Array
  readonly at: Uint32Array
  readonly length: Uint32Array
}

export type TunState = 'works' | 'gone'

export class TunDevice {
  readonly fd: number
  readonly name: string
  readonly offloads: { readonly vnetHeader: boolean; readonly tso: boolean; readonly uso: boolean }
  readonly packets: Packets
  /** Writes that the kernel refused. */
  readonly refused = { count: 0, errno: 0 }
  readonly #libc: Libc
  readonly #header: number
  readonly #iovecs: number
  readonly #request: number
  readonly #batchBytes: number

  constructor(libc: Libc, options: TunOptions) {
    const { arena } = libc
    this.#libc = libc
    this.#request = arena.take(ifreqSize)
    this.#iovecs = arena.take(maxPieces * 16)
    this.fd = options.fd ?? libc.open('/dev/net/tun', 0o2 | 0o2000000)
    if (this.fd < 0) throw deviceError('open', options.name, this.fd)
    const vnetHeader = options.fd === undefined ? this.#create(options) : this.#adopted()
    this.name = textAt(arena, this.#request)
    this.#header = vnetHeader ? virtioHeaderSize : 0
    this.offloads = vnetHeader ? this.#offload(options) : { vnetHeader, tso: false, uso: false }
    libc.setNonBlocking(this.fd)
    if (options.mtu !== undefined) this.setMtu(options.mtu)
    this.#batchBytes = options.batchBytes
    this.packets = slots(arena, options.slots)
  }

  /** Reads what is there, at most one batch, into `packets`. */
  readBatch(): TunState {
    const { packets } = this
    packets.count = 0
    let bytes = 0
    for (let slot = 0; slot < packets.at.length && bytes < this.#batchBytes; slot++) {
      const at = packets.at[slot] ?? 0
      const length = this.#libc.read(this.fd, at - this.#header, packetRoom + this.#header)
      if (length === -errors.EAGAIN || length === -errors.EINTR) break
      if (length < 0) return isGone(length) ? 'gone' : 'works'
      packets.length[slot] = length - this.#header
      packets.count = slot + 1
      bytes += length
    }
    return 'works'
  }

  /** Writes each packet with one system call. What the kernel refuses is counted, the rest goes on. */
  writeBatch(gathered: Gathered): TunState {
    let piece = 0
    for (let packet = 0; packet < gathered.count; packet++) {
      const end = gathered.end[packet] ?? 0
      const result = this.#write(gathered, piece, end)
      piece = end
      if (result >= 0) continue
      if (isGone(result)) return 'gone'
      this.refused.count++
      this.refused.errno = -result
    }
    return 'works'
  }

  mtu(): number {
    if (this.#interfaceRequest(request.SIOCGIFMTU) < 0) return 0
    return this.#libc.arena.view.getInt32(this.#request + 16, true)
  }

  setMtu(mtu: number): void {
    const result = this.#interfaceRequest(request.SIOCSIFMTU, mtu)
    if (result < 0) throw deviceError(`MTU ${mtu}`, this.name, result)
  }

  setUp(): void {
    this.#interfaceRequest(request.SIOCGIFFLAGS)
    const flags = this.#libc.arena.view.getUint16(this.#request + 16, true)
    const result = this.#interfaceRequest(request.SIOCSIFFLAGS, flags | flag.IFF_UP)
    if (result < 0) throw deviceError('up', this.name, result)
  }

  /** Whether the device outlives its last descriptor. */
  setPersistent(persistent: boolean): number {
    return this.#libc.ioctlValue(this.fd, request.TUNSETPERSIST, persistent ? 1 : 0)
  }

  close(): void {
    this.#libc.close(this.fd)
  }

  #create(options: TunOptions): boolean {
    const flags = flag.IFF_TUN | flag.IFF_NO_PI | flag.IFF_VNET_HDR
    this.#putRequest(options.name, flags)
    const made = this.#libc.ioctl(this.fd, request.TUNSETIFF, this.#request, ifreqSize)
    if (made < 0) throw this.#closing('create', options.name, made)
    const kept = this.setPersistent(options.persistent)
    if (kept < 0) throw this.#closing('persist', options.name, kept)
    return true
  }

  #adopted(): boolean {
    const result = this.#libc.ioctl(this.fd, request.TUNGETIFF, this.#request, ifreqSize)
    if (result < 0) throw deviceError('adopt', `descriptor ${this.fd}`, result)
    return (this.#libc.arena.view.getUint16(this.#request + 16, true) & flag.IFF_VNET_HDR) !== 0
  }

  /** Asks for the most first; each refusal gives up one thing. Without any, packets come complete. */
  #offload(options: TunOptions): TunDevice['offloads'] {
    const tso = offload.CSUM | offload.TSO4 | offload.TSO6
    const attempts = [
      { wanted: options.tso && options.uso, bits: tso | offload.USO4 | offload.USO6, tso: true, uso: true },
      { wanted: options.tso, bits: tso, tso: true, uso: false },
      { wanted: true, bits: 0, tso: false, uso: false },
    ]
    for (const attempt of attempts) {
      if (attempt.wanted && this.#libc.ioctlValue(this.fd, request.TUNSETOFFLOAD, attempt.bits) >= 0)
        return { vnetHeader: true, tso: attempt.tso, uso: attempt.uso }
    }
    return { vnetHeader: true, tso: false, uso: false }
  }

  #write(gathered: Gathered, from: number, to: number): number {
    const first = (gathered.at[from] ?? 0) - this.#header
    const firstLength = (gathered.length[from] ?? 0) + this.#header
    if (to - from === 1) return this.#libc.write(this.fd, first, firstLength)
    if (to - from > maxPieces) return -errors.EINVAL
    this.#iovec(0, first, firstLength)
    for (let piece = from + 1; piece < to; piece++)
      this.#iovec(piece - from, gathered.at[piece] ?? 0, gathered.length[piece] ?? 0)
    return this.#libc.writev(this.fd, this.#iovecs, to - from)
  }

  #iovec(index: number, at: number, length: number): void {
    const { arena } = this.#libc
    arena.point(this.#iovecs + index * 16, at, length)
    arena.u32[(this.#iovecs + index * 16 + 8) >> 2] = length
  }

  #putRequest(name: string, flags: number): void {
    const { bytes, view } = this.#libc.arena
    bytes.fill(0, this.#request, this.#request + ifreqSize)
    bytes.set(Buffer.from(name).subarray(0, 15), this.#request)
    view.setUint32(this.#request + 16, flags, true)
  }

  #interfaceRequest(code: number, value = 0): number {
    this.#putRequest(this.name, value)
    const socket = this.#libc.socket(2, 2 | 0o2000000, 0)
    if (socket < 0) return socket
    const result = this.#libc.ioctl(socket, code, this.#request, ifreqSize)
    this.#libc.close(socket)
    return result
  }

  #closing(step: string, name: string, result: number): DroverError {
    this.#libc.close(this.fd)
    return deviceError(step, name, result)
  }
}

/** The most pieces of one packet; the kernel's limit is 1024. */
export const maxPieces = 256

const isGone = (result: number): boolean =>
  result === -errors.EBADFD || result === -errors.EBADF || result === -errors.ENODEV

function slots(arena: Arena, count: number): Packets {
  const at = Uint32Array.from({ length: count }, () => arena.take(packetRoom + 2 * margin) + margin)
  return { count: 0, at, length: new Uint32Array(count) }
}

function textAt(arena: Arena, at: number): string {
  const name = arena.bytes.subarray(at, at + 16)
  return Buffer.from(name.subarray(0, name.indexOf(0))).toString()
}

function deviceError(step: string, name: string, result: number): DroverError {
  return new DroverError('TUNNEL_DEVICE', `${step} ${name}: errno ${-result}`, {
    fields: { interface: name, errno: -result },
  })
}
