/**
 * What this host believes and what it shows, in memory and on disk: its certificate, the authorities, who was
 * removed. A change is on disk before it counts.
 */
import { DroverError } from '../model/errors.ts'
import type { Instant } from '../model/time.ts'
import type { HostIdentity } from '../pki/identity.ts'
import { type Judgement, judge, type Trust } from '../pki/trust.ts'
import { readTrustFile, type TrustFile, trustOf, writeTrustFile } from '../pki/trust-file.ts'

/** Faults that time or the CA's host may mend while the daemon runs. */
const passing = new Set(['CERTIFICATE_EXPIRED', 'CERTIFICATE_NOT_YET_VALID'])

export class TrustKeeper {
  readonly #folder: string
  readonly #identity: HostIdentity
  #file: TrustFile
  #trust: Trust

  private constructor(folder: string, identity: HostIdentity, file: TrustFile) {
    this.#folder = folder
    this.#identity = identity
    this.#file = file
    this.#trust = trustOf(file)
  }

  /** Refuses what no waiting mends: a certificate that is missing, damaged, revoked, or of somebody else. */
  static open(folder: string, identity: HostIdentity, now: Instant): TrustKeeper {
    const file = readTrustFile(folder)
    if (file === undefined) throw new DroverError('CERTIFICATE_MISSING', folder)
    const keeper = new TrustKeeper(folder, identity, file)
    const own = keeper.own(now)
    if (own.is === 'bad' && !passing.has(own.code)) throw new DroverError(own.code, `${folder}: ${own.why}`)
    return keeper
  }

  get trust(): Trust {
    return this.#trust
  }

  /** Of this host, PEM. */
  get certificate(): string {
    return this.#file.certificate
  }

  /** Number of the newest list of removed hosts. */
  get listed(): number {
    return this.#file.listed
  }

  /** Takes a list that the CA has signed; says whether it told anything new. Nobody who was removed comes back. */
  remove({ number, hosts }: { readonly number: number; readonly hosts: readonly string[] }): boolean {
    const revoked = [...new Set([...this.#file.revoked, ...hosts])]
    if (revoked.length === this.#file.revoked.length && number <= this.#file.listed) return false
    this.#replace({ ...this.#file, revoked, listed: Math.max(number, this.#file.listed) })
    return true
  }

  /** The judgement over this host's own certificate. */
  own(now: Instant): Judgement {
    return this.#judge(this.#file.certificate, now)
  }

  /** Takes a certificate that is good and lasts longer; says whether it did. */
  renew(pem: string, now: Instant): boolean {
    const [next, own] = [this.#judge(pem, now), this.own(now)]
    if (next.is === 'bad') return false
    if (own.is === 'good' && own.certificate.notAfter >= next.certificate.notAfter) return false
    this.#replace({ ...this.#file, certificate: next.certificate.pem })
    return true
  }

  #judge(pem: string, now: Instant): Judgement {
    const { id, signingKey } = this.#identity
    return judge(pem, { role: { is: 'host', host: id }, signingKey }, this.#trust, now)
  }

  #replace(file: TrustFile): void {
    writeTrustFile(this.#folder, file)
    this.#file = file
    this.#trust = trustOf(file)
  }
}
