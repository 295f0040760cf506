/**
 * The way of a datagram without a socket: as the DNS thread takes it, compiled answers first.
 */
import { Batches, type Replies } from '../../dns/answers/batches.ts'
import { CompiledAnswers } from '../../dns/answers/compiled.ts'
import type { Resolver } from '../../dns/answers/resolver.ts'
import { Arena } from '../../linux/arena.ts'
import type { Ipv4 } from '../../model/ip.ts'
import type { Clock } from '../../model/ports.ts'

const room = 4096
const compiledRoom = 1 << 18

/** Slots in memory; what is sent is kept. */
class MemorySocket implements Replies {
  readonly slots = 1
  readonly room = room
  sent: Uint8Array | undefined
  readonly #arena: Arena
  readonly #data: number
  #length = 0
  #address = 0
  #answer: Uint8Array | undefined

  constructor(arena: Arena) {
    this.#arena = arena
    this.#data = arena.take(room)
  }

  open(): number {
    return 3
  }

  dup(): number {
    return 4
  }

  close(): void {}

  sendOne(): void {}

  put(bytes: Uint8Array, address: number): boolean {
    if (bytes.length > room) return false
    this.#arena.bytes.set(bytes, this.#data)
    this.#length = bytes.length
    this.#address = address
    this.#answer = undefined
    return true
  }

  receive(): number {
    return 0
  }

  waitBriefly(): boolean {
    return false
  }

  at(): number {
    return this.#data
  }

  length(): number {
    return this.#length
  }

  isWhole(): boolean {
    return true
  }

  address(): number {
    return this.#address
  }

  port(): number {
    return 5353
  }

  reply(_slot: number, head: number, bodyAt: number, body: number, endAt: number, end: number): void {
    const { bytes } = this.#arena
    const piece = (at: number, length: number): Uint8Array => bytes.subarray(at, at + length)
    this.#answer = Buffer.concat([piece(this.#data, head), piece(bodyAt, body), piece(endAt, end)])
  }

  send(): void {
    this.sent = this.#answer
  }
}

/** No secret at all. */
export const testCookies = (clock: Clock) => ({ clock, hash: (bytes: Uint8Array) => bytes.slice(-8) })

/** Memory for compiled answers, small enough to fill up. */
export function compiledIn(arena: Arena, entries = 200): CompiledAnswers {
  const memory = { bytes: arena.bytes, at: arena.take(compiledRoom), length: compiledRoom }
  return new CompiledAnswers(memory, { entries })
}

export const testArena = (): Arena => new Arena(0, new ArrayBuffer(compiledRoom + 8192))

/** What becomes of one datagram: at once, later, or nothing. */
export class DatagramWay {
  readonly #socket: MemorySocket
  readonly #batches: Batches

  constructor(given: { arena: Arena; compiled: CompiledAnswers; resolver: Resolver; clock: Clock }) {
    this.#socket = new MemorySocket(given.arena)
    this.#batches = new Batches({ ...given, socket: this.#socket })
  }

  /** The answer, at once or later; a promise that stays one where none is due. */
  respond(bytes: Uint8Array, from: Ipv4): Uint8Array | Promise<Uint8Array> {
    this.#socket.sent = undefined
    const late = Promise.withResolvers<Uint8Array>()
    this.#batches.receive(3, { bytes, address: from, port: 5353 }, late.resolve)
    return this.#socket.sent ?? late.promise
  }
}
