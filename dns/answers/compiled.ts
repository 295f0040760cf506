/**
 * Compiled answers: from the bytes of a question, as they lie in memory, to the finished bytes behind it. Filled as
 * it is asked. A change makes stale what it can touch and nothing else: names are known by a stamp of when they
 * last changed, so that a small change costs little and a big one nothing. Pure: memory and `now` come in.
 */
import { headerLength } from '../codec/message.ts'
import { labelsOf, type Name } from '../codec/name.ts'

export interface Memory {
  readonly bytes: Uint8Array
  /** The part of `bytes` that is ours. */
  readonly at: number
  readonly length: number
}

/** What one answer consists of, beside the question that it is for. */
export interface Finished {
  /** Flags and response code, as in the header. */
  readonly flags: number
  readonly answers: number
  readonly authority: number
  readonly tail: Uint8Array
  /** How many records of `stride` bytes the tail consists of, which take turns at being first; 0 for none. */
  readonly rotating: number
  /** Where the tail has the serial of the zone; -1 for nowhere. */
  readonly serialAt: number
  /** Whether it holds until its name changes; else until anything does. */
  readonly lasting: boolean
  /** From a cache: when it ends, when it came, and the times to live in it. */
  readonly kept?: Kept
}

export interface Kept {
  readonly until: number
  readonly since: number
  /** Place in the tail and value as it came. */
  readonly ttls: readonly (readonly [at: number, ttl: number])[]
}

export const stride = 16

/** Fields of an entry. */
const field = {
  hash: 0,
  perspective: 1,
  type: 2,
  key: 3,
  keyLength: 4,
  tail: 5,
  tailLength: 6,
  flags: 7,
  counts: 8,
  rotating: 9,
  turn: 10,
  serialAt: 11,
  serial: 12,
  born: 13,
  lasting: 14,
  ttls: 15,
  age: 16,
  room: 17,
  ttlRoom: 18,
} as const
const fields = 19
const stamps = 1 << 16
const optLength = 11
const plainSize = 512
const mostSize = 4096

const lower = Uint8Array.from({ length: 256 }, (_, byte) => (byte >= 0x41 && byte <= 0x5a ? byte + 32 : byte))

/** A multiple for mixing (FNV-1a's prime). */
const prime = 16_777_619
const basis = 0x811c9dc5 | 0

function mixed(hash: number, type: number, perspective: number): number {
  const mixed = Math.imul(hash ^ type ^ Math.imul(perspective, 0x9e3779b1 | 0), 0x85ebca6b | 0)
  return mixed ^ (mixed >>> 15)
}

export class CompiledAnswers {
  /** Of the question that `find` looked at last: where it ends, and whether it has EDNS (2 with DO). */
  end = 0
  edns: 0 | 1 | 2 = 0
  readonly #bytes: Uint8Array
  readonly #memory: Memory
  readonly #limit: number
  readonly #entries: Int32Array
  readonly #times: Float64Array
  readonly #slots: Int32Array
  readonly #changed = new Int32Array(stamps)
  #count = 0
  #top: number
  #generation = 1
  #floor = 0
  #serial = 0
  #nameHash = 0
  #most = 0

  constructor(memory: Memory, { entries }: { readonly entries: number }) {
    this.#memory = memory
    this.#bytes = memory.bytes
    this.#top = memory.at
    this.#limit = entries
    this.#entries = new Int32Array((entries + 1) * fields)
    this.#times = new Float64Array((entries + 1) * 2)
    this.#slots = new Int32Array(2 ** Math.ceil(Math.log2(entries * 2)))
  }

  get size(): number {
    return this.#count
  }

  /**
   * These names, plain and in lower case, are not what they were, and neither is what a search list may have led
   * to them: all that they begin with, label by label.
   */
  change(serial: number, names: Iterable<Name>): void {
    this.#generation += 1
    this.#serial = serial | 0
    for (const name of names) {
      let hash = basis
      for (const label of labelsOf(name)) {
        hash = Math.imul(hash ^ label.length, prime)
        for (let at = 0; at < label.length; at++) hash = Math.imul(hash ^ label.charCodeAt(at), prime)
        this.#changed[hash & (stamps - 1)] = this.#generation
      }
    }
  }

