/**
 * Tokens in the store: made, listed, revoked, and used up by compare-and-swap. The store is not trusted: only
 * what this host has signed is a token, and what was used stays used although somebody puts old bytes back.
 */
import { type TokenRecord, tokenSchema } from '../../model/admission.ts'
import { hex } from '../../model/bytes.ts'
import { DroverError } from '../../model/errors.ts'
import type { Keys } from '../../model/keys.ts'
import type { Clock, Ledger, Random, Sealer } from '../../model/ports.ts'
import { decodeRecord, type HostId } from '../../model/records.ts'
import { type Instant, later, type Millis, minutes } from '../../model/time.ts'
import { openEnvelope, verifyEnvelope } from '../../pki/envelope.ts'
import { digestOf, isSecret } from '../../pki/token.ts'
import type { Entry, Store } from '../../store/store.ts'

export interface TokensDeps {
  readonly store: Store
  readonly ledger: Ledger
  readonly sealer: Sealer
  readonly clock: Clock
  readonly random: Random
}

export interface TokensOptions {
  readonly keys: Keys
  /** Of this host: whoever holds the CA makes the tokens. */
  readonly signingKey: string
}

export interface NewToken {
  readonly record: TokenRecord
  readonly secret: string
}

interface Standing {
  readonly entry: Entry
  readonly record: TokenRecord
}

/** For a machine that was killed before it had the answer: the same one may ask again. */
const resumable = minutes(10)
const tries = 20
/** In the ledger, in the place of the hosts that came in. */
const revoked = 'revoked'

export class Tokens {
  readonly #deps: TokensDeps
  readonly #options: TokensOptions

  constructor(deps: TokensDeps, options: TokensOptions) {
    this.#deps = deps
    this.#options = options
  }

  async create(options: { readonly ttl: Millis; readonly uses: number }): Promise<NewToken> {
    const { clock, random, store } = this.#deps
    const secret = Buffer.from(random.bytes(16)).toString('base64url')
    const now = clock.now()
    const record: TokenRecord = {
      id: hex(random.bytes(8)),
      digest: digestOf(secret),
      createdAt: now,
      expiresAt: later(now, options.ttl),
      uses: options.uses,
      usedBy: [],
    }
    const { is } = await store.transact([{ key: this.#key(record.id), is: 'absent' }], [this.#put(record)])
    // Somebody's bytes lie there: another number.
    return is === 'done' ? { record, secret } : this.create(options)
  }

  /** Those that can still be used, or asked for again; expired ones are swept. */
  async list(): Promise<readonly TokenRecord[]> {
    const { store, clock } = this.#deps
    const { entries } = await store.list(this.#options.keys.tokens)
    const found = entries.flatMap((entry) => this.#read(entry) ?? [])
    const over = found.filter(({ expiresAt }) => expiresAt <= clock.now())
    for (const { id } of over) await this.#remove(id)
    return found.filter((record) => !over.includes(record))
  }

  async revoke(id: string): Promise<boolean> {
    const { store } = this.#deps
    const there = (await store.get(this.#key(id))) !== undefined
    if (there) await this.#remove(id)
    return there
  }

  /** Spends one use for the host; rejects with TOKEN_REFUSED. The same host may come twice with one use. */
  async redeem(id: string, secret: string, host: HostId): Promise<void> {
    for (let attempt = 0; attempt < tries; attempt++) {
      const { entry, record } = await this.#usable(id, secret)
      const usedBy = [...new Set([...record.usedBy, ...this.#remembered(id)])]
      if (usedBy.includes(host)) return
      if (usedBy.length >= record.uses) throw refused('it was used')
      const now = [...usedBy, host]
      if (await this.#spend(entry, { ...record, usedBy: now })) {
        this.#deps.ledger.write(new Map([[`token/${id}`, now.join(' ')]]))
        return
      }
    }
    throw new DroverError('STORE_UNAVAILABLE', 'too many hosts join at once')
  }

  async #usable(id: string, secret: string): Promise<Standing> {
    const { store, clock } = this.#deps
    const entry = /^[0-9a-f]{16}$/.test(id) ? await store.get(this.#key(id)) : undefined
    const record = entry === undefined ? undefined : this.#read(entry)
    if (entry === undefined || record === undefined) throw refused('there is no such token')
    if (!isSecret(secret, record.digest)) throw refused('its secret is wrong')
    if (record.expiresAt <= clock.now()) throw refused('it has expired')
    return { entry, record }
  }

  async #spend({ key, revision }: Entry, record: TokenRecord): Promise<boolean> {
    const spent = record.usedBy.length >= record.uses
    const soon = later(this.#deps.clock.now(), resumable)
    const expiresAt = (spent ? Math.min(record.expiresAt, soon) : record.expiresAt) as Instant
    const { is } = await this.#deps.store.transact(
      [{ key, is: 'revision', revision }],
      [this.#put({ ...record, expiresAt })],
    )
    return is === 'done'
  }

  /** Undefined for what this host did not sign. */
  #read({ key, value }: Entry): TokenRecord | undefined {
    const opened = openEnvelope(value)
    if (opened.is === 'bad' || !verifyEnvelope(opened.value, key, this.#options.signingKey)) return undefined
    const decoded = decodeRecord(tokenSchema, opened.value.body)
    return decoded.is === 'ok' && this.#key(decoded.value.id) === key ? decoded.value : undefined
  }

  async #remove(id: string): Promise<void> {
    await this.#deps.store.transact([], [{ is: 'delete', key: this.#key(id) }])
    // Against old bytes that somebody puts back.
    this.#deps.ledger.write(new Map([[`token/${id}`, revoked]]))
  }

  #remembered(id: string): readonly HostId[] {
    const text = this.#deps.ledger.entries().get(`token/${id}`) ?? ''
    if (text === revoked) throw refused('it was revoked')
    return text === '' ? [] : (text.split(' ') as HostId[])
  }

  #key(id: string): string {
    return this.#options.keys.token(id)
  }

  #put(record: TokenRecord) {
    const key = this.#key(record.id)
    return { is: 'put', key, value: this.#deps.sealer.seal(key, record) } as const
  }
}

const refused = (why: string): DroverError => new DroverError('TOKEN_REFUSED', why)
