/**
 * Notices what others do in the store that no fold of records sees: lists, tokens, certificates and settings that were
 * forged or put back, and what this host had written and somebody else took out. Nothing counts by it and whoever it
 * is about mends it; the operator hears of it (`drover doctor`).
 */
import type { Environment } from '../../model/environment.ts'
import { type KeyMeaning, type Keys, meaningOf } from '../../model/keys.ts'
import type { HostId, Settings } from '../../model/records.ts'
import type { Instant } from '../../model/time.ts'
import { openEnvelope, verifyEnvelope } from '../../pki/envelope.ts'
import { openRemoved } from '../../pki/removed.ts'
import { openAuthorities } from '../../pki/succession.ts'
import { judge } from '../../pki/trust.ts'
import type { Entry, Update } from '../../store/store.ts'
import { Attempts } from '../records/attempts.ts'
import { says } from './settings-keeper.ts'
import type { TrustKeeper } from './trust-keeper.ts'

export interface TamperingDeps {
  readonly keeper: TrustKeeper
  readonly now: () => Instant
  readonly environment: () => Environment | undefined
  /** Whether this host wants something of its own to stand there. */
  readonly wants: (key: string) => boolean
}

export interface TamperingOptions {
  readonly keys: Keys
  readonly self: HostId
  readonly settings: Settings
}

/** Who signed it, as far as that is known, and what is wrong. */
interface Fault {
  readonly who: string
  readonly why: string
}

const bySomebody = (why: string): Fault => ({ who: '', why })

export class Tampering {
  readonly #deps: TamperingDeps
  readonly #options: TamperingOptions
  readonly #attempts = new Attempts()
  /** What came before it was known who belongs to the environment. */
  #early: Entry[] = []

  constructor(deps: TamperingDeps, options: TamperingOptions) {
    this.#deps = deps
    this.#options = options
  }

  get attempts(): ReturnType<Attempts['list']> {
    return this.#attempts.list()
  }

  /** What the watch says, once those have heard it whom it is for. */
  observe(update: Update): void {
    if (update.is === 'stale') return
    if (update.is === 'snapshot') this.#early = []
    // A snapshot may be that of a store which was restored: what it lacks or holds of old is nobody's attempt.
    const puts = update.is === 'snapshot' ? update.entries : this.#watched(update.changes)
    for (const entry of puts) this.#look(entry, update.is === 'events')
    this.again()
  }

  /** Who belongs to the environment is known by now. */
  again(): void {
    if (this.#deps.environment() === undefined) return
    const early = this.#early
    this.#early = []
    for (const entry of early) this.#look(entry, false)
  }

  #watched(changes: (Update & { readonly is: 'events' })['changes']): readonly Entry[] {
    for (const change of changes) if (change.is === 'delete') this.#lookAtGone(change.key)
    return changes.flatMap((change) => (change.is === 'put' ? [change.entry] : []))
  }

  /** Something of this host is gone: who was removed has nothing to stand there. */
  takenOut(key: string): void {
    if (!this.#deps.keeper.trust.revoked.has(this.#options.self))
      this.#note(key, bySomebody('it was taken out of the store'))
  }

  #lookAtGone(key: string): void {
    const { keys, self } = this.#options
    const { listed, succession } = this.#deps.keeper
    const isOurs = this.#deps.wants(key) || key === keys.head(self)
    const isList = (key === keys.removed && listed > 0) || (key === keys.authorities && succession > 0)
    if (isOurs || isList || key === keys.settings) this.takenOut(key)
  }

  #look(entry: Entry, watched: boolean): void {
    const meaning = meaningOf(this.#options.keys.prefix, entry.key)
    const needsMembers = meaning.is === 'token' || meaning.is === 'promotion'
    if (needsMembers && this.#deps.environment() === undefined) this.#early.push(entry)
    else {
      const fault = this.#faultOf(entry, meaning, watched)
      if (fault !== undefined) this.#note(entry.key, fault)
    }
  }

  #faultOf(entry: Entry, meaning: KeyMeaning, watched: boolean): Fault | undefined {
    const { keeper } = this.#deps
    switch (meaning.is) {
      case 'removed':
        return listFault(openRemoved(entry.value, keeper.trust), watched ? keeper.listed : 0)
      case 'authorities':
        return listFault(openAuthorities(entry.value, keeper.trust), watched ? keeper.succession : 0)
      case 'settings':
        return this.#settingsFault(entry)
      case 'token':
      case 'promotion':
        return this.#signerFault(entry)
      case 'certificate':
        return watched ? this.#certificateFault(entry, meaning.host) : undefined
      default:
        return undefined
    }
  }

  #settingsFault({ value }: Entry): Fault | undefined {
    const opened = openEnvelope(value)
    if (opened.is === 'bad') return bySomebody(opened.why)
    const { body, key: who } = opened.value
    const why = 'not what this environment was made with'
    return says(body, this.#options.settings) ? undefined : { who, why }
  }

  #signerFault({ key, value }: Entry): Fault | undefined {
    const opened = openEnvelope(value)
    if (opened.is === 'bad') return bySomebody(opened.why)
    const who = opened.value.key
    const signingKey = this.#deps.environment()?.hosts.get(who)?.record.signingKey
    if (signingKey === undefined) return { who, why: 'not signed by a member' }
    return verifyEnvelope(opened.value, key, signingKey)
      ? undefined
      : { who, why: 'signature does not verify' }
  }

  /** An older one of this environment may lie there for long. */
  #certificateFault({ value }: Entry, host: HostId): Fault | undefined {
    const pem = new TextDecoder().decode(value)
    const judgement = judge(pem, { role: { is: 'host', host } }, this.#deps.keeper.trust, this.#deps.now())
    return judgement.is === 'bad' ? bySomebody(judgement.why) : undefined
  }

  #note(key: string, { who, why }: Fault): void {
    const { is } = meaningOf(this.#options.keys.prefix, key)
    this.#attempts.note(who, `${is}: ${why}`, this.#deps.now())
  }
}

function listFault(
  opened:
    | { readonly is: 'ok'; readonly value: { readonly number: number } }
    | { readonly is: 'bad'; readonly why: string },
  known: number,
): Fault | undefined {
  if (opened.is === 'bad') return bySomebody(opened.why)
  return opened.value.number < known ? bySomebody('older than what was seen before') : undefined
}
