/**
 * The AEAD of transport packets by OpenSSL inside of Node: in place, by address, one context per key and
 * direction. `proven` holds it against a known answer (RFC 8439 2.8.2 has associated data, so the vector is
 * ours, made by libsodium) before it is used; memory that is not the arena's is refused.
 */
import type { Arena } from '../../linux/arena.ts'
import type { EvpContext } from '../../linux/ffi.ts'
import type { Aead, AeadKey } from '../wireguard/aead.ts'

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

  seal(memory: Uint8Array, offset: number, length: number, counter: number): void {
    const at = this.#place(memory, offset, counter)
    if (!this.#sealing.seal(at, length, this.#nonce)) throw new TypeError('OpenSSL does not seal')
  }

  open(memory: Uint8Array, offset: number, length: number, counter: number): boolean {
    if (length < 16) return false
    const at = this.#place(memory, offset, counter)
    return this.#opening.open(at, length - 16, this.#nonce)
  }

  close(): void {
    this.#sealing.close()
    this.#opening.close()
  }

  #place(memory: Uint8Array, offset: number, counter: number): number {
    const base = this.#arena.offsetOf(memory)
    if (base === undefined) throw new RangeError('not the memory of the arena')
    const { view } = this.#arena
    view.setUint32(this.#nonce + 4, counter >>> 0, true)
    view.setUint32(this.#nonce + 8, Math.floor(counter / 2 ** 32), true)
    return base + offset
  }
}

/** Whether an AEAD gives the known answer, opens it again, and refuses a changed one. */
export function proven(aead: Aead, memory: Uint8Array, offset: number): boolean {
  const key = aead.prepare(Uint8Array.from({ length: 32 }, (_, index) => index))
  try {
    for (let index = 0; index < 20; index++) memory[offset + index] = 0xa0 + index
    key.seal(memory, offset, 20, counter)
    const sealed = memory.slice(offset, offset + 36)
    if (!known.every((byte, index) => sealed[index] === byte)) return false
    if (!key.open(memory, offset, 36, counter) || memory[offset + 19] !== 0xb3) return false
    memory.set(sealed, offset)
    memory[offset + 3] = (sealed[3] ?? 0) ^ 1
    return !key.open(memory, offset, 36, counter)
  } catch {
    return false
  } finally {
    key.close()
  }
}

/** Beyond 32 bits, so that both words of the nonce are proven. */
const counter = 0x1_0203_0405
const known = [
  0x91, 0x22, 0xa8, 0x73, 0x77, 0x6e, 0x15, 0x6b, 0x7b, 0xb4, 0xa6, 0x82, 0x60, 0xaf, 0x09, 0xe9, 0x16, 0x63,
  0x4c, 0xf4, 0xde, 0xf4, 0x20, 0x0b, 0x6f, 0x98, 0x33, 0x6a, 0xe1, 0xe2, 0xfc, 0xb7, 0x73, 0xc9, 0x33, 0x3c,
] as const
