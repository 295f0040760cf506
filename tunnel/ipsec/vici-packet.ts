/**
 * Packets of VICI as they lie in the stream of its socket: a length, a type, where the type has one a name, and a
 * message (strongSwan, src/libcharon/plugins/vici/README.md, "Packet layer"). Sans IO. A stream that does not keep to
 * it is refused for good: there is no way to find the next packet.
 */
import { concat } from '../../model/bytes.ts'
import { DroverError } from '../../model/errors.ts'
import { decodeMessage, encodeMessage, type ViciSection } from './vici-message.ts'

export type ViciPacket =
  | { readonly is: 'request'; readonly name: string; readonly message: ViciSection }
  | { readonly is: 'response'; readonly message: ViciSection }
  /** There is no command of this name. */
  | { readonly is: 'unknownCommand' }
  | { readonly is: 'register'; readonly name: string }
  | { readonly is: 'unregister'; readonly name: string }
  | { readonly is: 'confirm' }
  | { readonly is: 'unknownEvent' }
  | { readonly is: 'event'; readonly name: string; readonly message: ViciSection }

/** In the order of their numbers. */
const kinds = [
  'request',
  'response',
  'unknownCommand',
  'register',
  'unregister',
  'confirm',
  'unknownEvent',
  'event',
] as const

const lengthSize = 4
/** "A maximum of 512 kB". */
const longestPacket = 512 * 1024

export function encodePacket(packet: ViciPacket): Uint8Array {
  const name = 'name' in packet ? packet.name : undefined
  const head = [kinds.indexOf(packet.is)]
  if (name !== undefined) head.push(name.length, ...Buffer.from(name, 'latin1'))
  const body = 'message' in packet ? encodeMessage(packet.message) : new Uint8Array(0)
  const length = head.length + body.length
  if (length > longestPacket) throw new RangeError(`a packet of ${length} bytes`)
  const size = [24, 16, 8, 0].map((shift) => (length >>> shift) & 255)
  return concat(Uint8Array.from([...size, ...head]), body)
}

/** Undefined for what is no packet. `bytes` are without the length. */
export function decodePacket(bytes: Uint8Array): ViciPacket | undefined {
  const is = kinds[bytes[0] ?? kinds.length]
  if (is === undefined) return undefined
  if (is === 'unknownCommand' || is === 'confirm' || is === 'unknownEvent')
    return bytes.length === 1 ? { is } : undefined
  if (is === 'response') {
    const message = decodeMessage(bytes.subarray(1))
    return message && { is, message }
  }
  const end = 2 + (bytes[1] ?? 0)
  if (bytes.length < end) return undefined
  const name = Buffer.from(bytes.subarray(2, end)).toString('latin1')
  if (is === 'register' || is === 'unregister') return bytes.length === end ? { is, name } : undefined
  const message = decodeMessage(bytes.subarray(end))
  return message && { is, name, message }
}

/** Cuts a stream into packets. */
export class ViciReader {
  #rest: Uint8Array = new Uint8Array(0)

  /** The packets that are whole now; IPSEC_PROTOCOL for what is none. */
  push(bytes: Uint8Array): readonly ViciPacket[] {
    const all = this.#rest.length === 0 ? bytes : concat(this.#rest, bytes)
    const packets: ViciPacket[] = []
    let at = 0
    while (all.length - at >= lengthSize) {
      const length = new DataView(all.buffer, all.byteOffset + at, lengthSize).getUint32(0)
      if (length > longestPacket) throw new DroverError('IPSEC_PROTOCOL', `a packet of ${length} bytes`)
      if (all.length - at < lengthSize + length) break
      const packet = decodePacket(all.subarray(at + lengthSize, at + lengthSize + length))
      if (packet === undefined) throw new DroverError('IPSEC_PROTOCOL', 'a packet that is none')
      packets.push(packet)
      at += lengthSize + length
    }
    this.#rest = all.slice(at)
    return packets
  }
}
