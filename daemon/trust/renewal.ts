/**
 * Certificates renew themselves through the store: the host that holds the CA puts the next one beside each host
 * whose own has lived two thirds, and that host takes it. Nobody has to listen: a certificate is worth nothing
 * without the key that it names. The same way leads from one CA to the next. What fails is tried again every minute.
 */
import { utf8, utf8Text } from '../../model/bytes.ts'
import { errorTable } from '../../model/error-table.ts'
import { DroverError, reasonOf } from '../../model/errors.ts'
import type { Keys } from '../../model/keys.ts'
import { type Clock, type Log, type Meter, sleep } from '../../model/ports.ts'
import type { HostId, HostRecord } from '../../model/records.ts'
import { later, minutes } from '../../model/time.ts'
import type { Authority } from '../../pki/authority.ts'
import { readCertificate } from '../../pki/certificate.ts'
import type { HostIdentity } from '../../pki/identity.ts'
import { renewalOf } from '../../pki/trust.ts'
import type { Problem } from '../../status/finding.ts'
import type { Store, Update } from '../../store/store.ts'
import type { TrustKeeper } from './trust-keeper.ts'

export interface RenewalDeps {
  readonly store: Store
  readonly keeper: TrustKeeper
  /** Undefined where this host does not hold the CA. */
  readonly authority: () => Authority | undefined
  readonly clock: Clock
  readonly log: Log
  readonly meter: Meter
  /** Whose certificates to look after. */
  readonly hosts: () => readonly HostRecord[]
  /** This host has a new certificate. */
  readonly onRenewed: () => void
}

export interface RenewalOptions {
  readonly keys: Keys
  readonly identity: HostIdentity
}

const lookEvery = minutes(1)
/** A renewal that is later than this is missed, and said. */
const patience = minutes(60)

export class Renewal {
  readonly #deps: RenewalDeps
  readonly #options: RenewalOptions
  readonly #stop = new AbortController()
  /** Certificates that lie in the store, by their key there. */
  readonly #offered = new Map<string, string>()
  /** Why the last attempt came to nothing, where waiting does not mend it; empty when it did not. */
  #trouble = ''

  constructor(deps: RenewalDeps, options: RenewalOptions) {
    this.#deps = deps
    this.#options = options
  }

  /** What keeps certificates from being renewed on this host. */
  get problems(): readonly Problem[] {
    if (this.#trouble === '') return []
    const remedy = 'make room on the disk, or mend what it says; it is tried again every minute'
    return [{ what: `a certificate could not be renewed yet: ${this.#trouble}`, remedy }]
  }

  /** What the watch says of certificates. */
  observe(update: Update): void {
    if (update.is === 'stale') return
    const prefix = this.#options.keys.certificates
    if (update.is === 'snapshot') this.#offered.clear()
    const entries =
      update.is === 'snapshot'
        ? update.entries
        : update.changes.flatMap((change) => (change.is === 'put' ? [change.entry] : []))
    for (const { key, value } of entries)
      if (key.startsWith(prefix)) this.#offered.set(key, utf8Text(value) ?? '')
    if (entries.some(({ key }) => key === this.#ownKey)) this.#guarded(() => this.#take())
  }

  async run(): Promise<void> {
    while (!this.#stop.signal.aborted) {
      this.#trouble = ''
      this.#guarded(() => this.#take())
      await this.tend().catch((error: unknown) => this.#failed(error))
      await sleep(this.#deps.clock, lookEvery, this.#stop.signal).catch(() => undefined)
    }
  }

  close(): void {
    this.#stop.abort()
  }

  /** Issues what is due, where this host holds the CA. */
  async tend(): Promise<void> {
    const { hosts, keeper, clock, store, log } = this.#deps
    const authority = this.#deps.authority()
    if (authority === undefined) return
    const now = clock.now()
    const { id: self, signingKey } = this.#options.identity
    if (this.#isDue(keeper.certificate) && keeper.renew(authority.issueHost(self, signingKey, now).pem, now))
      this.#renewed()
    for (const { id, signingKey: key, certificate } of hosts()) {
      const offer = this.#options.keys.certificate(id)
      const waits = !this.#isDue(this.#offered.get(offer) ?? '')
      if (id === self || keeper.trust.revoked.has(id) || waits || !this.#isDue(certificate)) continue
      const { pem } = authority.issueHost(id, key, now)
      await store.transact([], [{ is: 'put', key: offer, value: utf8(pem) }])
      log.info('a certificate was renewed', { host: id })
    }
  }

  get #ownKey(): string {
    return this.#options.keys.certificate(this.#options.identity.id as HostId)
  }

  #take(): void {
    const offered = this.#offered.get(this.#ownKey)
    if (offered !== undefined && this.#deps.keeper.renew(offered, this.#deps.clock.now())) this.#renewed()
  }

  #renewed(): void {
    this.#deps.log.info('this host has a new certificate', {})
    this.#deps.onRenewed()
  }

  /** Also for what is no certificate, or is of a CA whose place another has taken. */
  #isDue(pem: string): boolean {
    const certificate = readCertificate(pem)
    const { keeper, clock } = this.#deps
    return (
      certificate === undefined || renewalOf(certificate) <= clock.now() || !keeper.isOfNewest(certificate)
    )
  }

  #guarded(work: () => void): void {
    try {
      work()
    } catch (error) {
      this.#failed(error)
    }
  }

  #failed(error: unknown): void {
    if (!(error instanceof DroverError && error.code === 'STORE_UNAVAILABLE')) this.#trouble = reasonOf(error)
    this.#deps.meter.count('drover_failures_total', 1, { what: 'renewal' })
    this.#deps.log.warn('a certificate could not be renewed yet', { why: reasonOf(error) })
  }
}

/** What is wrong with this host's own certificate. */
export function certificateProblems(keeper: TrustKeeper, clock: Clock): readonly Problem[] {
  const now = clock.now()
  const own = keeper.own(now)
  if (own.is === 'bad')
    return [{ what: `certificate of this host: ${own.why}`, remedy: errorTable[own.code].remedy }]
  const due = renewalOf(own.certificate)
  if (now < later(due, patience)) return []
  const end = new Date(own.certificate.notAfter).toISOString()
  return [
    {
      what: `the certificate of this host should have been renewed at ${new Date(due).toISOString()}; it ends ${end}`,
      remedy: "start the daemon on the CA's host (`drover status` there says whether its key is locked)",
    },
  ]
}
