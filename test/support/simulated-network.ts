/**
 * A network without sockets: nodes with addresses, a link with latency, jitter (and so reordering), loss and
 * duplication, partitions and moved nodes. Seeded and driven by its own time, from event to event; it remembers
 * the last datagrams for whoever has to explain a failure.
 */
import { SeededRandom } from './ports.ts'

export interface Link {
  /** Milliseconds each way. */
  readonly latency: number
  /** Up to this many milliseconds more, drawn per datagram. */
  readonly jitter: number
  /** Shares, 0 to 1. */
  readonly loss: number
  readonly duplication: number
}

export const perfectLink: Link = { latency: 1, jitter: 0, loss: 0, duplication: 0 }

/** A protocol core with its driver: told of datagrams and of its own deadlines. */
export interface Node {
  deliver(bytes: Uint8Array, from: string, now: number): void
  deadline(): number | undefined
  timeout(now: number): void
}

interface Event {
  readonly at: number
  readonly order: number
  readonly action: () => void
}

/** Earliest first; first come, first served among equals. */
class EventQueue {
  readonly #heap: Event[] = []

  get first(): Event | undefined {
    return this.#heap[0]
  }

  push(event: Event): void {
    let at = this.#heap.push(event) - 1
    while (at > 0) {
      const parent = (at - 1) >> 1
      if (!this.#before(at, parent)) break
      this.#swap(at, parent)
      at = parent
    }
  }

  pop(): Event | undefined {
    const first = this.#heap[0]
    const last = this.#heap.pop()
    if (first === undefined || last === undefined || this.#heap.length === 0) return first
    this.#heap[0] = last
    for (let at = 0; ; ) {
      let least = at
      for (const child of [2 * at + 1, 2 * at + 2]) if (this.#before(child, least)) least = child
      if (least === at) return first
      this.#swap(at, least)
      at = least
    }
  }

  #before(one: number, other: number): boolean {
    const a = this.#heap[one]
    const b = this.#heap[other]
    if (a === undefined || b === undefined) return false
    return a.at < b.at || (a.at === b.at && a.order < b.order)
  }

  #swap(one: number, other: number): void {
    const a = this.#heap[one]
    const b = this.#heap[other]
    if (a === undefined || b === undefined) return
    this.#heap[one] = b
    this.#heap[other] = a
  }
}

const TRACE = 60

export class SimulatedNetwork {
  readonly random: SeededRandom
  readonly trace: string[] = []
  link: Link
  /** Sees every datagram; false swallows it. */
  filter: (from: string, to: string, bytes: Uint8Array) => boolean = () => true
  #now = 0
  #order = 0
  readonly #events = new EventQueue()
  readonly #nodes = new Map<string, Node>()

  constructor(seed: number, link: Link = perfectLink) {
    this.random = new SeededRandom(seed)
    this.link = link
  }

  get now(): number {
    return this.#now
  }

  /** Puts a node at an address; whatever was there is gone. */
  place(address: string, node: Node): void {
    this.#nodes.set(address, node)
  }

  clear(address: string): void {
    this.#nodes.delete(address)
  }

  send(from: string, to: string, bytes: Uint8Array): void {
    const passes = this.filter(from, to, bytes)
    const lost = !passes || this.#chance(this.link.loss)
    this.#note(`${from} → ${to} type ${bytes[0]} length ${bytes.length}${lost ? ' LOST' : ''}`)
    if (lost) return
    const copies = this.#chance(this.link.duplication) ? 2 : 1
    for (let copy = 0; copy < copies; copy++) {
      const delay = this.link.latency + this.random.below(this.link.jitter + 1)
      this.at(this.#now + delay, () => this.#nodes.get(to)?.deliver(bytes, from, this.#now))
    }
  }

  /** Does something at a time to come. */
  at(time: number, action: () => void): void {
    this.#events.push({ at: Math.max(time, this.#now), order: this.#order++, action })
  }

  /** Jumps from event to event and from deadline to deadline until `time`. */
  runUntil(time: number): void {
    for (;;) {
      const event = this.#events.first
      const due = this.#earliest()
      const next = Math.min(event?.at ?? time, due?.at ?? time)
      if (next >= time) break
      this.#now = Math.max(this.#now, next)
      if (event !== undefined && event.at <= next) this.#events.pop()?.action()
      else due?.node.timeout(this.#now)
    }
    this.#now = time
  }

  run(duration: number): void {
    this.runUntil(this.#now + duration)
  }

  #earliest(): { at: number; node: Node } | undefined {
    let best: { at: number; node: Node } | undefined
    for (const node of this.#nodes.values()) {
      const at = node.deadline()
      if (at !== undefined && (best === undefined || at < best.at)) best = { at, node }
    }
    return best
  }

  #chance(share: number): boolean {
    return share > 0 && this.random.below(1_000_000) < share * 1_000_000
  }

  #note(line: string): void {
    this.trace.push(`${this.#now.toFixed(0)} ms: ${line}`)
    if (this.trace.length > TRACE) this.trace.shift()
  }
}
