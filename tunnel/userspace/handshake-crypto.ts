/**
 * The primitives of handshakes composed of OpenSSL's: X25519 (RFC 7748), ChaCha20-Poly1305 with associated data
 * (RFC 8439 2.8) and XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha-03), in a room of the arena that holds no secret
 * between two calls. Pure but for what it is given.
 */
import type { Arena } from '../../linux/arena.ts'
import { TAG_LENGTH } from '../wireguard/aead.ts'
import { KEY_LENGTH } from '../wireguard/constants.ts'
import { type Crypto, equalSecrets, nonceOf } from '../wireguard/crypto.ts'
import type { Primitives } from './chacha20-poly1305.ts'

/** X25519, by offsets into the arena. */
export interface Curve {
  /** False where the result is all zero. */
  shared(privateAt: number, publicAt: number, to: number): boolean
  publicKey(privateAt: number, to: number): void
}

export interface HandshakeDeps {
  readonly arena: Arena
  readonly primitives: Pick<Primitives, 'chacha20' | 'poly1305'>
  readonly curve: Curve
}

const part = { key: 0, other: 32, result: 64, counter: 96, tag: 112, oneTime: 128, text: 192, size: 4096 }
/** "expa nd 3 2-by te k" (RFC 8439 2.3), which a block of key stream has been added to. */
const constants = [0x61707865, 0x3320646e, 0x79622d32, 0x6b206574] as const
const padded = (length: number): number => (length + 15) & ~15

export class OpensslCrypto implements Crypto {
  readonly #deps: HandshakeDeps
  readonly #at: number

  constructor(deps: HandshakeDeps) {
    this.#deps = deps
    this.#at = deps.arena.take(part.size)
  }

