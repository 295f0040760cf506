/**
 * Messages in a TCP stream, each with two bytes of length before it (RFC 1035 4.2.2). Pure: chunks in, messages out.
 */
const lengthBytes = 2

/** How long a connection may be quiet: RFC 7766 6.2.3 says a few seconds; told to clients that ask (RFC 7828). */
export const idleTime = 10_000 // ms

export class Frames {
  #rest: Uint8Array = new Uint8Array(0)

  /** The messages that are complete with this chunk. */
  push(chunk: Uint8Array): readonly Uint8Array[] {
    const bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk])
    const messages: Uint8Array[] = []
    let at = 0
    for (;;) {
      const length = ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0)
      const end = at + lengthBytes + length
      if (bytes.length < at + lengthBytes || bytes.length < end) break
      messages.push(bytes.subarray(at + lengthBytes, end))
      at = end
    }
    this.#rest = bytes.slice(at)
    return messages
  }
}

export function framed(message: Uint8Array): Uint8Array {
  const out = Buffer.allocUnsafe(lengthBytes + message.length)
  out.writeUInt16BE(message.length, 0)
  out.set(message, lengthBytes)
  return out
}