  /** Nothing that was made before counts any more. */
  changeAll(serial: number): void {
    this.#generation += 1
    this.#serial = serial | 0
    this.#floor = this.#generation
  }

  /**
   * The answer for the message at `at`, or -1: there is none, or the message is not one of the plain sort, or its
   * answer would be too long for it.
   */
  find(at: number, length: number, perspective: number, now: number): number {
    const nameEnd = this.#read(at, length)
    if (nameEnd < 0) return -1
    const type = this.#u16(nameEnd)
    const entry = this.#lookup(at + headerLength, nameEnd - 1, type, perspective)
    if (entry === 0 || !this.#isFresh(entry, now, this.#u16(at + 2))) return -1
    const base = entry * fields
    const opt = this.edns === 0 ? 0 : optLength
    if (this.end + (this.#entries[base + field.tailLength] ?? 0) + opt > this.#most) return -1
    return entry
  }

  /** Where the tail of this answer begins this time. */
  tailAt(entry: number): number {
    const entries = this.#entries
    const base = entry * fields
    const at = entries[base + field.tail] ?? 0
    const rotating = entries[base + field.rotating] ?? 0
    if (rotating < 2) return at
    const turn = entries[base + field.turn] ?? 0
    entries[base + field.turn] = turn + 1 === rotating ? 0 : turn + 1
    return at + turn * stride
  }

  tailLength(entry: number): number {
    return this.#entries[entry * fields + field.tailLength] ?? 0
  }

  isKept(entry: number): boolean {
    return (this.#entries[entry * fields + field.ttls] ?? 0) !== 0
  }

  /** Makes the header at `at` that of the answer. */
  writeHeader(at: number, entry: number): void {
    const bytes = this.#bytes
    const base = entry * fields
    const flags = this.#entries[base + field.flags] ?? 0
    const counts = this.#entries[base + field.counts] ?? 0
    bytes[at + 2] = 0x80 | ((bytes[at + 2] ?? 0) & 0x01) | (flags >>> 8)
    bytes[at + 3] = ((bytes[at + 3] ?? 0) & 0x10) | (flags & 0xff)
    bytes[at + 6] = counts >>> 24
    bytes[at + 7] = (counts >>> 16) & 255
    bytes[at + 8] = (counts >>> 8) & 255
    bytes[at + 9] = counts & 255
    bytes[at + 11] = this.edns === 0 ? 0 : 1
  }

  /** Remembers the answer for a question section. */
  keep(question: Uint8Array, perspective: number, finished: Finished): void {
    const length = question.length - 5
    const copies = finished.rotating > 1 ? 2 : 1
    const ttls = finished.kept?.ttls.length ?? 0
    const need = length + finished.tail.length * copies + 1 + ttls * 6
    if (length < 0 || need > this.#memory.length || ttls > 255) return
    if (this.#count >= this.#limit || this.#top + need > this.#memory.at + this.#memory.length) this.#reset()
    const at = this.#top
    this.#nameHash = basis
    for (let index = 0; index < length; index++) {
      const byte = lower[question[index] ?? 0] ?? 0
      this.#bytes[at + index] = byte
      this.#nameHash = Math.imul(this.#nameHash ^ byte, prime)
    }
    const type = ((question[length + 1] ?? 0) << 8) | (question[length + 2] ?? 0)
    const found = this.#lookup(at, at + length, type, perspective)
    this.#fill(found === 0 ? this.#add(length, type, perspective) : found, finished, copies)
  }

  #fill(entry: number, finished: Finished, copies: number): void {
    const entries = this.#entries
    const base = entry * fields
    const { tail, kept } = finished
    const at = this.#room(base + field.tail, base + field.room, tail.length * copies)
    for (let copy = 0; copy < copies; copy++) this.#bytes.set(tail, at + copy * tail.length)
    entries[base + field.tailLength] = tail.length
    entries[base + field.flags] = finished.flags
    entries[base + field.counts] = (finished.answers << 16) | finished.authority
    entries[base + field.rotating] = finished.rotating
    entries[base + field.turn] = finished.rotating > 1 ? 1 : 0
    entries[base + field.serialAt] = finished.serialAt
    entries[base + field.serial] = this.#serial
    entries[base + field.born] = this.#generation
    entries[base + field.lasting] = finished.lasting ? 1 : 0
    if (kept === undefined) entries[base + field.ttls] = 0
    else this.#writeTtls(base, kept)
    entries[base + field.age] = -1
    this.#times[entry * 2] = kept?.until ?? Number.POSITIVE_INFINITY
    this.#times[entry * 2 + 1] = kept?.since ?? 0
  }

  /** Where `length` bytes of an entry go: where they were, if they fit. */
  #room(at: number, room: number, length: number): number {
    const entries = this.#entries
    if ((entries[at] ?? 0) === 0 || (entries[room] ?? 0) < length) {
      entries[at] = this.#take(length)
      entries[room] = length
    }
    return entries[at] ?? 0
  }

  #writeTtls(base: number, { ttls }: Kept): void {
    const at = this.#room(base + field.ttls, base + field.ttlRoom, 1 + ttls.length * 6)
    this.#bytes[at] = ttls.length
    for (const [index, [place, ttl]] of ttls.entries()) {
      const here = at + 1 + index * 6
      this.#bytes[here] = place >>> 8
      this.#bytes[here + 1] = place & 255
      this.#putU32(here + 2, ttl)
    }
  }

  /** Reads a message of the plain sort: where its name ends, or -1. */
  #read(at: number, length: number): number {
    const bytes = this.#bytes
    const end = at + length
    if (length < headerLength + 5 || ((bytes[at + 2] ?? 0) & 0xf8) !== 0) return -1
    if (bytes[at + 4] !== 0 || bytes[at + 5] !== 1 || bytes[at + 10] !== 0) return -1
    if (((bytes[at + 6] ?? 0) | (bytes[at + 7] ?? 0) | (bytes[at + 8] ?? 0) | (bytes[at + 9] ?? 0)) !== 0)
      return -1
    let hash = basis
    let place = at + headerLength
    for (;;) {
      const size = bytes[place] ?? 0
      if (size === 0) break
      const next = place + 1 + size
      if (size > 63 || next >= end) return -1
      for (; place < next; place++) hash = Math.imul(hash ^ (lower[bytes[place] ?? 0] ?? 0), prime)
    }
    this.#nameHash = hash
    const after = place + 5
    if (after > end || bytes[place + 3] !== 0 || bytes[place + 4] !== 1) return -1
    this.end = after - at
    return this.#readEdns(after, end, bytes[at + 11] ?? 0) ? place + 1 : -1
  }

  #readEdns(at: number, end: number, count: number): boolean {
    const bytes = this.#bytes
    this.edns = 0
    this.#most = plainSize
    if (count === 0) return at === end
    if (count !== 1 || at + optLength !== end) return false
    if (bytes[at] !== 0 || bytes[at + 1] !== 0 || bytes[at + 2] !== 41) return false
    if (((bytes[at + 6] ?? 0) | (bytes[at + 9] ?? 0) | (bytes[at + 10] ?? 0)) !== 0) return false
    this.edns = (bytes[at + 7] ?? 0) >= 0x80 ? 2 : 1
    this.#most = Math.min(Math.max(this.#u16(at + 3), plainSize), mostSize)
    return true
  }

  /** The entry for a name at a place, of which `#nameHash` is the hash; 0 for none. */
  #lookup(from: number, to: number, type: number, perspective: number): number {
    const entries = this.#entries
    const slots = this.#slots
    const mask = slots.length - 1
    const hash = mixed(this.#nameHash, type, perspective)
    for (let slot = hash & mask; ; slot = (slot + 1) & mask) {
      const entry = slots[slot] ?? 0
      if (entry === 0) return 0
      const base = entry * fields
      if (
        entries[base + field.hash] === hash &&
        entries[base + field.type] === type &&
        entries[base + field.perspective] === perspective &&
        entries[base + field.keyLength] === to - from &&
        this.#isName(entries[base + field.key] ?? 0, from, to)
      )
        return entry
    }
  }

  #isName(key: number, from: number, to: number): boolean {
    const bytes = this.#bytes
    for (let at = from; at < to; at++) if (bytes[key + at - from] !== lower[bytes[at] ?? 0]) return false
    return true
  }

