/**
 * The AEAD of transport packets: ChaCha20-Poly1305 (RFC 8439) with the nonce of the paper (section 5.4.6: four
 * zero bytes, then the counter, little endian) and no associated data, in place, in one big memory.
 * `memory` is always the same arena, so that an implementation may work by address. Interface only.
 */
export interface Aead {
  /** `key` is 32 bytes; the implementation keeps what it needs and no reference to it. */
  prepare(key: Uint8Array): AeadKey
}

export interface AeadKey {
  /** Encrypts `length` bytes at `offset` in place and writes the 16-byte tag right after them. */
  seal(memory: Uint8Array, offset: number, length: number, counter: number): void
  /**
   * Checks and decrypts in place; `length` includes the tag. False, with the bytes unspecified, where the tag
   * does not fit.
   */
  open(memory: Uint8Array, offset: number, length: number, counter: number): boolean
  /** Forgets the key. */
  close(): void
}

export const TAG_LENGTH = 16
