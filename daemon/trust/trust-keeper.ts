/**
 * What this host believes and what it shows, in memory and on disk: its certificate, the authorities, newest
 * first, who was removed. A change is on disk before it counts.
 */
import { utf8, utf8Text } from '../../model/bytes.ts'
import { DroverError } from '../../model/errors.ts'
import type { Instant } from '../../model/time.ts'
import { type Certificate, isSignedBy } from '../../pki/certificate.ts'
import type { HostIdentity } from '../../pki/identity.ts'
import type { AuthorityList } from '../../pki/succession.ts'
import { type Judgement, judge, type Trust } from '../../pki/trust.ts'
import { readTrustFile, type TrustFile, trustOf, writeTrustFile } from '../../pki/trust-file.ts'

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

  /** The authority that issues now. */
  get newest(): Certificate | undefined {
    return this.#trust.authorities[0]
  }

  /** Number of the newest list of authorities. */
  get succession(): number {
    return this.#file.succession ?? 0
  }

  /** That list as it was signed; empty for none. */
  get sealedSuccession(): Uint8Array {
    return utf8(this.#file.sealed ?? '')
  }

  /** Takes a list that an authority which this host believes has signed; says whether it is a newer one. */
  succeed({ number, authorities, cross }: AuthorityList, sealed: Uint8Array): boolean {
    if (number <= this.succession) return false
    this.#replace({ ...this.#file, authorities, cross, succession: number, sealed: utf8Text(sealed) ?? '' })
    return true
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

  /** Takes a certificate that is good and lasts longer, or is of a newer authority; says whether it did. */
  renew(pem: string, now: Instant): boolean {
    const [next, own] = [this.#judge(pem, now), this.own(now)]
    if (next.is === 'bad') return false
    if (own.is === 'good' && !this.#isBetter(next.certificate, own.certificate)) return false
    this.#replace({ ...this.#file, certificate: next.certificate.pem })
    return true
  }

  #isBetter(next: Certificate, own: Certificate): boolean {
    const [nextIsNew, ownIsNew] = [this.isOfNewest(next), this.isOfNewest(own)]
    return nextIsNew === ownIsNew ? next.notAfter > own.notAfter : nextIsNew
  }

  /** Whether the authority that issues now has issued it. */
  isOfNewest(certificate: Certificate): boolean {
    return this.newest !== undefined && isSignedBy(certificate, this.newest)
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