  publicKey(privateKey: Uint8Array): Uint8Array {
    return this.#inRoom(() => {
      this.#deps.curve.publicKey(this.#put(part.key, privateKey, KEY_LENGTH), this.#at + part.result)
      return this.#copy(part.result, KEY_LENGTH)
    })
  }

  shared(privateKey: Uint8Array, publicKey: Uint8Array): Uint8Array | undefined {
    return this.#inRoom(() => {
      const own = this.#put(part.key, privateKey, KEY_LENGTH)
      const other = this.#put(part.other, publicKey, KEY_LENGTH)
      if (!this.#deps.curve.shared(own, other, this.#at + part.result)) return undefined
      return this.#copy(part.result, KEY_LENGTH)
    })
  }

  seal(key: Uint8Array, counter: number, plain: Uint8Array, data: Uint8Array): Uint8Array {
    return this.#inRoom(() => this.#seal(key, nonceOf(counter), plain, data))
  }

  open(key: Uint8Array, counter: number, sealed: Uint8Array, data: Uint8Array): Uint8Array | undefined {
    return this.#inRoom(() => this.#open(key, nonceOf(counter), sealed, data))
  }

  sealExtended(key: Uint8Array, nonce: Uint8Array, plain: Uint8Array, data: Uint8Array): Uint8Array {
    return this.#inRoom(() => this.#seal(this.#subkey(key, nonce), lastOf(nonce), plain, data))
  }

  openExtended(
    key: Uint8Array,
    nonce: Uint8Array,
    sealed: Uint8Array,
    data: Uint8Array,
  ): Uint8Array | undefined {
    return this.#inRoom(() => this.#open(this.#subkey(key, nonce), lastOf(nonce), sealed, data))
  }

  #seal(key: Uint8Array, nonce: Uint8Array, plain: Uint8Array, data: Uint8Array): Uint8Array {
    const text = this.#layOut(key, nonce, plain, data)
    this.#stream(text, text, plain.length, 1)
    const sealed = new Uint8Array(plain.length + TAG_LENGTH)
    sealed.set(this.#deps.arena.bytes.subarray(text, text + plain.length))
    sealed.set(this.#tag(data.length, plain.length), plain.length)
    return sealed
  }

  #open(key: Uint8Array, nonce: Uint8Array, sealed: Uint8Array, data: Uint8Array): Uint8Array | undefined {
    const length = sealed.length - TAG_LENGTH
    if (length < 0) return undefined
    const text = this.#layOut(key, nonce, sealed.subarray(0, length), data)
    if (!equalSecrets(this.#tag(data.length, length), sealed.subarray(length))) return undefined
    this.#stream(text, text, length, 1)
    return this.#deps.arena.bytes.slice(text, text + length)
  }

  /** Key, one-time key, data, and the text behind them; where that lies. */
  #layOut(key: Uint8Array, nonce: Uint8Array, text: Uint8Array, data: Uint8Array): number {
    const whole = part.text + padded(data.length) + padded(text.length) + TAG_LENGTH
    if (whole > part.size) throw new RangeError('longer than any handshake')
    this.#put(part.key, key, KEY_LENGTH)
    this.#put(part.counter + 4, nonce, 12)
    this.#stream(this.#at + part.oneTime, this.#at + part.oneTime, 64, 0)
    this.#put(part.text, data, data.length)
    return this.#put(part.text + padded(data.length), text, text.length)
  }

  /** Over data, text and their lengths, each padded with the zeros that the room is full of. */
  #tag(data: number, text: number): Uint8Array {
    const { arena, primitives } = this.#deps
    const lengths = part.text + padded(data) + padded(text)
    arena.view.setUint32(this.#at + lengths, data, true)
    arena.view.setUint32(this.#at + lengths + 8, text, true)
    const summed = lengths + TAG_LENGTH - part.text
    primitives.poly1305(this.#at + part.text, summed, this.#at + part.oneTime, this.#at + part.tag)
    return this.#copy(part.tag, TAG_LENGTH)
  }

  #stream(from: number, to: number, length: number, block: number): void {
    const counter = this.#at + part.counter
    this.#deps.arena.view.setUint32(counter, block, true)
    this.#deps.primitives.chacha20(from, to, length, this.#at + part.key, counter)
  }

  /**
   * HChaCha20 (draft 2.2): a block of ChaCha20 whose counter and nonce are the first 16 bytes of the long nonce, before
   * its input is added; so that is taken off again.
   */
  #subkey(key: Uint8Array, nonce: Uint8Array): Uint8Array {
    const { view } = this.#deps.arena
    const block = this.#at + part.oneTime
    this.#put(part.key, key, KEY_LENGTH)
    const counter = this.#put(part.counter, nonce.subarray(0, 16), 16)
    this.#deps.primitives.chacha20(block, block, 64, this.#at + part.key, counter)
    const made = new Uint8Array(KEY_LENGTH)
    const words = new DataView(made.buffer)
    for (const [index, constant] of constants.entries()) {
      const word = index * 4
      words.setUint32(word, view.getUint32(block + word, true) - constant, true)
      const added = view.getUint32(counter + word, true)
      words.setUint32(16 + word, view.getUint32(block + 48 + word, true) - added, true)
    }
    this.#wipe()
    return made
  }

  #put(at: number, bytes: Uint8Array, length: number): number {
    if (bytes.length !== length) throw new RangeError(`not ${length} bytes`)
    this.#deps.arena.bytes.set(bytes, this.#at + at)
    return this.#at + at
  }

  #copy(at: number, length: number): Uint8Array {
    return this.#deps.arena.bytes.slice(this.#at + at, this.#at + at + length)
  }

  #inRoom<T>(work: () => T): T {
    try {
      return work()
    } finally {
      this.#wipe()
    }
  }

  #wipe(): void {
    this.#deps.arena.bytes.fill(0, this.#at, this.#at + part.size)
  }
}

/** Behind four bytes of zeros, what HChaCha20 has not taken. */
function lastOf(nonce: Uint8Array): Uint8Array {
  const last = new Uint8Array(12)
  last.set(nonce.subarray(16, 24), 4)
  return last
}
