/**
 * A UDP socket for servers, in batches: many questions come with one system call, and their answers leave with one,
 * each by the message header that its question came in, gathered from up to three places of the arena. Answers
 * leave from the address that the socket is bound to. Never blocks; what the kernel refuses to send is lost.
 */
import { errors, type Libc } from './ffi.ts'
import { inetRoom as nameSize, writeInet } from './listener.ts'

export interface ReplyOptions {
  /** The local IPv4 address. */
  readonly address: number
  /** Datagrams in one batch. */
  readonly slots: number
  /** Longer datagrams are cut, and told apart by `isWhole`. */
  readonly room: number
  /** In bytes, for each direction; forced where the process may. */
  readonly buffer: number
}

const level = { socket: 1 }
const option = { SO_SNDBUF: 7, SO_RCVBUF: 8, SO_SNDBUFFORCE: 32, SO_RCVBUFFORCE: 33 }
const headerSize = 64 // struct mmsghdr
const iovecSize = 16
const pieces = 3
const truncated = 0x20 // MSG_TRUNC
const dontWait = 0x40 // MSG_DONTWAIT
const pollIn = 1 // POLLIN

export class ReplySocket {
  /** Where the datagram of the first slot lies in the arena; the others follow, `room` bytes each. */
  readonly data: number
  readonly room: number
  readonly slots: number
  readonly #libc: Libc
  readonly #options: ReplyOptions
  readonly #headers: number
  readonly #names: number
  readonly #iovecs: number
  readonly #poll: number
  /** Slots that have an answer, of this batch. */
  readonly #ready: Uint8Array

