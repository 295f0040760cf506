/**
 * What a tunnel process and its successor say to each other over the socket between them: frames of a length, a
 * kind and a body. Pure.
 *
 *   successor: ready (versions that it reads)      it is loaded and waits
 *   predecessor: state                              it has stopped sealing and opening
 *   successor: taken, or refused (why)              taken: the tunnel is the successor's for good
 *
 * Whoever is left when the other one dies goes on: the predecessor unless it has read `taken`, the successor
 * otherwise. So no key and counter are ever used by both.
 */
import { utf8, utf8Text } from '../../model/bytes.ts'

/** Numbers of descriptors that a successor inherits. */
export interface Descriptors {
  readonly tun: number
  /** The UAPI socket that listens. */
  readonly uapi: number
  readonly udp4: number
  /** -1 without IPv6. */
  readonly udp6: number
}

export type Frame =
  | { readonly is: 'ready'; readonly reads: readonly number[] }
  | { readonly is: 'state'; readonly state: Uint8Array }
  | { readonly is: 'taken' }
  | { readonly is: 'refused'; readonly why: string }

const kinds = { ready: 1, state: 2, taken: 3, refused: 4 } as const
const headLength = 5
/** A thousand peers with full queues are less. */
const longest = 1 << 28

export function encodeFrame(frame: Frame): Uint8Array {
  const body = bodyOf(frame)
  const bytes = new Uint8Array(headLength + body.length)
  new DataView(bytes.buffer).setUint32(0, body.length, true)
  bytes[4] = kinds[frame.is]
  bytes.set(body, headLength)
  return bytes
}

function bodyOf(frame: Frame): Uint8Array {
  if (frame.is === 'state') return frame.state
  if (frame.is === 'refused') return utf8(frame.why)
  return frame.is === 'ready' ? Uint8Array.from(frame.reads) : new Uint8Array(0)
}

/** One per channel. What is no frame is a RangeError. */
export class FrameReader {
  #rest = new Uint8Array(0)
  #length = 0

  /** Takes what was read, in pieces of any size; answers the frames that are complete, in order. */
  push(chunk: Uint8Array): readonly Frame[] {
    this.#keep(chunk)
    const frames: Frame[] = []
    let at = 0
    while (this.#length - at >= headLength) {
      const length = new DataView(this.#rest.buffer, at).getUint32(0, true)
      if (length > longest) throw new RangeError('not a frame')
      const end = at + headLength + length
      if (end > this.#length) break
      frames.push(frameOf(this.#rest[at + 4] ?? 0, this.#rest.slice(at + headLength, end)))
      at = end
    }
    this.#rest.copyWithin(0, at, this.#length)
    this.#rest.fill(0, this.#length - at)
    this.#length -= at
    return frames
  }

  #keep(chunk: Uint8Array): void {
    const length = this.#length + chunk.length
    if (length > this.#rest.length) {
      const larger = new Uint8Array(length * 2)
      larger.set(this.#rest)
      this.#rest.fill(0)
      this.#rest = larger
    }
    this.#rest.set(chunk, this.#length)
    this.#length = length
  }
}

function frameOf(kind: number, body: Uint8Array): Frame {
  switch (kind) {
    case kinds.ready:
      return { is: 'ready', reads: [...body] }
    case kinds.state:
      return { is: 'state', state: body }
    case kinds.taken:
      return { is: 'taken' }
    case kinds.refused:
      return { is: 'refused', why: utf8Text(body) ?? '' }
    default:
      throw new RangeError('not a frame')
  }
}

/** The value of DROVER_TUNNEL_SUCCEEDS: the numbers as the successor sees them. */
export const inheritance = ({ udp6 }: Descriptors): string => (udp6 < 0 ? '3,4,5,6' : '3,4,5,6,7')

export interface Inherited {
  readonly channel: number
  readonly descriptors: Descriptors
}

export function inherited(text: string): Inherited | undefined {
  const [channel, tun, uapi, udp4, udp6 = -1, ...more] = text.split(',').map(Number)
  const all = [channel, tun, uapi, udp4, udp6]
  if (more.length > 0 || !all.every((fd) => Number.isInteger(fd))) return undefined
  if (channel === undefined || tun === undefined || uapi === undefined || udp4 === undefined) return undefined
  return { channel, descriptors: { tun, uapi, udp4, udp6 } }
}
