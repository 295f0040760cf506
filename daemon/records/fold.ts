/**
 * Store entries → Environment. A record counts when a member of the environment has signed it for its key and
 * the member's newest head lists it. What does not count changes nothing: what counted under that key goes on.
 * Keeps what was decoded, so that one change costs one decoding. What is refused is counted, and said once.
 */
import type { Environment } from '../../model/environment.ts'
import { type KeyMeaning, type Keys, meaningOf } from '../../model/keys.ts'
import type { Log, Meter } from '../../model/ports.ts'
import { decodeRecord, type HostId, hostSchema, type Settings } from '../../model/records.ts'
import { type Instant, later, seconds } from '../../model/time.ts'
import { type Envelope, hostIdOf, openEnvelope, verifyEnvelope } from '../../pki/envelope.ts'
import type { Head } from '../../pki/head.ts'
import type { Change, Entry, Update } from '../../store/store.ts'
import { Attempts } from './attempts.ts'
import { Decodings } from './decodings.ts'
import { Heads, type HeadTimes } from './heads.ts'
import { Members, type MembersDeps, type Stranger, strangerText } from './members.ts'
import { snapshotOf, type View } from './snapshot.ts'
import { type Opened, Waiting } from './waiting.ts'

export interface FoldDeps extends MembersDeps {
  readonly log: Log
  readonly meter: Meter
  /** Whether this host wants a record of its own to stand: it knows before its head says so. */
  readonly isLive: (key: string, counter: number) => boolean
}

export interface FoldOptions {
  readonly keys: Keys
  readonly self: HostId
  readonly settings: Settings
}

/** An entry of the store that does not count. */
export interface Refused {
  readonly key: string
  readonly why: string
}

interface Signed {
  readonly counter: number
  readonly signer: HostId
}

/** Hosts first, then their heads, then what the heads list; blocks before the pins inside of them. */
const order: readonly KeyMeaning['is'][] = ['host', 'head', 'alive', 'block', 'pin', 'container', 'service']
/** In no head, or written before or after the head that lists it. */
const comesByItself = new Set<KeyMeaning['is']>(['head', 'alive', 'block', 'pin'])
/** So long hosts have to say again what a store has lost. */
const bridge = seconds(10)
const silent = new Set<KeyMeaning['is']>([
  'settings',
  'removed',
  'authorities',
  'token',
  'certificate',
  'promotion',
])

export class Fold {
  readonly #deps: FoldDeps
  readonly #options: FoldOptions
  readonly #members: Members
  #now: Decodings
  #revision = 0
  #accepted = new Map<string, Signed>()
  /** Entries that wait for their signer or its head. */
  readonly #waiting: Waiting
  #refused = new Map<string, string>()
  /** Signers that said something new since the last look at what waits. */
  #met = new Set<HostId>()
  readonly #heads = new Heads()
  readonly #attempts = new Attempts()
  #watching = false
  #recalling = false
  /** What counted before the store went back, and has not been said anew. */
  readonly #bridged = new Set<string>()
  #bridgedUntil: Instant | undefined
  #wentBack = false

