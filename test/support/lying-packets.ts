/**
 * Inner packets that lie, for fuzzers: valid TSO, USO and plain packets with a virtio header, and runs of TCP or UDP
 * as a peer sends them, some of whose lengths, offsets, protocols and flags are then changed. `Arena` lays packets
 * out so that a step outside of them shows: guards around, nothing behind, and two fillings whose results must agree.
 */
import type { SeededRandom } from './ports.ts'

export interface Shape {
  readonly v4: boolean
  readonly tcp: boolean
  /** Words of TCP options. */
  readonly options: number
  readonly payload: number
}

const virtio = 10

function transportOf({ v4 }: Shape): number {
  return virtio + (v4 ? 20 : 40)
}

/** A virtio header and a whole packet of its shape; `gsoSize` 0 for one without offload. */
export function honestPacket(random: SeededRandom, shape: Shape, gsoSize: number, sequence = 1): Uint8Array {
  const transport = transportOf(shape)
  const own = shape.tcp ? 20 + shape.options * 4 : 8
  const bytes = new Uint8Array(transport + own + shape.payload)
  const view = new DataView(bytes.buffer)
  const length = bytes.length - virtio
  bytes[0] = 1
  bytes[1] = gsoSize === 0 ? 0 : shape.tcp ? (shape.v4 ? 1 : 4) : 5
  view.setUint16(4, gsoSize, true)
  view.setUint16(6, transport - virtio, true)
  view.setUint16(8, shape.tcp ? 16 : 6, true)
  if (shape.v4) {
    bytes.set([0x45, 0, length >> 8, length, 0, sequence & 255, 0x40, 0, 64, shape.tcp ? 6 : 17], virtio)
    bytes.set([10, 0, 0, 1, 10, 0, 0, 2], virtio + 12)
    view.setUint16(virtio + 10, ~sumOf(bytes, virtio, 20, 0) & 0xffff)
  } else {
    bytes.set([0x60, 0, 0, 0, (length - 40) >> 8, length - 40, shape.tcp ? 6 : 17, 64], virtio)
    bytes.set([0xfd, 1], virtio + 8)
    bytes.set([0xfd, 2], virtio + 24)
  }
  view.setUint16(transport, 1000)
  view.setUint16(transport + 2, 2000)
  if (shape.tcp) {
    view.setUint32(transport + 4, sequence)
    bytes[transport + 12] = (own / 4) << 4
    bytes[transport + 13] = 0x10
  } else view.setUint16(transport + 4, length - transport + virtio)
  for (let at = transport + own; at < bytes.length; at++) bytes[at] = random.below(256)
  return bytes
}

/** The same with a good checksum, as a peer sends it. */
export function completed(shape: Shape, bytes: Uint8Array): Uint8Array {
  const transport = transportOf(shape)
  const view = new DataView(bytes.buffer)
  const field = transport + (shape.tcp ? 16 : 6)
  const own = bytes.length - transport
  const addresses = sumOf(bytes, shape.v4 ? virtio + 12 : virtio + 8, shape.v4 ? 8 : 32, 0)
  const sum = ~sumOf(bytes, transport, own, addresses + (shape.tcp ? 6 : 17) + own) & 0xffff
  view.setUint16(field, sum === 0 ? 0xffff : sum)
  return bytes
}

/** RFC 1071 in network order. */
function sumOf(bytes: Uint8Array, at: number, length: number, start: number): number {
  let sum = start
  for (let index = 0; index < length; index += 2)
    sum += ((bytes[at + index] ?? 0) << 8) + (index + 1 < length ? (bytes[at + index + 1] ?? 0) : 0)
  while (sum > 0xffff) sum = (sum & 0xffff) + Math.floor(sum / 65_536)
  return sum
}

export function randomShape(random: SeededRandom, largest: number): Shape {
  const tcp = random.below(3) > 0
  return {
    v4: random.below(2) === 0,
    tcp,
    options: tcp ? random.below(11) : 0,
    payload: random.below(random.below(4) === 0 ? largest : 60),
  }
}

