/**
 * The AEAD of transport packets by OpenSSL's EVP: by address, one context per key and direction. Memory that is
 * not the arena's is refused.
 */
import type { Arena } from '../../linux/arena.ts'
import type { EvpContext } from '../../linux/openssl.ts'
import { type Aead, type AeadKey, TAG_LENGTH } from '../wireguard/aead.ts'

export interface EvpDeps {
  readonly arena: Arena
  /** Makes a context whose key lies at an offset. */
  readonly context: (scratch: number, keyAt: number, direction: 'seal' | 'open') => EvpContext
}

export class EvpAead implements Aead {
  readonly #deps: EvpDeps
  /** Nonce at 0, room for OpenSSL's answers at 64, key at 128. */
  readonly #scratch: number

  constructor(deps: EvpDeps) {
    this.#deps = deps
    this.#scratch = deps.arena.take(192)
  }

  prepare(key: Uint8Array): AeadKey {
    const { arena, context } = this.#deps
    const keyAt = this.#scratch + 128
    arena.bytes.set(key.subarray(0, 32), keyAt)
    const made = new EvpKey(
      arena,
      context(this.#scratch + 64, keyAt, 'seal'),
      context(this.#scratch + 64, keyAt, 'open'),
      this.#scratch,
    )
    arena.bytes.fill(0, keyAt, keyAt + 32)
    return made
  }
}

class EvpKey implements AeadKey {
  readonly #arena: Arena
  readonly #sealing: EvpContext
  readonly #opening: EvpContext
  readonly #nonce: number

  constructor(arena: Arena, sealing: EvpContext, opening: EvpContext, nonce: number) {
    this.#arena = arena
    this.#sealing = sealing
    this.#opening = opening
    this.#nonce = nonce
  }

  seal(memory: Uint8Array, from: number, length: number, to: number, counter: number): void {
    this.#number(memory, counter)
    if (!this.#sealing.seal(from, length, to, this.#nonce)) throw new TypeError('OpenSSL does not seal')
  }

  open(memory: Uint8Array, from: number, length: number, to: number, counter: number): boolean {
    if (length < TAG_LENGTH) return false
    this.#number(memory, counter)
    return this.#opening.open(from, length - TAG_LENGTH, to, this.#nonce)
  }

  close(): void {
    this.#sealing.close()
    this.#opening.close()
  }

  #number(memory: Uint8Array, counter: number): void {
    if (memory !== this.#arena.bytes) throw new RangeError('not the memory of the arena')
    const { view } = this.#arena
    view.setUint32(this.#nonce + 4, counter >>> 0, true)
    view.setUint32(this.#nonce + 8, Math.floor(counter / 2 ** 32), true)
  }
}