  #isFresh(entry: number, now: number, asked: number): boolean {
    const entries = this.#entries
    const base = entry * fields
    const born = entries[base + field.born] ?? 0
    if (born < this.#floor || born < (this.#changed[this.#nameHash & (stamps - 1)] ?? 0)) return false
    if (entries[base + field.lasting] !== 1 && born !== this.#generation) return false
    const ttls = entries[base + field.ttls] ?? 0
    if (ttls !== 0) {
      // What an upstream said about validation is for those who ask about it: not from here.
      if ((asked & 0x30) !== 0 || this.edns === 2 || now >= (this.#times[entry * 2] ?? 0)) return false
      this.#growOld(entry, ttls, now)
    }
    if ((entries[base + field.serialAt] ?? -1) >= 0 && entries[base + field.serial] !== this.#serial) {
      entries[base + field.serial] = this.#serial
      this.#putU32((entries[base + field.tail] ?? 0) + (entries[base + field.serialAt] ?? 0), this.#serial)
    }
    return true
  }

  /** Writes the times to live that are left, once a second. */
  #growOld(entry: number, ttls: number, now: number): void {
    const bytes = this.#bytes
    const base = entry * fields
    const age = Math.max(0, Math.floor((now - (this.#times[entry * 2 + 1] ?? 0)) / 1000))
    if (this.#entries[base + field.age] === age) return
    this.#entries[base + field.age] = age
    const tail = this.#entries[base + field.tail] ?? 0
    for (let index = 0; index < (bytes[ttls] ?? 0); index++) {
      const at = ttls + 1 + index * 6
      const ttl = this.#u16(at + 2) * 65_536 + this.#u16(at + 4)
      this.#putU32(tail + this.#u16(at), Math.max(0, ttl - age))
    }
  }

  /** A new entry whose name lies at the top of the memory. */
  #add(length: number, type: number, perspective: number): number {
    this.#count += 1
    const entry = this.#count
    const base = entry * fields
    this.#entries.fill(0, base, base + fields)
    const hash = mixed(this.#nameHash, type, perspective)
    this.#entries[base + field.hash] = hash
    this.#entries[base + field.perspective] = perspective
    this.#entries[base + field.type] = type
    this.#entries[base + field.key] = this.#take(length)
    this.#entries[base + field.keyLength] = length
    const mask = this.#slots.length - 1
    let slot = hash & mask
    while (this.#slots[slot] !== 0) slot = (slot + 1) & mask
    this.#slots[slot] = entry
    return entry
  }

  #reset(): void {
    this.#count = 0
    this.#slots.fill(0)
    this.#top = this.#memory.at
  }

  #take(length: number): number {
    const at = this.#top
    this.#top += length
    return at
  }

  #u16(at: number): number {
    return ((this.#bytes[at] ?? 0) << 8) | (this.#bytes[at + 1] ?? 0)
  }

  #putU32(at: number, value: number): void {
    this.#bytes[at] = value >>> 24
    this.#bytes[at + 1] = (value >>> 16) & 255
    this.#bytes[at + 2] = (value >>> 8) & 255
    this.#bytes[at + 3] = value & 255
  }
}
