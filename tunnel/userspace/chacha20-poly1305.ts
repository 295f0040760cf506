/**
 * ChaCha20-Poly1305 (RFC 8439 2.8) composed of the two primitives, which a packet calls together: a fraction of what
 * EVP costs around them. The one-time key is the first block of the key stream, so one run of ChaCha20 that begins a block
 * before the text yields both: the bytes there are zero for as long as it takes. Pure but for what it is given.
 */
import type { Arena } from '../../linux/arena.ts'
import type { OpensslPrimitives } from '../../linux/openssl.ts'
import { AEAD_BEFORE, type Aead, type AeadKey, KEY_ROOM, TAG_LENGTH } from '../wireguard/aead.ts'

/** What it needs of OpenSSL, by offsets into the arena. */
export type Primitives = Pick<OpensslPrimitives, 'chacha20' | 'poly1305' | 'chacha20Poly1305'>

export interface PrimitiveDeps {
  readonly arena: Arena
  readonly primitives: Primitives
}

/** The parts of a thread's scratch, all of them 16-byte aligned. */
const part = { key: 0, counter: 32, tag: 48, size: 64 }

export class ComposedAead implements Aead {
  readonly #deps: PrimitiveDeps
  readonly #desk: Desk

  constructor(deps: PrimitiveDeps) {
    this.#deps = deps
    this.#desk = { at: deps.arena.take(part.size), key: undefined }
  }

  prepare(key: Uint8Array): AeadKey {
    return new ComposedKey(this.#deps, this.#desk, key)
  }
}

/** Where the key of the last packet lies for the next one. */
interface Desk {
  readonly at: number
  key: ComposedKey | undefined
}

class ComposedKey implements AeadKey {
  readonly #arena: Arena
  readonly #primitives: Primitives
  readonly #desk: Desk
  readonly #key: Uint8Array
  #closed = false

  constructor({ arena, primitives }: PrimitiveDeps, desk: Desk, key: Uint8Array) {
    this.#arena = arena
    this.#primitives = primitives
    this.#desk = desk
    this.#key = Uint8Array.from(key.subarray(0, 32))
  }

  seal(memory: Uint8Array, from: number, length: number, to: number, counter: number): void {
    this.#layOut(memory, counter)
    this.#streamAndSum(from, length, to, to, this.#putLengths(to, length), to + length)
  }

  open(memory: Uint8Array, from: number, length: number, to: number, counter: number): boolean {
    const plain = length - TAG_LENGTH
    if (plain < 0) return false
    this.#layOut(memory, counter)
    return from === to ? this.#openInPlace(from, plain) : this.#verify(from, plain, to)
  }

  close(): void {
    this.#closed = true
    this.#key.fill(0)
    if (this.#desk.key !== this) return
    this.#desk.key = undefined
    this.#arena.bytes.fill(0, this.#desk.at, this.#desk.at + part.size)
  }

  /**
   * ChaCha20 from a block before the text on, whose zeros become the one-time key; with it the sum of what lies at
   * `data`. Text and sealed text are summed where they lie, with the lengths already behind them.
   */
  #streamAndSum(from: number, length: number, to: number, data: number, summed: number, tag: number): void {
    const { at } = this.#desk
    const source = from - AEAD_BEFORE
    const target = to - AEAD_BEFORE
    this.#clear(source)
    const counter = at + part.counter
    this.#primitives.chacha20Poly1305(source, target, AEAD_BEFORE + length, at, counter, data, summed, tag)
  }

  /** The key stream's first block by itself: what is opened must be summed before it is decrypted. */
  #openInPlace(from: number, length: number): boolean {
    const { at } = this.#desk
    const keyAt = from - AEAD_BEFORE
    this.#clear(keyAt)
    this.#primitives.chacha20(keyAt, keyAt, KEY_ROOM, at, at + part.counter)
    if (!this.#verify(from, length, from)) return false
    this.#arena.view.setUint32(at + part.counter, 1, true)
    this.#primitives.chacha20(from, from, length, at, at + part.counter)
    return true
  }

  /**
   * Whether the tag is right; decrypts on the way, unless `to` is `from`, before which its one-time key lies then.
   * Padding and lengths take the place of the tag and of what follows it, for as long as the sum is made. Signed
   * words, because V8 boxes what exceeds 31 bits.
   */
  #verify(from: number, length: number, to: number): boolean {
    const { view } = this.#arena
    const tag = from + length
    const t0 = view.getInt32(tag, true)
    const t1 = view.getInt32(tag + 4, true)
    const t2 = view.getInt32(tag + 8, true)
    const t3 = view.getInt32(tag + 12, true)
    const behind = tag + TAG_LENGTH
    const b0 = view.getInt32(behind, true)
    const b1 = view.getInt32(behind + 4, true)
    const b2 = view.getInt32(behind + 8, true)
    const b3 = view.getInt32(behind + 12, true)
    const made = this.#desk.at + part.tag
    const summed = this.#putLengths(from, length)
    if (to === from) this.#primitives.poly1305(from, summed, from - AEAD_BEFORE, made)
    else this.#streamAndSum(from, length, to, from, summed, made)
    view.setInt32(behind, b0, true)
    view.setInt32(behind + 4, b1, true)
    view.setInt32(behind + 8, b2, true)
    view.setInt32(behind + 12, b3, true)
    // All four words are looked at, whatever the first ones say.
    return (
      ((view.getInt32(made, true) ^ t0) |
        (view.getInt32(made + 4, true) ^ t1) |
        (view.getInt32(made + 8, true) ^ t2) |
        (view.getInt32(made + 12, true) ^ t3)) ===
      0
    )
  }

  /** RFC 8439 2.8: zeros up to a multiple of 16, no associated data, the length. Answers how much is summed. */
  #putLengths(at: number, length: number): number {
    const { view } = this.#arena
    const end = at + length
    const padded = (length + 15) & ~15
    view.setUint32(end, 0, true)
    view.setUint32(end + 4, 0, true)
    view.setUint32(end + 8, 0, true)
    view.setUint32(end + 12, 0, true)
    view.setUint32(at + padded, 0, true)
    view.setUint32(at + padded + 4, 0, true)
    view.setUint32(at + padded + 8, length, true)
    view.setUint32(at + padded + 12, 0, true)
    return padded + 16
  }

  #clear(at: number): void {
    const { view } = this.#arena
    for (let word = at; word < at + KEY_ROOM; word += 4) view.setUint32(word, 0, true)
  }

  /** Key and first block counter, where the primitives read them. */
  #layOut(memory: Uint8Array, counter: number): void {
    const { bytes, view } = this.#arena
    if (memory !== bytes) throw new RangeError('not the memory of the arena')
    if (this.#closed) throw new TypeError('the key is closed')
    const { at } = this.#desk
    if (this.#desk.key !== this) {
      bytes.set(this.#key, at + part.key)
      this.#desk.key = this
    }
    view.setUint32(at + part.counter, 0, true)
    view.setUint32(at + part.counter + 4, 0, true)
    view.setUint32(at + part.counter + 8, counter >>> 0, true)
    view.setUint32(at + part.counter + 12, Math.floor(counter / 2 ** 32), true)
  }
}
