/**
 * One CA takes the place of another while the environment runs: the holder makes the new one, everybody believes
 * both, certificates follow (daemon/trust/renewal.ts), and the former one is dropped when nothing depends on it. What is
 * begun is finished after a kill: the holder's file says how far it is.
 */
import { DroverError, reasonOf } from '../../model/errors.ts'
import type { Keys } from '../../model/keys.ts'
import { type Clock, type Log, type Meter, sleep } from '../../model/ports.ts'
import type { HostRecord } from '../../model/records.ts'
import { minutes } from '../../model/time.ts'
import type { Authority } from '../../pki/authority.ts'
import { isSignedBy, readCertificate } from '../../pki/certificate.ts'
import { type AuthorityList, listOf, openAuthorities, sealAuthorities } from '../../pki/succession.ts'
import type { Problem } from '../../status/finding.ts'
import type { Store, Update } from '../../store/store.ts'
import type { AuthorityHolder } from './authority-holder.ts'
import { SignedList } from './signed-list.ts'
import type { TrustKeeper } from './trust-keeper.ts'

export interface SuccessionDeps {
  readonly store: Store
  readonly keeper: TrustKeeper
  readonly holder: AuthorityHolder
  readonly clock: Clock
  readonly log: Log
  readonly meter: Meter
  /** Members, also those that are away. */
  readonly hosts: () => readonly HostRecord[]
  /** Servers of the store that would be cut off without the former CA, each with why. */
  readonly storeNeeds: () => Promise<readonly string[]>
  /** Whom this host believes has changed. */
  readonly onChange: () => void
  /** What the former CA stood for is to be made anew; how many tokens ended. */
  readonly onRolled: () => Promise<number>
}

export interface Rolled {
  readonly fingerprint: string
  readonly former: string
  /** Tokens that named the former CA, and ended. */
  readonly tokens: number
}

export interface Dropped {
  readonly fingerprint: string
  /** Who was cut off by it. */
  readonly needs: readonly string[]
}

const lookEvery = minutes(1)

export class Succession {
  readonly #deps: SuccessionDeps
  readonly #keys: Keys
  readonly #stop = new AbortController()
  #needs: readonly string[] = []
  readonly #list: SignedList<AuthorityList>
  #turn: Promise<unknown> = Promise.resolve()

