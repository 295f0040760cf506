/**
 * Questions in batches, as they lie in memory: what is compiled is answered where it lies, the rest goes through the
 * resolver. Knows no system call: `ReplySocket` receives and sends.
 */
import type { Arena } from '../../linux/arena.ts'
import type { ReplySocket } from '../../linux/replies.ts'
import type { Ipv4 } from '../../model/ip.ts'
import type { Clock } from '../../model/ports.ts'
import { emptyOpt } from '../codec/writer.ts'
import type { CompiledAnswers } from './compiled.ts'
import type { Resolver } from './resolver.ts'

/** What a batch needs of the socket. */
export type Replies = Pick<
  ReplySocket,
  | 'slots'
  | 'room'
  | 'open'
  | 'put'
  | 'receive'
  | 'waitBriefly'
  | 'at'
  | 'length'
  | 'isWhole'
  | 'address'
  | 'port'
  | 'reply'
  | 'send'
  | 'sendOne'
  | 'dup'
  | 'close'
>

export interface BatchDeps {
  readonly arena: Arena
  readonly socket: Replies
  readonly compiled: CompiledAnswers
  readonly resolver: Resolver
  readonly clock: Clock
}

/** For an answer that was not there at once. */
export type SendLater = (message: Uint8Array, address: Ipv4, port: number) => void

/** Batches in a row before the thread looks at its other work. */
const rounds = 4
/** While questions come closer together than this, waiting for the next one here is cheaper than in the event loop. */
const brisk = 0.25 // ms between two
/** How long the other work of the thread may be kept waiting for that. */
const stay = 1 // ms

export class Batches {
  readonly #deps: BatchDeps
  readonly #opts: number
  /** When the last datagrams came, and how far apart they come. */
  #last = 0
  #gap = 1
  /** Questions whose answers come later. */
  #underWay = 0
  #settled: (() => void) | undefined

  constructor(deps: BatchDeps) {
    this.#deps = deps
    const plain = emptyOpt(false)
    this.#opts = deps.arena.take(plain.length * 2)
    deps.arena.bytes.set(plain, this.#opts)
    deps.arena.bytes.set(emptyOpt(true), this.#opts + plain.length)
  }

  open(port: number): number {
    return this.#deps.socket.open(port)
  }

  /** A descriptor for what is still under way when the first one is closed. */
  keep(fd: number): number {
    return this.#deps.socket.dup(fd)
  }

  sendLate(fd: number, message: Uint8Array, address: Ipv4, port: number): void {
    this.#deps.socket.sendOne(fd, message, address, port)
  }

  /** Closes a kept descriptor once nothing is under way any more. */
  async release(fd: number): Promise<void> {
    if (this.#underWay > 0)
      await new Promise<void>((resolve) => {
        this.#settled = resolve
      })
    this.#deps.socket.close(fd)
  }

  /** One datagram that came by itself, and all that lie behind it. */
  receive(fd: number, first: { bytes: Uint8Array; address: Ipv4; port: number }, later: SendLater): void {
    const { socket } = this.#deps
    if (!socket.put(first.bytes, first.address, first.port)) return
    this.#drain(fd, 1 + socket.receive(fd, 1), later)
  }

  /**
   * Goes on while questions come one upon the other; then the event loop is the better place to wait. Whether it is
   * to be called again, once the other work of the thread has had its turn.
   */
  linger(fd: number, later: SendLater): boolean {
    const { socket, clock } = this.#deps
    const until = clock.boot() + stay
    while (this.#gap < brisk) {
      if (!socket.waitBriefly(fd)) {
        this.#gap = 1
        return false
      }
      this.#drain(fd, socket.receive(fd, 0), later)
      if (this.#last > until) return true
    }
    return false
  }

  #drain(fd: number, first: number, later: SendLater): void {
    const { socket, clock } = this.#deps
    let count = first
    for (let left = rounds; left > 0 && count > 0; left--) {
      const now = clock.boot()
      this.#gap += (Math.min(now - this.#last, 1) / count - this.#gap) / 8
      this.#last = now
      this.#answer(count, now, later)
      socket.send(fd, count)
      count = count < socket.slots || left === 1 ? 0 : socket.receive(fd, 0)
    }
  }

  #answer(count: number, now: number, later: SendLater): void {
    const { socket, compiled, resolver } = this.#deps
    for (let slot = 0; slot < count; slot++) {
      if (!socket.isWhole(slot)) continue
      const at = socket.at(slot)
      const perspective = resolver.perspectiveOf(socket.address(slot) as Ipv4)
      const entry = perspective < 0 ? -1 : compiled.find(at, socket.length(slot), perspective, now)
      if (entry < 0) this.#resolve(slot, later)
      else this.#reply(slot, at, entry)
    }
  }

  #reply(slot: number, at: number, entry: number): void {
    const { socket, compiled, resolver } = this.#deps
    const { edns } = compiled
    compiled.writeHeader(at, entry)
    const opt = this.#opts + (edns === 2 ? 11 : 0)
    const tail = compiled.tailLength(entry)
    socket.reply(slot, compiled.end, compiled.tailAt(entry), tail, opt, edns === 0 ? 0 : 11)
    resolver.answeredElsewhere(compiled.isKept(entry) ? 'cached' : 'local')
  }

  #resolve(slot: number, later: SendLater): void {
    const { socket, resolver, arena } = this.#deps
    const at = socket.at(slot)
    const address = socket.address(slot) as Ipv4
    const port = socket.port(slot)
    const answer = resolver.respond(arena.bytes.subarray(at, at + socket.length(slot)), address, 'udp')
    if (answer instanceof Promise) void this.#send(answer, (message) => later(message, address, port))
    else if (answer !== undefined && answer.length <= socket.room) {
      arena.bytes.set(answer, at)
      socket.reply(slot, answer.length, at, 0, at, 0)
    }
  }

  async #send(answer: Promise<Uint8Array>, later: (message: Uint8Array) => void): Promise<void> {
    this.#underWay += 1
    later(await answer)
    this.#underWay -= 1
    if (this.#underWay === 0) this.#settled?.()
  }
}
