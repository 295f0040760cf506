/**
 * Whom this host believes: authorities, what they revoked, and the judgement over one certificate. Pure; `now`
 * comes in. A certificate is good, or it has one fault, which is a code of the error table with its way out.
 */
import type { ErrorCode } from '../model/errors.ts'
import { type Instant, later, type Millis, minutes } from '../model/time.ts'
import type { Uuid } from '../model/uuid.ts'
import { type Certificate, ed25519Of, isSignedBy, nameOf, type Role, readCertificate } from './certificate.ts'

const days = (count: number): Millis => minutes(count * 24 * 60)

export const hostLifetime = days(30)
export const serverLifetime = days(365)
export const authorityLifetime = days(10 * 365)
/** Certificates begin in the past, so that a clock that is an hour wrong changes nothing. */
export const backdate = minutes(120)

export interface Trust {
  readonly environment: Uuid
  readonly authorities: readonly Certificate[]
  /** Ids of hosts that were removed. */
  readonly revoked: ReadonlySet<string>
}

export type CertificateFault = Extract<ErrorCode, `CERTIFICATE_${string}`>

export type Judgement =
  | { readonly is: 'good'; readonly certificate: Certificate }
  | { readonly is: 'bad'; readonly code: CertificateFault; readonly why: string }

export interface Claimed {
  readonly role: Role
  /** Ed25519, base64; what the certificate must hold, where that is known. */
  readonly signingKey?: string
}

export function judge(pem: string, claimed: Claimed, trust: Trust, now: Instant): Judgement {
  const certificate = readCertificate(pem)
  if (certificate === undefined) return bad('CERTIFICATE_DAMAGED', 'it is cut off or no certificate')
  const { role } = claimed
  const fault = chainFault(certificate, trust) ?? timeFault(certificate, now)
  if (fault !== undefined) return fault
  const wanted = nameOf(trust.environment, role)
  if (certificate.name !== wanted)
    return bad('CERTIFICATE_WRONG_NAME', `it is for ${certificate.name || 'nobody'}, not for ${wanted}`)
  if (claimed.signingKey !== undefined && ed25519Of(certificate) !== claimed.signingKey)
    return bad('CERTIFICATE_WRONG_NAME', 'it is for another key')
  if (role.is === 'host' && trust.revoked.has(role.host))
    return bad('CERTIFICATE_REVOKED', `host ${role.host} was removed`)
  return { is: 'good', certificate }
}

/** When to ask for the next one: at two thirds of its life. */
export const renewalOf = ({ notBefore, notAfter }: Certificate): Instant =>
  later(notBefore, ((2 * (notAfter - notBefore)) / 3) as Millis)

function chainFault(certificate: Certificate, { authorities }: Trust): Judgement | undefined {
  if (authorities.some((authority) => isSignedBy(certificate, authority))) return undefined
  if (authorities.some(({ fingerprint }) => fingerprint === certificate.fingerprint))
    return bad('CERTIFICATE_WRONG_NAME', 'it is the authority itself')
  const { x509 } = certificate
  return x509.issuer === x509.subject
    ? bad('CERTIFICATE_SELF_SIGNED', `its issuer is itself, ${issuerOf(certificate)}`)
    : bad('CERTIFICATE_WRONG_CA', `its issuer is ${issuerOf(certificate)}`)
}

function timeFault({ notBefore, notAfter }: Certificate, now: Instant): Judgement | undefined {
  if (now < notBefore)
    return bad('CERTIFICATE_NOT_YET_VALID', `it begins ${textOf(notBefore)}, and here it is ${textOf(now)}`)
  if (now > notAfter)
    return bad('CERTIFICATE_EXPIRED', `it ended ${textOf(notAfter)}, and here it is ${textOf(now)}`)
  return undefined
}

const textOf = (at: Instant): string => new Date(at).toISOString()
const issuerOf = ({ x509 }: Certificate): string => x509.issuer.replaceAll('\n', ', ')
const bad = (code: CertificateFault, why: string): Judgement => ({ is: 'bad', code, why })