  constructor(libc: Libc, options: ReplyOptions) {
    this.#libc = libc
    this.#options = options
    const { slots, room } = options
    this.slots = slots
    this.room = room
    const { arena } = libc
    this.data = arena.take(slots * room)
    this.#headers = arena.take(slots * headerSize)
    this.#names = arena.take(slots * nameSize)
    this.#iovecs = arena.take(slots * pieces * iovecSize)
    this.#poll = arena.take(8)
    this.#ready = new Uint8Array(slots)
    for (let slot = 0; slot < slots; slot++) {
      const header = this.#headers + slot * headerSize
      arena.point(header, this.#names + slot * nameSize, nameSize)
      arena.point(header + 16, this.#iovecOf(slot), pieces * iovecSize)
      arena.point(this.#iovecOf(slot), this.data + slot * room, room)
    }
  }

  /** A bound socket, or a negative error; whoever opens it closes it. */
  open(port: number): number {
    const fd = this.#libc.socket(2, 2 | 0o2000000 | 0o4000, 0)
    if (fd < 0) return fd
    this.#name(0, this.#options.address, port)
    const bound = this.#libc.bind(fd, this.#names, nameSize)
    if (bound < 0) {
      this.#libc.close(fd)
      return bound
    }
    for (const name of ['RCVBUF', 'SNDBUF'] as const) {
      const { buffer } = this.#options
      if (this.#libc.setOption(fd, level.socket, option[`SO_${name}FORCE`], buffer) < 0)
        this.#libc.setOption(fd, level.socket, option[`SO_${name}`], buffer)
    }
    return fd
  }

  /** Another descriptor of the socket, to answer by when the first one is closed; `close` ends it. */
  dup(fd: number): number {
    return this.#libc.dup(fd)
  }

  close(fd: number): void {
    this.#libc.close(fd)
  }

  /** Sends one datagram that is no answer of the present batch. */
  sendOne(fd: number, bytes: Uint8Array, address: number, port: number): void {
    if (!this.put(bytes, address, port)) return
    this.#libc.sendTo(fd, this.data, bytes.length, dontWait, this.#names, nameSize)
  }

  /** Puts a datagram that came another way into the first slot; false when it is too long. */
  put(bytes: Uint8Array, address: number, port: number): boolean {
    if (bytes.length > this.room) return false
    const { arena } = this.#libc
    arena.bytes.set(bytes, this.data)
    arena.u32[(this.#headers + 56) >> 2] = bytes.length
    arena.u32[(this.#headers + 48) >> 2] = 0
    this.#name(0, address, port)
    this.#ready[0] = 0
    return true
  }

  /** Receives what is there into the slots from `from` on; how many, none when there is nothing or on an error. */
  receive(fd: number, from: number): number {
    const { u32 } = this.#libc.arena
    const count = this.slots - from
    for (let slot = from; slot < this.slots; slot++) {
      const header = (this.#headers + slot * headerSize) >> 2
      u32[header + 2] = nameSize
      u32[header + 6] = 1
      u32[(this.#iovecOf(slot) + 8) >> 2] = this.room
    }
    const got = this.#libc.receiveMany(fd, this.#headers + from * headerSize, count, dontWait)
    if (got <= 0) return 0
    this.#ready.fill(0, from, from + got)
    return got
  }

  /** Blocks until a datagram is there, for a millisecond at most; whether one is. */
  waitBriefly(fd: number): boolean {
    const { view } = this.#libc.arena
    view.setInt32(this.#poll, fd, true)
    view.setUint32(this.#poll + 4, pollIn, true)
    return this.#libc.poll(this.#poll, 1, 1) > 0
  }

  at(slot: number): number {
    return this.data + slot * this.room
  }

  length(slot: number): number {
    return this.#libc.arena.u32[(this.#headers + slot * headerSize + 56) >> 2] ?? 0
  }

  isWhole(slot: number): boolean {
    return ((this.#libc.arena.u32[(this.#headers + slot * headerSize + 48) >> 2] ?? 0) & truncated) === 0
  }

  /** The sender's address as a number. */
  address(slot: number): number {
    const { bytes } = this.#libc.arena
    const at = this.#names + slot * nameSize + 4
    return (
      (((bytes[at] ?? 0) << 24) |
        ((bytes[at + 1] ?? 0) << 16) |
        ((bytes[at + 2] ?? 0) << 8) |
        (bytes[at + 3] ?? 0)) >>>
      0
    )
  }

  port(slot: number): number {
    return this.#libc.arena.view.getUint16(this.#names + slot * nameSize + 2)
  }

  /** The answer for a slot: the first `head` bytes of its own datagram, then two pieces from elsewhere. */
  reply(slot: number, head: number, bodyAt: number, body: number, endAt: number, end: number): void {
    const { arena } = this.#libc
    const header = (this.#headers + slot * headerSize) >> 2
    const iovec = this.#iovecOf(slot)
    arena.u32[(iovec + 8) >> 2] = head
    arena.point(iovec + 16, bodyAt, body)
    arena.u32[(iovec + 24) >> 2] = body
    if (end > 0) {
      arena.point(iovec + 32, endAt, end)
      arena.u32[(iovec + 40) >> 2] = end
    }
    arena.u32[header + 2] = nameSize
    arena.u32[header + 6] = end > 0 ? 3 : 2
    this.#ready[slot] = 1
  }

  /** Sends the answers of the first `count` slots. */
  send(fd: number, count: number): void {
    for (let slot = 0; slot < count; ) {
      if (this.#ready[slot] !== 1) {
        slot++
        continue
      }
      let end = slot + 1
      while (end < count && this.#ready[end] === 1) end++
      slot = this.#sendRun(fd, slot, end)
    }
  }

  #sendRun(fd: number, from: number, end: number): number {
    const sent = this.#libc.sendMany(fd, this.#headers + from * headerSize, end - from, dontWait)
    if (sent > 0) return from + sent
    if (sent === -errors.EINTR) return from
    // Full: the others would be refused as well. Anything else is about this one alone.
    return sent === -errors.EAGAIN ? end : from + 1
  }

  #iovecOf(slot: number): number {
    return this.#iovecs + slot * pieces * iovecSize
  }

  #name(slot: number, address: number, port: number): void {
    writeInet(this.#libc, this.#names + slot * nameSize, address, port)
  }
}
