/**
 * The list of the environment's authorities, newest first: one, or two while one takes the place of the other.
 * Numbered, and signed by every authority that its writer holds, so that whoever believes one of them can follow.
 */
import { utf8, utf8Text } from '../model/bytes.ts'
import type { Decoded } from '../model/records.ts'
import type { Uuid } from '../model/uuid.ts'
import { type Authority, isSignedText } from './authority.ts'
import { type Certificate, isSignedBy, nameOf, readCertificate } from './certificate.ts'
import type { Trust } from './trust.ts'

export interface AuthorityList {
  readonly environment: Uuid
  /** Grows; whoever has seen a list takes no older one. */
  readonly number: number
  /** PEM, newest first. */
  readonly authorities: readonly string[]
  /** The newest one as the one before it vouches for it, PEM; null when there is one only. */
  readonly cross: string | null
}

/** What the holder of a CA says: its authorities. */
export function listOf({ certificate, former, environment }: Authority, number: number): AuthorityList {
  const authorities = [certificate.pem, ...(former === undefined ? [] : [former.certificate.pem])]
  return { environment: environment.uuid, number, authorities, cross: former?.cross.pem ?? null }
}

export function sealAuthorities(list: AuthorityList, { sign, former }: Authority): Uint8Array {
  const body = JSON.stringify([list.environment, list.number, list.authorities, list.cross])
  const text = signedText(body)
  const signatures = [sign(text), ...(former === undefined ? [] : [former.sign(text)])]
  return utf8(JSON.stringify({ body, signatures }))
}

export function openAuthorities(bytes: Uint8Array, trust: Trust): Decoded<AuthorityList> {
  const { body, signatures } = envelopeOf(utf8Text(bytes) ?? '')
  if (body === undefined) return bad('not a list')
  const isSigned = trust.authorities.some((authority) =>
    signatures.some((signature) => isSignedText(signedText(body), signature, authority)),
  )
  if (!isSigned) return bad('no authority of this environment has signed it')
  const list = fieldsOf(body)
  if (list.environment !== trust.environment) return bad('of another environment')
  const fault = faultOf(list)
  return fault === undefined ? { is: 'ok', value: list } : bad(fault)
}

function faultOf({ environment, authorities, cross }: AuthorityList): string | undefined {
  const [newest, former, ...more] = authorities.map(readCertificate)
  if (newest === undefined || more.length > 0) return 'it names no authority, or too many'
  if (authorities.length === 2 && former === undefined) return 'a certificate in it cannot be read'
  const all = [newest, ...(former === undefined ? [] : [former])]
  if (!all.every((one) => isAuthority(one, environment)))
    return 'it names what is no authority of this environment'
  return former === undefined || vouches(former, newest, cross)
    ? undefined
    : 'the former CA does not vouch for the new one'
}

const isAuthority = (certificate: Certificate, environment: Uuid): boolean =>
  certificate.name === nameOf(environment, { is: 'authority' }) && isSignedBy(certificate, certificate)

function vouches(former: Certificate, newest: Certificate, pem: string | null): boolean {
  const cross = readCertificate(pem ?? '')
  return (
    cross !== undefined && isSignedBy(cross, former) && cross.x509.publicKey.equals(newest.x509.publicKey)
  )
}

const signedText = (body: string): string => `drover authorities 1\n${body}`
const bad = (why: string): { readonly is: 'bad'; readonly why: string } => ({ is: 'bad', why })

/** Of a body that an authority has signed: its form is as it was written. */
function fieldsOf(body: string): AuthorityList {
  const [environment, number, authorities, cross] = JSON.parse(body) as [
    Uuid,
    number,
    readonly string[],
    string | null,
  ]
  return { environment, number, authorities, cross }
}

function envelopeOf(text: string): { readonly body?: string; readonly signatures: readonly string[] } {
  try {
    const json = JSON.parse(text) as { body?: unknown; signatures?: unknown } | null
    if (typeof json?.body !== 'string' || !Array.isArray(json.signatures)) return { signatures: [] }
    return {
      body: json.body,
      signatures: json.signatures.filter((one) => typeof one === 'string').slice(0, 2),
    }
  } catch {
    return { signatures: [] }
  }
}