/** Where headers say something about lengths, offsets, kinds; in both versions of IP. */
const tellingV4 = [0, 2, 3, 6, 7, 9, 12, 16, 24, 25, 32, 33, 36]
const tellingV6 = [0, 4, 5, 6, 8, 24, 44, 45, 52, 53, 56]
const values = [
  0, 1, 2, 4, 5, 6, 8, 15, 16, 17, 20, 28, 39, 40, 41, 0x40, 0x45, 0x46, 0x4f, 0x60, 0x7f, 0x80, 0xff,
]

/** Changes a few bytes that tell something, or any, and at times cuts the packet short. */
export function lie(random: SeededRandom, bytes: Uint8Array): Uint8Array {
  for (let count = random.below(4); count > 0; count--) {
    const telling = (bytes[virtio] ?? 0) >> 4 === 6 ? tellingV6 : tellingV4
    const kind = random.below(4)
    const at =
      kind === 0
        ? random.below(virtio)
        : kind === 3
          ? random.below(bytes.length)
          : virtio + (telling[random.below(telling.length)] ?? 0)
    if (at < bytes.length)
      bytes[at] = random.below(3) === 0 ? random.below(256) : (values[random.below(values.length)] ?? 0)
  }
  return random.below(6) === 0 ? cutShort(random, bytes) : bytes
}

/** Half of them say so. */
function cutShort(random: SeededRandom, bytes: Uint8Array): Uint8Array {
  const v4 = (bytes[virtio] ?? 0) >> 4 === 4
  const length = random.below(random.below(2) === 0 ? bytes.length - virtio + 1 : 70)
  if (random.below(2) === 0 && length >= 40)
    new DataView(bytes.buffer).setUint16(virtio + (v4 ? 2 : 4), v4 ? length : length - 40)
  return bytes.subarray(0, virtio + length)
}

const guard = 128

/** The end of a memory for one run: an area for scratch, and packets behind it, the last of which ends with it. */
export class LyingArena {
  readonly bytes: Uint8Array
  readonly view: DataView
  /** What may be written at any time. */
  readonly area: { readonly at: number; readonly end: number }
  /** Where packets were put, without their virtio headers. */
  readonly packets: { readonly at: number; readonly length: number }[] = []
  readonly #start: number
  readonly #filler: Uint8Array
  #next = 0

  constructor(buffer: ArrayBuffer, sizes: { readonly all: number; readonly area: number }, fill: number) {
    this.bytes = new Uint8Array(buffer)
    this.view = new DataView(buffer)
    this.#start = buffer.byteLength - sizes.all
    this.area = { at: this.#start + guard, end: this.#start + guard + sizes.area }
    this.#filler = new Uint8Array(sizes.all).fill(fill)
  }

  /** Puts packets with their virtio headers. */
  put(packets: readonly Uint8Array[]): void {
    this.bytes.set(this.#filler, this.#start)
    this.packets.length = 0
    this.#next = this.bytes.length
    for (const packet of packets.toReversed()) {
      this.#next -= packet.length
      this.bytes.set(packet, this.#next)
      this.packets.unshift({ at: this.#next + virtio, length: packet.length - virtio })
      this.#next -= guard
    }
  }

  /** Whether anything outside of the area and the packets was written. */
  get touched(): boolean {
    let from = this.area.end
    let intact = this.#intact(this.#start, this.area.at)
    for (const { at, length } of this.packets) {
      intact &&= this.#intact(from, at - virtio)
      from = at + length
    }
    return !(intact && this.#intact(from, this.bytes.length))
  }

  /** Whether bytes lie in one of the packets. */
  holds(at: number, length: number): boolean {
    return this.packets.some((packet) => at >= packet.at - virtio && at + length <= packet.at + packet.length)
  }

  #intact(from: number, to: number): boolean {
    return Buffer.compare(this.bytes.subarray(from, to), this.#filler.subarray(0, to - from)) === 0
  }
}
