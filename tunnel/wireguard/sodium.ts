/**
 * libsodium (WebAssembly) as the handshake primitives and as the portable AEAD of transport packets. It works
 * everywhere and copies; the data plane prefers OpenSSL where it can.
 */
import sodium from 'libsodium-wrappers'
import { type Aead, type AeadKey, TAG_LENGTH } from './aead.ts'
import { type Crypto, nonceOf } from './crypto.ts'

/** Waits until the WebAssembly module is there. */
export async function loadSodium(): Promise<{ readonly crypto: Crypto; readonly aead: Aead }> {
  await sodium.ready
  return { crypto: new SodiumCrypto(), aead: { prepare: (key) => new SodiumKey(key) } }
}

const nothing = new Uint8Array(0)

/** libsodium throws where verification fails; that is an answer here. */
function attempt<T>(action: () => T): T | undefined {
  try {
    return action()
  } catch {
    return undefined
  }
}

class SodiumCrypto implements Crypto {
  publicKey(privateKey: Uint8Array): Uint8Array {
    return sodium.crypto_scalarmult_base(privateKey)
  }

  shared(privateKey: Uint8Array, publicKey: Uint8Array): Uint8Array | undefined {
    const secret = attempt(() => sodium.crypto_scalarmult(privateKey, publicKey))
    return secret?.some((byte) => byte !== 0) === true ? secret : undefined
  }

  seal(key: Uint8Array, counter: number, plain: Uint8Array, data: Uint8Array): Uint8Array {
    return sodium.crypto_aead_chacha20poly1305_ietf_encrypt(plain, data, null, nonceOf(counter), key)
  }

  open(key: Uint8Array, counter: number, sealed: Uint8Array, data: Uint8Array): Uint8Array | undefined {
    if (sealed.length < TAG_LENGTH) return undefined
    return attempt(() =>
      sodium.crypto_aead_chacha20poly1305_ietf_decrypt(null, sealed, data, nonceOf(counter), key),
    )
  }

  sealExtended(key: Uint8Array, nonce: Uint8Array, plain: Uint8Array, data: Uint8Array): Uint8Array {
    return sodium.crypto_aead_xchacha20poly1305_ietf_encrypt(plain, data, null, nonce, key)
  }

  openExtended(
    key: Uint8Array,
    nonce: Uint8Array,
    sealed: Uint8Array,
    data: Uint8Array,
  ): Uint8Array | undefined {
    if (sealed.length < TAG_LENGTH) return undefined
    return attempt(() => sodium.crypto_aead_xchacha20poly1305_ietf_decrypt(null, sealed, data, nonce, key))
  }
}

class SodiumKey implements AeadKey {
  readonly #key: Uint8Array

  constructor(key: Uint8Array) {
    this.#key = key.slice()
  }

  seal(memory: Uint8Array, from: number, length: number, to: number, counter: number): void {
    const plain = memory.subarray(from, from + length)
    memory.set(
      sodium.crypto_aead_chacha20poly1305_ietf_encrypt(plain, nothing, null, nonceOf(counter), this.#key),
      to,
    )
  }

  open(memory: Uint8Array, from: number, length: number, to: number, counter: number): boolean {
    if (length < TAG_LENGTH) return false
    const sealed = memory.subarray(from, from + length)
    const plain = attempt(() =>
      sodium.crypto_aead_chacha20poly1305_ietf_decrypt(null, sealed, nothing, nonceOf(counter), this.#key),
    )
    if (plain === undefined) return false
    memory.set(plain, to)
    return true
  }

  close(): void {
    this.#key.fill(0)
  }
}
