/**
 * The OpenSSL inside of Node, by address: ChaCha20, Poly1305 and X25519 themselves, as OpenSSL's own code calls
 * them, one by one or in turn by one call, and its AEAD by EVP. Memory is named by offsets into the arena and checked
 * by it. Where a Node lacks a function, `opensslPrimitives` is undefined. It knows no protocol.
 */
import { arch } from 'node:process'
import koffi from 'koffi'
import type { Arena } from './arena.ts'
import { mapCode } from './ffi.ts'
import { callsInTurn } from './machine-code.ts'

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

/** Throws where this Node does not export one of them. */
const loadPrimitives = () => ({
  chacha20: process.func('void ChaCha20_ctr32(uint64_t, uint64_t, uint64_t, uint64_t, uint64_t)'),
  contextSize: process.func('size_t Poly1305_ctx_size()'),
  init: process.func('void Poly1305_Init(uint64_t, uint64_t)'),
  update: process.func('void Poly1305_Update(uint64_t, uint64_t, uint64_t)'),
  final: process.func('void Poly1305_Final(uint64_t, uint64_t)'),
})

type PrimitiveFunctions = ReturnType<typeof loadPrimitives>

const exported = ((): PrimitiveFunctions | undefined => {
  try {
    return loadPrimitives()
  } catch {
    return undefined
  }
})()

const dlsym = process.func('uint64_t dlsym(uint64_t, const char *)')
const ofTable = koffi.proto('void calls_in_turn(uint64_t)')

/** A packet's calls, with how many parameters each has. */
const inTurn = [
  ['ChaCha20_ctr32', 5],
  ['Poly1305_Init', 2],
  ['Poly1305_Update', 3],
  ['Poly1305_Final', 2],
] as const
/** Where their arguments begin in the table, in words of four bytes: the lower halves of what is passed. */
const argument = {
  chacha20: { to: 0, from: 2, length: 4, key: 6, counter: 8 },
  init: { context: 10, key: 12 },
  update: { context: 14, data: 16, length: 18 },
  final: { context: 20, tag: 22 },
}
const tableSize = 96

type CallsInTurn = (table: number) => void

/** Undefined where this processor has no code for it, or memory cannot be made executable. */
function loadInTurn(): CallsInTurn | undefined {
  const callees = inTurn.map(([name, parameters]) => ({ address: BigInt(dlsym(0, name)), parameters }))
  const code = callees.every(({ address }) => address > 0n) ? callsInTurn(callees, arch) : undefined
  const at = code === undefined ? -1 : mapCode(code)
  return at < 0 ? undefined : (koffi.decode(at, ofTable) as CallsInTurn)
}

/** What this Node's OpenSSL offers; undefined where one of the functions is not exported. */
export function opensslPrimitives(arena: Arena): OpensslPrimitives | undefined {
  return exported && new OpensslPrimitives(arena, exported)
}

/** The same with one call for both; undefined also where `loadInTurn` is, or addresses take more than one word. */
export function fusedPrimitives(arena: Arena): FusedPrimitives | undefined {
  const low = arena.address(arena.bytes.length, 0) < 2 ** 32
  const calls = low ? loadInTurn() : undefined
  return exported && calls && new FusedPrimitives(arena, exported, calls)
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
  protected readonly arena: Arena
  /** The address of Poly1305's state. */
  protected readonly context: number
  readonly #functions: PrimitiveFunctions

  constructor(arena: Arena, functions: PrimitiveFunctions) {
    this.arena = arena
    this.#functions = functions
    const size = functions.contextSize()
    this.context = arena.address(arena.take(size), size)
  }

  /**
   * ChaCha20 (RFC 8439 2.4) over `length` bytes from `from` to `to`, which are the same or do not overlap. Key of
   * 32 bytes; 16 bytes of block counter (32 bits) and nonce.
   */
  chacha20(from: number, to: number, length: number, keyAt: number, counterAt: number): void {
    const { arena } = this
    const target = arena.address(to, length)
    const source = arena.address(from, length)
    const key = arena.address(keyAt, 32)
    this.#functions.chacha20(target, source, length, key, arena.address(counterAt, 16))
  }

  /** The 16 bytes of Poly1305 (RFC 8439 2.5) over `length` bytes, with a one-time key of 32 bytes. */
  poly1305(at: number, length: number, keyAt: number, tagAt: number): void {
    const { arena, context } = this
    const data = arena.address(at, length)
    const tag = arena.address(tagAt, 16)
    this.#functions.init(context, arena.address(keyAt, 32))
    this.#functions.update(context, data, length)
    this.#functions.final(context, tag)
  }

  /** `chacha20`, then `poly1305` of `summed` bytes at `data` with the first 32 bytes at `to` as its key (RFC 8439 2.6). */
  chacha20Poly1305(
    from: number,
    to: number,
    length: number,
    keyAt: number,
    counterAt: number,
    data: number,
    summed: number,
    tagAt: number,
  ): void {
    this.chacha20(from, to, length, keyAt, counterAt)
    this.poly1305(data, summed, to, tagAt)
  }
}

/** The same primitives; what belongs together is one call. */
export class FusedPrimitives extends OpensslPrimitives {
  readonly #callsInTurn: CallsInTurn
  readonly #table: number
  /** The table's first word. */
  readonly #first: number

  constructor(arena: Arena, functions: PrimitiveFunctions, callsInTurn: CallsInTurn) {
    super(arena, functions)
    this.#callsInTurn = callsInTurn
    const at = arena.take(tableSize)
    this.#table = arena.address(at, tableSize)
    this.#first = at >> 2
    arena.bytes.fill(0, at, at + tableSize)
    for (const { context } of [argument.init, argument.update, argument.final])
      arena.u32[this.#first + context] = this.context
  }

  override chacha20Poly1305(
    from: number,
    to: number,
    length: number,
    keyAt: number,
    counterAt: number,
    data: number,
    summed: number,
    tagAt: number,
  ): void {
    const { arena } = this
    const { u32 } = arena
    const first = this.#first
    const { chacha20, init, update, final } = argument
    u32[first + chacha20.to] = arena.address(to, length)
    u32[first + chacha20.from] = arena.address(from, length)
    u32[first + chacha20.length] = length
    u32[first + chacha20.key] = arena.address(keyAt, 32)
    u32[first + chacha20.counter] = arena.address(counterAt, 16)
    u32[first + init.key] = arena.address(to, 32)
    u32[first + update.data] = arena.address(data, summed)
    u32[first + update.length] = summed
    u32[first + final.tag] = arena.address(tagAt, 16)
    this.#callsInTurn(this.#table)
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
