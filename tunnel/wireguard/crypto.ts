/**
 * The primitives of handshakes. BLAKE2s, its MAC, HMAC and key derivation (paper 5.4) are pure and live here;
 * X25519 and the two AEADs come in as `Crypto`, because their library loads itself asynchronously.
 */
export interface Crypto {
  /** The public key of a 32-byte private key, which is clamped first. */
  publicKey(privateKey: Uint8Array): Uint8Array
  /** X25519; undefined where the result is all zero (a point of low order). */
  shared(privateKey: Uint8Array, publicKey: Uint8Array): Uint8Array | undefined
  /** ChaCha20-Poly1305 with a nonce of four zero bytes and `counter`. */
  seal(key: Uint8Array, counter: number, plain: Uint8Array, data: Uint8Array): Uint8Array
  open(key: Uint8Array, counter: number, sealed: Uint8Array, data: Uint8Array): Uint8Array | undefined
  /** XChaCha20-Poly1305 with a 24-byte nonce. */
  sealExtended(key: Uint8Array, nonce: Uint8Array, plain: Uint8Array, data: Uint8Array): Uint8Array
  openExtended(
    key: Uint8Array,
    nonce: Uint8Array,
    sealed: Uint8Array,
    data: Uint8Array,
  ): Uint8Array | undefined
}
