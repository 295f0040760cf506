/**
 * The OpenSSL inside of Node, by address: ChaCha20, Poly1305 and X25519 themselves, as OpenSSL's own code calls
 * them, and its AEAD by EVP. Memory is named by offsets into the arena and checked by it. Where a Node lacks a function,
 * `opensslPrimitives` is undefined. It knows no protocol.
 */
import koffi from 'koffi'
import type { Arena } from './arena.ts'

const process = koffi.load(null)

const evp = {
  newContext: process.func('uint64_t EVP_CIPHER_CTX_new()'),
  freeContext: process.func('void EVP_CIPHER_CTX_free(uint64_t)'),
  chacha: process.func('uint64_t EVP_chacha20_poly1305()'),
  init: process.func('int EVP_CipherInit_ex(uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, int)'),
  update: process.func('int EVP_CipherUpdate(uint64_t, uint64_t, uint64_t, uint64_t, int)'),
  final: process.func('int EVP_CipherFinal_ex(uint64_t, uint64_t, uint64_t)'),
  ctrl: process.func('int EVP_CIPHER_CTX_ctrl(uint64_t, int, int, uint64_t)'),
} as const

const loadPrimitives = () => ({
  chacha20: process.func('void ChaCha20_ctr32(uint64_t, uint64_t, uint64_t, uint64_t, uint64_t)'),
  contextSize: process.func('size_t Poly1305_ctx_size()'),
  init: process.func('void Poly1305_Init(uint64_t, uint64_t)'),
  update: process.func('void Poly1305_Update(uint64_t, uint64_t, uint64_t)'),
  final: process.func('void Poly1305_Final(uint64_t, uint64_t)'),
})

/** What this Node's OpenSSL offers; undefined where one of the functions is not exported. */
export function opensslPrimitives(arena: Arena): OpensslPrimitives | undefined {
  let functions: ReturnType<typeof loadPrimitives>
  try {
    functions = loadPrimitives()
  } catch {
    return undefined
  }
  return new OpensslPrimitives(arena, functions, arena.take(functions.contextSize()))
}

const loadCurve = () => ({
  shared: process.func('int ossl_x25519(uint64_t, uint64_t, uint64_t)'),
  publicKey: process.func('void ossl_x25519_public_from_private(uint64_t, uint64_t)'),
})

/** X25519 (RFC 7748 5) of this Node's OpenSSL; undefined where it is not exported. */
export function opensslCurve(arena: Arena): OpensslCurve | undefined {
  try {
    return new OpensslCurve(arena, loadCurve())
  } catch {
    return undefined
  }
}

export class OpensslCurve {
  readonly #arena: Arena
  readonly #functions: ReturnType<typeof loadCurve>

  constructor(arena: Arena, functions: ReturnType<typeof loadCurve>) {
    this.#arena = arena
    this.#functions = functions
  }

  /** 32 bytes each; false where the result is all zero: a point of low order. */
  shared(privateAt: number, publicAt: number, to: number): boolean {
    const [result, own] = [this.#arena.address(to, 32), this.#arena.address(privateAt, 32)]
    return this.#functions.shared(result, own, this.#arena.address(publicAt, 32)) === 1
  }

  publicKey(privateAt: number, to: number): void {
    this.#functions.publicKey(this.#arena.address(to, 32), this.#arena.address(privateAt, 32))
  }
}

export class OpensslPrimitives {
  readonly #arena: Arena
  readonly #functions: ReturnType<typeof loadPrimitives>
  readonly #context: number

  constructor(arena: Arena, functions: ReturnType<typeof loadPrimitives>, contextAt: number) {
    this.#arena = arena
    this.#functions = functions
    this.#context = arena.address(contextAt, functions.contextSize())
  }

  /**
   * ChaCha20 (RFC 8439 2.4) over `length` bytes from `from` to `to`, which are the same or do not overlap. Key of
   * 32 bytes; 16 bytes of block counter (32 bits) and nonce.
   */
  chacha20(from: number, to: number, length: number, keyAt: number, counterAt: number): void {
    const arena = this.#arena
    const target = arena.address(to, length)
    const source = arena.address(from, length)
    const key = arena.address(keyAt, 32)
    this.#functions.chacha20(target, source, length, key, arena.address(counterAt, 16))
  }

  /** The 16 bytes of Poly1305 (RFC 8439 2.5) over `length` bytes, with a one-time key of 32 bytes. */
  poly1305(at: number, length: number, keyAt: number, tagAt: number): void {
    const arena = this.#arena
    const data = arena.address(at, length)
    const tag = arena.address(tagAt, 16)
    this.#functions.init(this.#context, arena.address(keyAt, 32))
    this.#functions.update(this.#context, data, length)
    this.#functions.final(this.#context, tag)
  }
}

const getTag = 0x10
const setTag = 0x11

/** A ChaCha20-Poly1305 context of OpenSSL with its key, for one direction. */
export class EvpContext {
  readonly #arena: Arena
  readonly #scratch: number
  readonly #direction: 0 | 1
  #context: number

  /** `scratch`: 64 bytes of the arena that contexts of one thread may share; the key lies at `keyAt`. */
  constructor(arena: Arena, scratch: number, keyAt: number, direction: 'seal' | 'open') {
    this.#arena = arena
    this.#scratch = scratch
    this.#direction = direction === 'seal' ? 1 : 0
    this.#context = evp.newContext()
    const key = arena.address(keyAt, 32)
    if (this.#context === 0 || evp.init(this.#context, evp.chacha(), 0, key, 0, this.#direction) !== 1)
      throw new TypeError('OpenSSL refuses ChaCha20-Poly1305')
  }

  /** Encrypts `length` bytes from `from` to `to`, the same or no overlap, and writes the tag behind. */
  seal(from: number, length: number, to: number, nonceAt: number): boolean {
    const target = this.#arena.address(to, length + 16)
    this.#start(nonceAt)
    return (
      this.#run(this.#arena.address(from, length), target, length) &&
      evp.ctrl(this.#context, getTag, 16, target + length) === 1
    )
  }

  /** Decrypts `length` bytes and checks the tag behind them. */
  open(from: number, length: number, to: number, nonceAt: number): boolean {
    const target = this.#arena.address(to, length)
    const source = this.#arena.address(from, length + 16)
    this.#start(nonceAt)
    return evp.ctrl(this.#context, setTag, 16, source + length) === 1 && this.#run(source, target, length)
  }

  close(): void {
    if (this.#context !== 0) evp.freeContext(this.#context)
    this.#context = 0
  }

  #start(nonceAt: number): void {
    if (this.#context === 0) throw new TypeError('the key is closed')
    evp.init(this.#context, 0, 0, 0, this.#arena.address(nonceAt, 12), this.#direction)
  }

  #run(source: number, target: number, length: number): boolean {
    const done = this.#arena.address(this.#scratch, 64)
    return (
      evp.update(this.#context, target, done, source, length) === 1 &&
      evp.final(this.#context, done + 16, done) === 1
    )
  }
}
