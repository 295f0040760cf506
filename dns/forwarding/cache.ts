/**
 * Replies of upstreams, kept as long as they say (RFC 1035 TTLs, RFC 2308 for what does not exist) and given out
 * with what is left of it. Bounded in entries and bytes; the least recently asked goes first. Pure: `now` comes in,
 * as time that never goes back.
 */

import type { Millis } from '../../model/time.ts'
import type { Kept } from '../answers/compiled.ts'
import { flags, type Reply, type ResourceRecord, rcodes, readSection, types, u32 } from '../codec/message.ts'
import type { Body } from '../codec/writer.ts'

const day = 86_400 // seconds
/** RFC 2308 5: one to three hours. */
const maxNegative = 3 * 3600 // seconds

/** RFC 8767 5: how long an answer may outlive itself when nobody can be asked, and how long it is then believed. */
const maxStale = day * 1000
const staleTtl = 30 // seconds

/** A reply, free of its transport. */
export interface Stored {
  readonly reply: Reply
  /** Where the question ends in the reply's bytes. */
  readonly end: number
  /** When it came, on the clock that never goes back. */
  readonly at: Millis
  /** Whole seconds it may be kept; 0 for not at all. */
  readonly lifetime: number
}

export function storedReply(reply: Reply, end: number, at: Millis): Stored {
  return { reply, end, at, lifetime: lifetimeOf(reply) }
}

/** More than 31 bits are none (RFC 2181 8). */
const saneTtl = (ttl: number): number => (ttl < 2 ** 31 ? ttl : 0)

/** Whether it has what was asked for, beyond aliases that lead there. */
const isPositive = ({ rcode, answers }: Reply): boolean =>
  rcode === rcodes.NOERROR && answers.some(({ type }) => type !== types.CNAME)

function lifetimeOf(reply: Reply): number {
  const { rcode, answers, authority, bytes } = reply
  if (rcode !== rcodes.NOERROR && rcode !== rcodes.NXDOMAIN) return 0
  const positive = answers.map(({ ttl }) => Math.min(saneTtl(ttl), day))
  if (isPositive(reply)) return Math.min(...positive)
  const soa = authority.find(({ type }) => type === types.SOA)
  if (soa === undefined || soa.dataLength < 20) return 0
  const minimum = u32(bytes, soa.dataAt + soa.dataLength - 4)
  return Math.min(...positive, saneTtl(soa.ttl), minimum, maxNegative)
}

const ageOf = (stored: Stored, now: Millis): number => Math.max(0, Math.floor((now - stored.at) / 1000))

/** Whether it has outlived itself. */
export const isStale = (stored: Stored, now: Millis): boolean =>
  stored.lifetime > 0 && now - stored.at >= stored.lifetime * 1000

/** Of a reply that lives at least this long, the last tenth is for asking again. */
const prefetchFrom = 10 // seconds

/** From when on a question is the occasion to ask again, so that the name never runs out. */
export const refreshAt = ({ at, lifetime }: Stored): number =>
  at + lifetime * (lifetime >= prefetchFrom ? 900 : 1000)

/** As it came; of what does not exist never more than it may be kept, whatever its SOA has (RFC 2308 5). */
const ttlOf = ({ reply, lifetime }: Pick<Stored, 'reply' | 'lifetime'>, ttl: number): number =>
  isPositive(reply) ? saneTtl(ttl) : Math.min(saneTtl(ttl), lifetime)

const left = (ttl: number, age: number, stale: boolean): number => (stale ? staleTtl : Math.max(0, ttl - age))

/** The reply as the body of an answer of ours, with the TTLs that are left. */
export function bodyAt(stored: Stored, now: Millis, authentic: boolean): Body {
  const { reply, end } = stored
  const age = ageOf(stored, now)
  const stale = isStale(stored, now)
  const tail = Buffer.from(reply.bytes.subarray(end, reply.end))
  for (const { ttl, ttlAt } of [...reply.answers, ...reply.authority])
    tail.writeUInt32BE(left(ttlOf(stored, ttl), age, stale), ttlAt - end)
  return {
    flags: flags.RA | (authentic ? reply.flags & flags.AD : 0),
    // An extended code is between us and the upstream (RFC 6891 6.1.3).
    rcode: reply.rcode < 16 ? reply.rcode : rcodes.SERVFAIL,
    answers: reply.answers.length,
    authority: reply.authority.length,
    tail,
    rotating: 0,
  }
}

/** What a compiled answer must know of a stored one: until when, since when, and where its times to live stand. */
export const keptOf = (stored: Stored): Kept => ({
  until: refreshAt(stored),
  since: stored.at,
  ttls: [...stored.reply.answers, ...stored.reply.authority].map(
    ({ ttl, ttlAt }) => [ttlAt - stored.end, ttlOf(stored, ttl)] as const,
  ),
})

/** The records of the answer with the TTLs that are left. */
export function answersAt(stored: Stored, now: Millis): readonly ResourceRecord[] {
  const age = ageOf(stored, now)
  const records = readSection(stored.reply.bytes, stored.reply.answers) ?? []
  const stale = isStale(stored, now)
  return records.map((record) => ({ ...record, ttl: left(ttlOf(stored, record.ttl), age, stale) }))
}

export interface CacheLimits {
  readonly entries: number
  readonly bytes: number
}

/** What a Map entry and its objects cost beside the message, roughly. */
const overhead = 512

export class Cache {
  readonly #limits: CacheLimits
  /** In the order of their last use. */
  readonly #entries = new Map<string, Stored>()
  #bytes = 0

  constructor(limits: CacheLimits) {
    this.#limits = limits
  }

  get size(): number {
    return this.#entries.size
  }

  get bytes(): number {
    return this.#bytes
  }

  /** What is still good. */
  find(key: string, now: Millis): Stored | undefined {
    const stored = this.#used(key, now)
    return stored === undefined || isStale(stored, now) ? undefined : stored
  }

  /** What was good once, for when there is nothing better. */
  findStale(key: string, now: Millis): Stored | undefined {
    return this.#used(key, now)
  }

  #used(key: string, now: Millis): Stored | undefined {
    const stored = this.#entries.get(key)
    if (stored === undefined) return undefined
    this.#entries.delete(key)
    if (now - stored.at >= stored.lifetime * 1000 + maxStale) {
      this.#bytes -= costOf(stored)
      return undefined
    }
    this.#entries.set(key, stored)
    return stored
  }

  keep(key: string, stored: Stored): void {
    this.#remove(key)
    if (stored.lifetime <= 0 || costOf(stored) > this.#limits.bytes) return
    this.#entries.set(key, stored)
    this.#bytes += costOf(stored)
    while (this.#entries.size > this.#limits.entries || this.#bytes > this.#limits.bytes) {
      const [oldest] = this.#entries.keys()
      if (oldest === undefined) return
      this.#remove(oldest)
    }
  }

  clear(): void {
    this.#entries.clear()
    this.#bytes = 0
  }

  #remove(key: string): void {
    const stored = this.#entries.get(key)
    if (stored === undefined) return
    this.#entries.delete(key)
    this.#bytes -= costOf(stored)
  }
}

const costOf = ({ reply }: Stored): number => reply.bytes.length + overhead
