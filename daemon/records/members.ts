/**
 * Which hosts belong to the environment: those whose certificate is good. The chain of a certificate is verified
 * once; its end and its revocation are looked at whenever somebody asks.
 */
import { errorTable } from '../../model/error-table.ts'
import type { ErrorCode } from '../../model/errors.ts'
import type { HostId, HostRecord } from '../../model/records.ts'
import type { Instant } from '../../model/time.ts'
import type { Certificate } from '../../pki/certificate.ts'
import { judge, type Trust } from '../../pki/trust.ts'

export interface MembersDeps {
  readonly trust: () => Trust
  readonly now: () => Instant
}

/** Why a host does not belong to the environment. */
export interface Stranger {
  readonly record: HostRecord
  readonly code: ErrorCode
  readonly why: string
}

interface Known {
  readonly record: HostRecord
  /** Undefined while it is not good. */
  readonly certificate: Certificate | undefined
  readonly trust: Trust
}

export class Members {
  readonly #deps: MembersDeps
  readonly #self: HostId
  readonly #known = new Map<HostId, Known>()

  constructor(deps: MembersDeps, self: HostId) {
    this.#deps = deps
    this.#self = self
  }

  /** Looks at a record that its host has signed; undefined when the host belongs. */
  offer(record: HostRecord): Stranger | undefined {
    const { id } = record
    // This host looks after its own certificate, and works on without a good one.
    if (id === this.#self) return void this.#know(record, undefined)
    const before = this.#known.get(id)
    const trust = this.#deps.trust()
    if (before?.record.certificate === record.certificate && before.trust === trust)
      this.#known.set(id, { ...before, record })
    else {
      const { signingKey, certificate } = record
      const judgement = judge(
        certificate,
        { role: { is: 'host', host: id }, signingKey },
        trust,
        this.#deps.now(),
      )
      if (judgement.is === 'bad' && before?.certificate !== undefined && before.trust === trust)
        return { record, code: judgement.code, why: judgement.why }
      this.#know(record, judgement.is === 'good' ? judgement.certificate : undefined)
    }
    return this.stranger(id)
  }

  forget(id: HostId): void {
    this.#known.delete(id)
  }

  signingKeyOf(id: HostId): string | undefined {
    return this.#known.get(id)?.record.signingKey
  }

  /** Why the host does not belong now; undefined when it does. */
  stranger(id: HostId): Stranger | undefined {
    const known = this.#known.get(id)
    if (id === this.#self || known === undefined) return undefined
    const trust = this.#deps.trust()
    const now = this.#deps.now()
    const { record, certificate } = known
    const stands =
      certificate !== undefined &&
      known.trust.authorities === trust.authorities &&
      now <= certificate.notAfter &&
      now >= certificate.notBefore &&
      !trust.revoked.has(id)
    if (stands) return undefined
    const claimed = { role: { is: 'host', host: id }, signingKey: record.signingKey } as const
    const judgement = judge(record.certificate, claimed, trust, now)
    if (judgement.is === 'bad') return { record, code: judgement.code, why: judgement.why }
    this.#know(record, judgement.certificate)
    return undefined
  }

  strangers(): readonly Stranger[] {
    return [...this.#known.keys()].flatMap((id) => this.stranger(id) ?? [])
  }

  #know(record: HostRecord, certificate: Certificate | undefined): void {
    this.#known.set(record.id, { record, certificate, trust: this.#deps.trust() })
  }
}

export const strangerText = ({ code, why }: Stranger): string => `${errorTable[code].says}: ${why}`
