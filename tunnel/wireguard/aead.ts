/**
 * The AEAD of transport packets: ChaCha20-Poly1305 (RFC 8439) with the nonce of the paper (section 5.4.6: four
 * zero bytes, then the counter, little endian) and no associated data, from one place of one big memory to
 * another. `memory` is always the same arena, so that an implementation may work by address. Interface only.
 */
export interface Aead {
  /** `key` is 32 bytes; the implementation keeps what it needs and no reference to it. */
  prepare(key: Uint8Array): AeadKey
}

/**
 * `from` and `to` are the same, or the bytes there do not overlap. The AEAD_BEFORE bytes in front of `to` and the
 * AEAD_AFTER bytes behind the result are free for the implementation to use, and so are the first KEY_ROOM of the
 * AEAD_BEFORE bytes in front of `from`; everything else stays as it is.
 */
export interface AeadKey {
  /** Encrypts `length` bytes and writes the 16-byte tag right after them. */
  seal(memory: Uint8Array, from: number, length: number, to: number, counter: number): void
  /**
   * Checks and decrypts; `length` includes the tag, which may be overwritten. False, with the bytes at `to`
   * unspecified, where the tag does not fit.
   */
  open(memory: Uint8Array, from: number, length: number, to: number, counter: number): boolean
  /** Forgets the key. */
  close(): void
}

export const TAG_LENGTH = 16
/** One block of ChaCha20. */
export const AEAD_BEFORE = 64
export const KEY_ROOM = 32
/** Padding of Poly1305 and its block of lengths. */
export const AEAD_AFTER = 32
