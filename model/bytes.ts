/**
 * Bytes as text and back. Decoders answer undefined for what is not of their alphabet.
 */
const encoder = new TextEncoder()
const decoder = new TextDecoder('utf-8', { fatal: true })

export const utf8 = (text: string): Uint8Array => encoder.encode(text)

export function utf8Text(bytes: Uint8Array): string | undefined {
  try {
    return decoder.decode(bytes)
  } catch {
    return undefined
  }
}

export const base64 = (bytes: Uint8Array): string =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64')

/** `length` bytes from canonical base64 (RFC 4648 section 4), or any number of them when it is not given. */
export function fromBase64(text: string, length?: number): Uint8Array | undefined {
  const bytes = new Uint8Array(Buffer.from(text, 'base64'))
  if (base64(bytes) !== text || (length !== undefined && bytes.length !== length)) return undefined
  return bytes
}

export const hex = (bytes: Uint8Array): string =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('hex')

export function fromHex(text: string, length?: number): Uint8Array | undefined {
  if (!/^([0-9a-fA-F]{2})*$/.test(text)) return undefined
  const bytes = new Uint8Array(Buffer.from(text, 'hex'))
  return length !== undefined && bytes.length !== length ? undefined : bytes
}

export function concat(...parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0))
  let at = 0
  for (const part of parts) {
    whole.set(part, at)
    at += part.length
  }
  return whole
}

export function sameBytes(one: Uint8Array, other: Uint8Array): boolean {
  return one.length === other.length && one.every((byte, at) => byte === other[at])
}
