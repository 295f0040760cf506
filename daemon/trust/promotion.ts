/**
 * Gives the key of the CA to another host, at the word of an operator on the one that holds it. Both speak through
 * the store, each step signed; the key travels sealed for a key that the taker made for it a moment ago, and is
 * removed from the store once it has arrived. Nobody else can open it, now or later.
 */
import { type PromotionStep, promotionContext, promotionSchema } from '../../model/admission.ts'
import { hex } from '../../model/bytes.ts'
import type { Environment } from '../../model/environment.ts'
import { DroverError, reasonOf } from '../../model/errors.ts'
import { type Keys, meaningOf } from '../../model/keys.ts'
import type { Clock, Log, Random, Sealer } from '../../model/ports.ts'
import { decodeRecord, type HostId, type HostRecord } from '../../model/records.ts'
import { seconds } from '../../model/time.ts'
import { openEnvelope, verifyEnvelope } from '../../pki/envelope.ts'
import { newReader, type Reader, sealText } from '../../pki/sealed-text.ts'
import type { Store, Update } from '../../store/store.ts'

export interface PromotionDeps {
  readonly store: Store
  readonly sealer: Sealer
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
  readonly environment: () => Environment | undefined
  /** The file of the CA as text; throws where this host does not hold it. */
  readonly give: () => string
  /** Puts the file here; throws where it is of no use. */
  readonly take: (text: string) => void
}

export interface Promoted {
  readonly id: HostId
  readonly name: string
}

interface Attempt {
  readonly nonce: string
  readonly settle: (why: string) => void
}

/** A step that a member has signed. */
interface Heard {
  readonly step: PromotionStep
  readonly by: HostId
  readonly taker: HostId
}

const patience = seconds(20)

export class Promotion {
  readonly #deps: PromotionDeps
  readonly #keys: Keys
  readonly #self: HostId
  /** By the host that is to have the key. */
  readonly #attempts = new Map<HostId, Attempt>()
  /** By the attempt in which this host is to have it. */
  readonly #readers = new Map<string, Reader>()

  constructor(deps: PromotionDeps, options: { readonly keys: Keys; readonly self: HostId }) {
    this.#deps = deps
    this.#keys = options.keys
    this.#self = options.self
  }

  /** By name or id; resolves when the other host has the key on its disk. */
  async promote(which: string): Promise<Promoted> {
    const { give, random, clock, log } = this.#deps
    give()
    const { id, name } = this.#find(which)
    if (this.#attempts.has(id)) throw new DroverError('NOT_NOW', `${name} is being given the key already`)
    const nonce = hex(random.bytes(16))
    const arrived = new Promise<string>((settle) => this.#attempts.set(id, { nonce, settle }))
    const timer = clock.after(patience, () => this.#attempts.get(id)?.settle('it does not answer'))
    try {
      await this.#say(id, { is: 'asked', nonce })
      const why = await arrived
      if (why !== '') throw new DroverError('AUTHORITY_NOT_TAKEN', `${name}: ${why}`)
    } finally {
      timer.cancel()
      this.#attempts.delete(id)
      await this.#forget(id).catch(() => undefined)
    }
    log.info('another host was given the key of the CA', { host: id })
    return { id, name }
  }

  /** What the watch says. */
  observe(update: Update): void {
    if (update.is === 'stale') return
    const entries =
      update.is === 'snapshot'
        ? update.entries
        : update.changes.flatMap((change) => (change.is === 'put' ? [change.entry] : []))
    for (const { key, value } of entries) {
      const heard = key.startsWith(this.#keys.promotions) ? this.#hear(key, value) : undefined
      if (heard !== undefined)
        void this.#answer(heard).catch((error: unknown) =>
          this.#deps.log.warn('the key of the CA could not be passed on', { why: reasonOf(error) }),
        )
    }
  }

  async #answer(heard: Heard): Promise<void> {
    if (heard.taker === this.#self) await this.#answerGiver(heard)
    else if (heard.by === heard.taker) await this.#answerTaker(heard)
  }

  async #answerGiver({ step, by }: Heard): Promise<void> {
    const { nonce } = step
    if (step.is === 'asked' && by !== this.#self) {
      const reader = newReader()
      this.#readers.clear()
      this.#readers.set(nonce, reader)
      await this.#say(this.#self, { is: 'ready', nonce, key: reader.key })
    }
    if (step.is !== 'given') return
    const reader = this.#readers.get(nonce)
    this.#readers.delete(nonce)
    const text = reader?.open(step, promotionContext(by, this.#self, nonce))
    if (text === undefined) return
    const why = this.#taken(text)
    await this.#say(this.#self, why === '' ? { is: 'held', nonce } : { is: 'failed', nonce, why })
  }

  async #answerTaker({ step, taker }: Heard): Promise<void> {
    const attempt = this.#attempts.get(taker)
    if (attempt === undefined || attempt.nonce !== step.nonce) return
    if (step.is === 'held') attempt.settle('')
    if (step.is === 'failed') attempt.settle(step.why)
    if (step.is !== 'ready') return
    const { nonce, key } = step
    const sealed = sealText(this.#deps.give(), key, promotionContext(this.#self, taker, nonce))
    await this.#say(taker, { is: 'given', nonce, ...sealed })
  }

  /** Why the file is of no use here; empty when it was taken. */
  #taken(text: string): string {
    try {
      this.#deps.take(text)
      this.#deps.log.info('this host holds the key of the CA now', {})
      return ''
    } catch (error) {
      return error instanceof DroverError ? error.line : reasonOf(error)
    }
  }

  /** Undefined for what no member has signed. */
  #hear(key: string, value: Uint8Array): Heard | undefined {
    const meaning = meaningOf(this.#keys.prefix, key)
    const opened = openEnvelope(value)
    if (meaning.is !== 'promotion' || opened.is === 'bad') return undefined
    const by = opened.value.key
    const signingKey = this.#deps.environment()?.hosts.get(by)?.record.signingKey
    if (signingKey === undefined || !verifyEnvelope(opened.value, key, signingKey)) return undefined
    const decoded = decodeRecord(promotionSchema, opened.value.body)
    return decoded.is === 'ok' ? { step: decoded.value, by, taker: meaning.host } : undefined
  }

  #find(which: string): HostRecord {
    const hosts = [...(this.#deps.environment()?.hosts.values() ?? [])]
    const found = hosts.filter(({ record: { id, name } }) => id === which || name === which)
    const [host] = found
    if (host === undefined) throw new DroverError('USAGE', `there is no host ${which}; see \`drover hosts\``)
    const { id } = host.record
    if (found.length > 1)
      throw new DroverError(
        'USAGE',
        `several hosts are called ${which}: ${found.map(({ record }) => record.id).join(', ')}`,
      )
    if (id === this.#self) throw new DroverError('NOT_NOW', 'this host holds the key already')
    if (host.alive === undefined)
      throw new DroverError('NOT_NOW', `${which} is away: its daemon must run to take the key`)
    return host.record
  }

  async #say(taker: HostId, step: PromotionStep): Promise<void> {
    const key = this.#keys.promotion(taker)
    const value = this.#deps.sealer.seal(key, step)
    await this.#deps.store.transact([], [{ is: 'put', key, value }])
  }

  async #forget(taker: HostId): Promise<void> {
    await this.#deps.store.transact([], [{ is: 'delete', key: this.#keys.promotion(taker) }])
  }
}