  constructor(deps: SuccessionDeps, keys: Keys) {
    this.#deps = deps
    this.#keys = keys
    const { keeper, log, meter } = deps
    this.#list = new SignedList(
      {
        open: (value) => openAuthorities(value, keeper.trust),
        keep: (list, sealed) => this.#take(list, sealed),
        onHeard: (list) => this.#heard(list?.number ?? 0),
        ...{ log, meter },
      },
      { key: keys.authorities, kind: 'authorities', work: 'succession' },
    )
  }

  /** What still needs the former CA, on the host that holds it. */
  get needs(): readonly string[] {
    return this.#needs
  }

  get problems(): readonly Problem[] {
    return this.#needs.map((need) => ({
      what: `a new CA takes the place of the former one, which is still needed: ${need}`,
      remedy: 'docs/operations.md, "A new CA", says what to do; `drover ca drop --force` goes on without it',
    }))
  }

  /** What the watch says of the list. Where it is not the newest one, whoever has that puts it back. */
  observe(update: Update): void {
    this.#list.observe(update)
  }

  /** Finishes what a kill has interrupted, and drops the former CA when nothing depends on it; until `close`. */
  async run(): Promise<void> {
    const { clock, log } = this.#deps
    while (!this.#stop.signal.aborted) {
      await this.#inTurn(() => this.tend()).catch((error: unknown) =>
        log.debug('the CA could not be looked after', { why: reasonOf(error) }),
      )
      await sleep(clock, lookEvery, this.#stop.signal).catch(() => undefined)
    }
  }

  async close(): Promise<void> {
    this.#stop.abort()
    await this.#turn
  }

  /** Makes the new CA. Everybody believes both from then on. */
  roll(): Promise<Rolled> {
    const { holder, clock, log, onRolled } = this.#deps
    return this.#inTurn(async () => {
      const former = holder.holding()
      if (former.former !== undefined) throw new DroverError('AUTHORITY_ROLLING', 'of this environment')
      holder.roll(clock.now())
      await this.#settle()
      const { fingerprint } = holder.holding().certificate
      log.info('a new CA takes the place of the former one', { authority: fingerprint })
      return { fingerprint, former: former.certificate.fingerprint, tokens: await onRolled() }
    })
  }

  /** Drops the former CA; refuses while something depends on it, unless forced. */
  drop(force: boolean): Promise<Dropped> {
    const { holder } = this.#deps
    return this.#inTurn(async () => {
      const authority = holder.holding()
      if (authority.former === undefined)
        throw new DroverError('NOT_NOW', 'this environment has one CA only; `drover ca roll` makes a new one')
      const needs = await this.#needsOf(authority)
      if (needs.length > 0 && !force) throw new DroverError('AUTHORITY_NEEDED', needs.join('; '))
      await this.#dropFormer(authority)
      return { fingerprint: authority.former.certificate.fingerprint, needs }
    })
  }

  async tend(): Promise<void> {
    this.#list.again()
    await this.#settle()
    const { authority } = this.#deps.holder
    this.#needs = authority?.former === undefined ? [] : await this.#needsOf(authority)
    if (authority?.former !== undefined && this.#needs.length === 0) await this.#dropFormer(authority)
  }

  /** Brings what everybody believes to what the holder's file says. */
  async #settle(): Promise<void> {
    const { holder, keeper } = this.#deps
    const { authority } = holder
    if (authority?.former === undefined) return
    const { former, certificate } = authority
    const believed = new Set(keeper.trust.authorities.map(({ fingerprint }) => fingerprint))
    if (!believed.has(certificate.fingerprint)) {
      const list = listOf(authority, keeper.succession + 1)
      this.#take(list, sealAuthorities(list, authority))
      await this.#publish()
    } else if (!believed.has(former.certificate.fingerprint)) {
      await this.#publish()
      holder.drop()
    }
  }

  async #dropFormer(authority: Authority): Promise<void> {
    const { keeper, holder, log } = this.#deps
    const list = {
      ...listOf(authority, keeper.succession + 1),
      authorities: [authority.certificate.pem],
      cross: null,
    }
    // Signed by both: who slept through all of it can still follow.
    this.#take(list, sealAuthorities(list, authority))
    await this.#publish()
    holder.drop()
    this.#needs = []
    log.info('the former CA was dropped', { authority: authority.former?.certificate.fingerprint })
  }

  /** Hosts whose certificate the former CA has issued, and what the store needs. */
  async #needsOf({ former, certificate: newest }: Authority): Promise<readonly string[]> {
    if (former === undefined) return []
    const now = this.#deps.clock.now()
    const hosts = this.#deps.hosts().filter(({ certificate: pem }) => {
      const certificate = readCertificate(pem)
      if (certificate === undefined || certificate.notAfter < now) return false
      return isSignedBy(certificate, former.certificate) && !isSignedBy(certificate, newest)
    })
    const waiting = hosts.map(({ name }) => `host ${name} has no certificate of the new CA yet`)
    return [...waiting, ...(await this.#deps.storeNeeds())]
  }

  #heard(standing: number): void {
    if (standing < this.#deps.keeper.succession)
      void this.#inTurn(() => this.#publish()).catch(() => undefined)
  }

  #take(list: AuthorityList, sealed: Uint8Array): void {
    if (this.#deps.keeper.succeed(list, sealed)) this.#deps.onChange()
  }

  async #publish(): Promise<void> {
    const { store, keeper } = this.#deps
    const value = keeper.sealedSuccession
    if (value.length > 0) await store.transact([], [{ is: 'put', key: this.#keys.authorities, value }])
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#turn.then(work)
    this.#turn = done.catch(() => undefined)
    return done
  }
}
