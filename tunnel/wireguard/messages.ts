/**
 * The four messages on the wire (paper 5.4): fixed layouts, little endian. Decoding checks type, reserved bytes
 * and length and nothing else; fields are views into what was decoded. Transport headers are read and written
 * in place, without a message object.
 */
export const INITIATION = 1
export const RESPONSE = 2
export const COOKIE_REPLY = 3
export const TRANSPORT = 4

export const INITIATION_LENGTH = 148
export const RESPONSE_LENGTH = 92
export const COOKIE_REPLY_LENGTH = 64
export const TRANSPORT_HEADER = 16
/**
 * The first reserved byte of a transport header. It is 0 towards everybody but peers that know marks; 1 says that
 * the transport checksum of the inner packet holds the sum of its pseudo header only, for the receiver to complete.
 */
export const MARK_CHECKSUM = 1
/** An empty transport message: header and tag. */
export const KEEPALIVE_LENGTH = 32

export interface Initiation {
  readonly is: 'initiation'
  readonly bytes: Uint8Array
  readonly sender: number
  readonly ephemeral: Uint8Array
  readonly sealedStatic: Uint8Array
  readonly sealedTimestamp: Uint8Array
}

export interface Response {
  readonly is: 'response'
  readonly bytes: Uint8Array
  readonly sender: number
  readonly receiver: number
  readonly ephemeral: Uint8Array
  readonly sealedNothing: Uint8Array
}

export interface CookieReply {
  readonly is: 'cookie-reply'
  readonly bytes: Uint8Array
  readonly receiver: number
  readonly nonce: Uint8Array
  readonly sealedCookie: Uint8Array
}

export type HandshakeMessage = Initiation | Response | CookieReply

export function readU32(memory: Uint8Array, at: number): number {
  return (
    ((memory[at] ?? 0) |
      ((memory[at + 1] ?? 0) << 8) |
      ((memory[at + 2] ?? 0) << 16) |
      ((memory[at + 3] ?? 0) << 24)) >>>
    0
  )
}

export function writeU32(memory: Uint8Array, at: number, value: number): void {
  memory[at] = value
  memory[at + 1] = value >>> 8
  memory[at + 2] = value >>> 16
  memory[at + 3] = value >>> 24
}

export function decodeHandshake(bytes: Uint8Array): HandshakeMessage | undefined {
  const type = bytes.length < 4 ? 0 : readU32(bytes, 0)
  if (type === INITIATION && bytes.length === INITIATION_LENGTH) return decodeInitiation(bytes)
  if (type === RESPONSE && bytes.length === RESPONSE_LENGTH) return decodeResponse(bytes)
  if (type === COOKIE_REPLY && bytes.length === COOKIE_REPLY_LENGTH) return decodeCookieReply(bytes)
  return undefined
}

const decodeInitiation = (bytes: Uint8Array): Initiation => ({
  is: 'initiation',
  bytes,
  sender: readU32(bytes, 4),
  ephemeral: bytes.subarray(8, 40),
  sealedStatic: bytes.subarray(40, 88),
  sealedTimestamp: bytes.subarray(88, 116),
})

const decodeResponse = (bytes: Uint8Array): Response => ({
  is: 'response',
  bytes,
  sender: readU32(bytes, 4),
  receiver: readU32(bytes, 8),
  ephemeral: bytes.subarray(12, 44),
  sealedNothing: bytes.subarray(44, 60),
})

const decodeCookieReply = (bytes: Uint8Array): CookieReply => ({
  is: 'cookie-reply',
  bytes,
  receiver: readU32(bytes, 4),
  nonce: bytes.subarray(8, 32),
  sealedCookie: bytes.subarray(32, 64),
})

/** Without its macs: they are zero until `CookieJar.stamp`. */
export function encodeInitiation(message: Omit<Initiation, 'is' | 'bytes'>): Uint8Array {
  const bytes = new Uint8Array(INITIATION_LENGTH)
  writeU32(bytes, 0, INITIATION)
  writeU32(bytes, 4, message.sender)
  bytes.set(message.ephemeral, 8)
  bytes.set(message.sealedStatic, 40)
  bytes.set(message.sealedTimestamp, 88)
  return bytes
}

/** Without its macs. */
export function encodeResponse(message: Omit<Response, 'is' | 'bytes'>): Uint8Array {
  const bytes = new Uint8Array(RESPONSE_LENGTH)
  writeU32(bytes, 0, RESPONSE)
  writeU32(bytes, 4, message.sender)
  writeU32(bytes, 8, message.receiver)
  bytes.set(message.ephemeral, 12)
  bytes.set(message.sealedNothing, 44)
  return bytes
}

export function encodeCookieReply(message: Omit<CookieReply, 'is' | 'bytes'>): Uint8Array {
  const bytes = new Uint8Array(COOKIE_REPLY_LENGTH)
  writeU32(bytes, 0, COOKIE_REPLY)
  writeU32(bytes, 4, message.receiver)
  bytes.set(message.nonce, 8)
  bytes.set(message.sealedCookie, 32)
  return bytes
}

/** `mark` is the first reserved byte; the other two stay zero. */
export function writeTransportHeader(
  memory: Uint8Array,
  at: number,
  receiver: number,
  counter: number,
  mark: number,
): void {
  writeU32(memory, at, TRANSPORT | (mark << 8))
  writeU32(memory, at + 4, receiver)
  writeU32(memory, at + 8, counter >>> 0)
  writeU32(memory, at + 12, Math.floor(counter / 2 ** 32))
}

/**
 * The counter of a transport header; beyond 2^53 it is not exact, but still larger than any limit. A small integer
 * where it is one, which V8 does not box.
 */
export function readCounter(memory: Uint8Array, at: number): number {
  const low = readU32(memory, at + 8)
  const high = readU32(memory, at + 12)
  return high === 0 && low < 2 ** 31 ? low | 0 : low + high * 2 ** 32
}