  constructor(deps: FoldDeps, options: FoldOptions) {
    this.#deps = deps
    this.#options = options
    this.#members = new Members(deps, options.self)
    this.#now = new Decodings(options.settings)
    this.#waiting = new Waiting({
      isKnown: (id) =>
        this.#members.signingKeyOf(id) !== undefined && this.#members.stranger(id) === undefined,
      headOf: (id) => this.#heads.counterOf(id),
      note: ({ meaning, envelope }, why) => this.#note(envelope.key, meaning, why),
    })
  }

  /** By `head/<host>`: to be remembered, and given to the next fold before anything else. */
  get floors(): ReadonlyMap<string, number> {
    return this.#heads.floors
  }

  get headTimes(): ReadonlyMap<HostId, HeadTimes> {
    return this.#heads.times
  }

  /** Who tried what; `who` is a host's id where something was signed. */
  get attempts(): ReturnType<Attempts['list']> {
    return [...this.#attempts.list(), ...this.#waiting.attempts(this.#deps.now())]
  }

  /** Whether the newest listing is older than what this host had written: the store was restored, or emptied. */
  get wentBack(): boolean {
    return this.#wentBack
  }

  /** Until when hosts may say again what a store that went back has lost; undefined when there is nothing to wait for. */
  get bridgedUntil(): Instant | undefined {
    return this.#bridged.size === 0 ? undefined : this.#bridgedUntil
  }

  /** What this host's disk remembers, before anything else; what is old there is nobody's attempt. */
  recall(floors: Iterable<readonly [string, number]>, entries: readonly Entry[]): void {
    this.#heads.recall(floors)
    this.#recalling = true
    if (entries.length > 0) this.apply({ is: 'snapshot', revision: 0, entries })
    this.#recalling = false
  }

  apply(update: Update): void {
    if (update.is === 'stale') return
    const isEarlier = update.revision < this.#revision
    this.#revision = update.revision
    this.#watching = update.is === 'events'
    if (update.is === 'snapshot') this.#restart(update.entries, isEarlier)
    else {
      // Of several changes of a key only the last one is still true; but what was deleted in between is gone.
      const last = new Map<string, Change>()
      for (const change of update.changes) {
        if (change.is === 'delete') this.#forget(change.key)
        last.set(change.is === 'put' ? change.entry.key : change.key, change)
      }
      this.#take([...last.values()].flatMap((change) => (change.is === 'put' ? [change.entry] : [])))
    }
  }

  /** Whether what lies under a key now does not count. */
  refuses(key: string): boolean {
    return this.#waiting.has(key) || this.#refused.has(key)
  }

  /** Who signed what counts under a key. */
  signerOf(key: string): HostId | undefined {
    return this.#accepted.get(key)?.signer
  }

  /** What lies in the store and does not count. */
  refused(): readonly Refused[] {
    const waiting = [...this.#waiting.keys()].map((key) => ({
      key,
      why: 'not in the newest list of a member',
    }))
    const strangers = this.#members
      .strangers()
      .map((one) => ({ key: this.#options.keys.host(one.record.id), why: strangerText(one) }))
    return [...[...this.#refused].map(([key, why]) => ({ key, why })), ...strangers, ...waiting]
  }

  /** Hosts whose certificate is not good. */
  strangers(): readonly Stranger[] {
    return this.#members.strangers()
  }

  /** The snapshot now. */
  environment(view: View): Environment {
    this.#endBridge()
    const out = new Set([...this.#now.hosts.keys()].filter((id) => this.#members.stranger(id) !== undefined))
    const { settings, self } = this.#options
    return snapshotOf(this.#now, { revision: this.#revision, settings, self, view, out })
  }

  /** What counted before and lies under garbage now goes on; what is gone is gone. */
  #restart(entries: readonly Entry[], isEarlier: boolean): void {
    const [before, accepted] = [this.#now, this.#accepted]
    const { keys, self } = this.#options
    const wentBack = isEarlier || this.#heads.areNewerThan(entries, keys, self)
    this.#wentBack = wentBack
    this.#now = new Decodings(this.#options.settings)
    this.#accepted = new Map()
    this.#waiting.clear()
    this.#refused = new Map()
    this.#bridged.clear()
    this.#take(entries)
    const standing = new Set(entries.map(({ key }) => key))
    for (const [key, was] of accepted) {
      // A host without a head has left, or comes back to a store that was restored from before it came.
      const mayReturn = wentBack || !standing.has(this.#options.keys.head(was.signer))
      if (this.#accepted.has(key) || !(standing.has(key) || mayReturn)) continue
      const meaning = meaningOf(this.#options.keys.prefix, key)
      if (!this.#isListed(key, was) && !(mayReturn && comesByItself.has(meaning.is))) continue
      this.#now.carry(meaning, before)
      this.#accepted.set(key, was)
      if (!standing.has(key)) this.#bridged.add(key)
    }
    this.#bridgedUntil = this.#bridged.size > 0 ? later(this.#deps.now(), bridge) : undefined
  }

  #endBridge(): void {
    if (this.#bridgedUntil === undefined || this.#deps.now() < this.#bridgedUntil) return
    this.#bridgedUntil = undefined
    for (const key of [...this.#bridged]) this.#forget(key)
  }

  #take(entries: readonly Entry[]): void {
    const opened = entries.flatMap((entry) => this.#open(entry) ?? [])
    for (const kind of order) for (const one of opened) if (one.meaning.is === kind) this.#put(one)
    // What came before its signer or its head.
    while (this.#met.size > 0) {
      const met = this.#met
      this.#met = new Set()
      const due = this.#waiting.of(met)
      for (const kind of order) for (const one of due) if (one.meaning.is === kind) this.#put(one)
    }
    this.#waiting.tellOld(opened)
  }

  #open(entry: Entry): Opened | undefined {
    const meaning = meaningOf(this.#options.keys.prefix, entry.key)
    this.#waiting.replace(entry.key)
    this.#refused.delete(entry.key)
    this.#bridged.delete(entry.key)
    if (silent.has(meaning.is)) return undefined
    if (meaning.is === 'unknown') return this.#refuse(entry.key, meaning, 'unknown key')
    const opened = openEnvelope(entry.value)
    if (opened.is === 'bad') return this.#refuse(entry.key, meaning, opened.why)
    return { entry, meaning, envelope: opened.value, seen: this.#deps.now() }
  }

  #put(one: Opened): void {
    const { entry, meaning, envelope } = one
    this.#waiting.settle(entry.key)
    const verdict = this.#judge(one)
    if (verdict === 'waits') this.#waiting.add(one)
    else if (verdict !== undefined) this.#refuse(entry.key, meaning, verdict, envelope.key)
    else this.#accepted.set(entry.key, { counter: envelope.counter, signer: envelope.key })
  }

  /** Undefined when the record now counts. */
  #judge(one: Opened): string | undefined {
    const { entry, meaning, envelope } = one
    const { key: signer, body, counter } = envelope
    if ('host' in meaning && meaning.host !== signer) return 'signed by another host'
    if (meaning.is === 'host') {
      const why = this.#meet(one, meaning.host)
      if (why !== undefined) return why
    }
    const signingKey = this.#members.signingKeyOf(signer)
    if (signingKey === undefined) return 'waits'
    if (meaning.is !== 'host' && this.#members.stranger(signer) !== undefined) return 'waits'
    if (meaning.is !== 'host' && !verifyEnvelope(envelope, entry.key, signingKey))
      return 'signature does not verify'
    if (meaning.is === 'head') return this.#putHead(signer, envelope)
    if (meaning.is === 'alive') {
      const why = this.#heads.rise(`alive/${signer}`, counter)
      if (why !== undefined) return why
    } else if (!this.#isListed(entry.key, { counter, signer })) return 'waits'
    return this.#now.put(meaning, body, signer)
  }

  /** A host's record says with which key it signs; its certificate says that it belongs here. */
  #meet({ entry, envelope }: Opened, id: HostId): string | undefined {
    const decoded = decodeRecord(hostSchema, envelope.body)
    if (decoded.is === 'bad') return decoded.why
    const { signingKey } = decoded.value
    if (decoded.value.id !== id || hostIdOf(signingKey) !== id) return 'the host id is not that of its key'
    if (!verifyEnvelope(envelope, entry.key, signingKey)) return 'signature does not verify'
    const members = this.#members
    if (members.signingKeyOf(id) === undefined || members.stranger(id) !== undefined) this.#met.add(id)
    const stranger = this.#members.offer(decoded.value)
    return stranger === undefined ? undefined : strangerText(stranger)
  }

  #putHead(host: HostId, envelope: Envelope): string | undefined {
    const put = this.#heads.put(host, envelope, { seen: this.#deps.now(), watched: this.#watching })
    if ('why' in put) return put.why
    if (host === this.#options.self) this.#wentBack = false
    for (const key of [...this.#bridged]) this.#settle(key, host, put.head)
    this.#met.add(host)
    return undefined
  }

  /** A host that has spoken again has said what lives; its claims come by themselves, before or after. */
  #settle(key: string, host: HostId, { live }: Head): void {
    const was = this.#accepted.get(key)
    const { is } = meaningOf(this.#options.keys.prefix, key)
    if (was?.signer === host && !comesByItself.has(is) && !live.has(was.counter)) this.#forget(key)
  }

  #isListed(key: string, { signer, counter }: Signed): boolean {
    if (signer === this.#options.self && this.#deps.isLive(key, counter)) return true
    return this.#heads.lists(signer, counter)
  }

  #refuse(key: string, meaning: KeyMeaning, why: string, signer = ''): undefined {
    this.#refused.set(key, why)
    this.#note(signer, meaning, why)
    this.#deps.meter.count('drover_records_rejected_total', 1, { why: meaning.is })
    this.#deps.log.warn('record in the store ignored', { key: key.slice(0, 200), why })
  }

  /** What a restored store holds is old, and nobody's attempt. */
  #note(signer: string, { is }: KeyMeaning, why: string): void {
    if (!this.#wentBack && !this.#recalling) this.#attempts.note(signer, `${is}: ${why}`, this.#deps.now())
  }

  #forget(key: string): void {
    const meaning = meaningOf(this.#options.keys.prefix, key)
    this.#waiting.replace(key)
    this.#refused.delete(key)
    this.#accepted.delete(key)
    this.#bridged.delete(key)
    this.#now.forget(meaning)
  }
}
