/**
 * Generic netlink, one request at a time on a socket of its own. The kernel does what it is asked, and queues its
 * answer, within the call that asks; so nothing here ever waits. It knows no family but the one that names all
 * others (genetlink's `nlctrl`).
 */
import { attribute, attributeMap, textBytes, unsignedIn } from './attributes.ts'
import { errors, type Libc } from './ffi.ts'

export interface NetlinkRequest {
  /** Its number, as `family` says it. */
  readonly family: number
  readonly command: number
  readonly attributes: Uint8Array
  /** `dump`: the answer comes in many messages. */
  readonly kind: 'do' | 'dump'
}

export type NetlinkAnswer =
  /** The attributes of each message. */
  | { readonly is: 'done'; readonly messages: readonly Uint8Array[] }
  | { readonly is: 'refused'; readonly errno: number }

/** What it takes of the arena. */
export const netlinkRoom = 128 * 1024

const netlinkFamily = 16 // AF_NETLINK
const rawSocket = 3 | 0o2000000 | 0o4000 // SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK
const genericNetlink = 16
const headSize = 16
const genericHeadSize = 4
const requestRoom = 32 * 1024
/** The kernel fills at most 32 KiB at a time. */
const answerRoom = 64 * 1024
const type = { error: 2, done: 3, first: 16 }
const flag = { request: 1, ack: 4, interrupted: 0x10, dump: 0x300 }
const controller = { family: 16, getFamily: 3, familyId: 1, familyName: 2 }
/** A dump during which something changed is read again, this often. */
const attempts = 3

export class GenericNetlink {
  readonly #libc: Libc
  readonly #out: number
  readonly #in: number

  constructor(libc: Libc) {
    this.#libc = libc
    this.#out = libc.arena.take(requestRoom)
    this.#in = libc.arena.take(answerRoom)
  }

  /** The number of a family; undefined where the kernel has none. The kernel loads its module if there is one. */
  family(name: string): number | undefined {
    const answer = this.request({
      family: controller.family,
      command: controller.getFamily,
      attributes: attribute(controller.familyName, textBytes(name)),
      kind: 'do',
    })
    const [message] = answer.is === 'done' ? answer.messages : []
    return message && unsignedIn(attributeMap(message).get(controller.familyId))
  }

  request(request: NetlinkRequest): NetlinkAnswer {
    for (let attempt = 1; ; attempt++) {
      const answer = this.#once(request)
      if (answer.is !== 'refused' || answer.errno !== errors.EINTR || attempt === attempts) return answer
    }
  }

  #once(request: NetlinkRequest): NetlinkAnswer {
    const fd = this.#libc.socket(netlinkFamily, rawSocket, genericNetlink)
    if (fd < 0) return { is: 'refused', errno: -fd }
    try {
      const sent = this.#libc.write(fd, this.#out, this.#put(request))
      return sent < 0 ? { is: 'refused', errno: -sent } : this.#answer(fd)
    } finally {
      this.#libc.close(fd)
      // Keys may have been in it.
      this.#libc.arena.bytes.fill(0, this.#out, this.#out + requestRoom)
    }
  }

  #put({ family, command, attributes, kind }: NetlinkRequest): number {
    const { bytes, view } = this.#libc.arena
    const length = headSize + genericHeadSize + attributes.length
    if (length > requestRoom) throw new RangeError('the request does not fit')
    const at = this.#out
    bytes.fill(0, at, at + headSize + genericHeadSize)
    view.setUint32(at, length, true)
    view.setUint16(at + 4, family, true)
    view.setUint16(at + 6, flag.request | (kind === 'dump' ? flag.dump : flag.ack), true)
    view.setUint8(at + headSize, command)
    view.setUint8(at + headSize + 1, 1)
    bytes.set(attributes, at + headSize + genericHeadSize)
    return length
  }

  #answer(fd: number): NetlinkAnswer {
    const messages: Uint8Array[] = []
    for (;;) {
      const length = this.#libc.receive(fd, this.#in, answerRoom, 0)
      if (length < 0) return { is: 'refused', errno: -length }
      const end = this.#read(length, messages)
      if (end !== undefined) return end === 0 ? { is: 'done', messages } : { is: 'refused', errno: end }
    }
  }

  /** Takes the messages of one datagram; answers an errno, 0 for none, when the last one has come. */
  #read(length: number, messages: Uint8Array[]): number | undefined {
    const { bytes, view } = this.#libc.arena
    const stop = this.#in + length
    for (let at = this.#in; at + headSize <= stop; ) {
      const size = view.getUint32(at, true)
      if (size < headSize || at + size > stop) return errors.EIO
      const kind = view.getUint16(at + 4, true)
      if ((view.getUint16(at + 6, true) & flag.interrupted) !== 0) return errors.EINTR
      if (kind === type.error || kind === type.done)
        return size < headSize + 4 ? 0 : -view.getInt32(at + headSize, true)
      if (kind >= type.first && size >= headSize + genericHeadSize)
        messages.push(bytes.slice(at + headSize + genericHeadSize, at + size))
      at += (size + 3) & ~3
    }
    return undefined
  }
}
