/**
 * X.509 certificates: made with node-forge's ASN.1, signed and read by node:crypto. A host's certificate holds
 * the Ed25519 key that it signs its records with, so that one key serves records and TLS alike. What a
 * certificate is for stands in its subject alternative name: `drover://<environment>/<role>`. Says nothing about
 * trust: that is for trust.ts.
 */
import { createPublicKey, type KeyObject, sign, X509Certificate } from 'node:crypto'
import forge from 'node-forge'
import { type Instant, instant } from '../model/time.ts'
import type { Uuid } from '../model/uuid.ts'

/** What a certificate lets its holder be. */
export type Role =
  | { readonly is: 'authority' }
  | { readonly is: 'host'; readonly host: string }
  /** Serves the join endpoint: no host may pass for it. */
  | { readonly is: 'join' }
  /** A member of an etcd. */
  | { readonly is: 'server' }

export interface Certificate {
  readonly pem: string
  /** SHA-256 of its DER, in hex. */
  readonly fingerprint: string
  /** The subject's URI; empty where there is none. */
  readonly name: string
  readonly notBefore: Instant
  readonly notAfter: Instant
  readonly x509: X509Certificate
}

export interface Subject {
  readonly environment: { readonly name: string; readonly uuid: Uuid }
  readonly role: Role
  readonly key: KeyObject
  readonly notBefore: Instant
  readonly notAfter: Instant
  /** 16 random bytes. */
  readonly serial: Uint8Array
  /** IP addresses at which its holder serves TLS. */
  readonly addresses?: readonly string[]
  /** Takes its name from this certificate: the same authority, vouched for by another one. */
  readonly namedAs?: Certificate
}

export interface Issuer {
  /** Undefined for a certificate that signs itself. */
  readonly certificate: Certificate | undefined
  readonly key: KeyObject
}

export const nameOf = (environment: Uuid, role: Role): string =>
  `drover://${environment}/${role.is === 'host' ? `host/${role.host}` : role.is}`

/** Undefined for what is no certificate. */
export function readCertificate(pem: string): Certificate | undefined {
  try {
    const x509 = new X509Certificate(pem)
    return {
      pem: x509.toString(),
      fingerprint: x509.fingerprint256.replaceAll(':', '').toLowerCase(),
      name: /(?:^|, )URI:([^,\s"]+)/.exec(x509.subjectAltName ?? '')?.[1] ?? '',
      notBefore: instant(Date.parse(x509.validFrom)),
      notAfter: instant(Date.parse(x509.validTo)),
      x509,
    }
  } catch {
    return undefined
  }
}

/** Whether the authority's key signed it. */
export function isSignedBy(certificate: Certificate, authority: Certificate): boolean {
  try {
    return (
      authority.x509.ca &&
      certificate.x509.checkIssued(authority.x509) &&
      certificate.x509.verify(authority.x509.publicKey)
    )
  } catch {
    return false
  }
}

/** The raw Ed25519 key of a certificate, base64; undefined for one of another kind. */
export function ed25519Of(certificate: Certificate): string | undefined {
  const { publicKey } = certificate.x509
  if (publicKey.asymmetricKeyType !== 'ed25519') return undefined
  return publicKey.export({ format: 'der', type: 'spki' }).subarray(-32).toString('base64')
}

/** An Ed25519 public key from its 32 bytes in base64 (RFC 8410 section 4). */
export const ed25519Key = (raw: string): KeyObject =>
  createPublicKey({
    key: Buffer.concat([Buffer.from('302a300506032b6570032100', 'hex'), Buffer.from(raw, 'base64')]),
    format: 'der',
    type: 'spki',
  })

/** Signs a certificate with the RSA key of an authority. */
export function makeCertificate(subject: Subject, issuer: Issuer): Certificate {
  const made = forge.pki.createCertificate()
  // RFC 5280 section 4.1.2.2: positive, at most 20 bytes.
  made.serialNumber = `01${Buffer.from(subject.serial).toString('hex')}`
  made.validity.notBefore = new Date(subject.notBefore)
  made.validity.notAfter = new Date(subject.notAfter)
  made.setSubject(attributesOf(subject))
  made.setIssuer(
    issuer.certificate === undefined ? attributesOf(subject) : subjectFieldsOf(issuer.certificate),
  )
  // Key identifiers come from it: an authority's own, a leaf's of its issuer. forge knows RSA keys only: the
  // subject's own takes its place below.
  const identified = subject.role.is === 'authority' ? subject.key : createPublicKey(issuer.key)
  made.publicKey = forge.pki.publicKeyFromPem(identified.export({ format: 'pem', type: 'spki' }).toString())
  made.setExtensions(extensionsOf(subject))
  made.signatureOid = sha256WithRsa
  made.siginfo.algorithmOid = sha256WithRsa
  const certificate = readCertificate(pemOf(signed(toBeSigned(made, subject.key), issuer.key)))
  if (certificate === undefined) throw new TypeError('a certificate that was just made cannot be read')
  return certificate
}

const { asn1 } = forge
/** In forge's documentation, but not in its types. */
const builder = forge.pki as unknown as { getTBSCertificate(made: forge.pki.Certificate): forge.asn1.Asn1 }
const sha256WithRsa = '1.2.840.113549.1.1.11' // RFC 8017 appendix A.2.4

/** RFC 5280 section 4.1: the subject's key is the seventh field of a version 3 certificate. */
function toBeSigned(made: forge.pki.Certificate, key: KeyObject): forge.asn1.Asn1 {
  const fields = builder.getTBSCertificate(made)
  const spki = key.export({ format: 'der', type: 'spki' }).toString('binary')
  ;(fields.value as forge.asn1.Asn1[])[6] = asn1.fromDer(spki)
  return fields
}

function signed(fields: forge.asn1.Asn1, key: KeyObject): string {
  const bytes = Buffer.from(asn1.toDer(fields).getBytes(), 'binary')
  const signature = sign('sha256', bytes, key).toString('binary')
  const { UNIVERSAL } = asn1.Class
  const node = (type: forge.asn1.Type, value: string | forge.asn1.Asn1[]) =>
    asn1.create(UNIVERSAL, type, typeof value !== 'string', value)
  const algorithm = node(asn1.Type.SEQUENCE, [
    node(asn1.Type.OID, asn1.oidToDer(sha256WithRsa).getBytes()),
    node(asn1.Type.NULL, ''),
  ])
  // A BIT STRING begins with the number of unused bits.
  const whole = [fields, algorithm, node(asn1.Type.BITSTRING, `\0${signature}`)]
  return asn1.toDer(node(asn1.Type.SEQUENCE, whole)).getBytes()
}

function pemOf(der: string): string {
  const lines =
    Buffer.from(der, 'binary')
      .toString('base64')
      .match(/.{1,64}/g) ?? []
  return `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`
}

const subjectFieldsOf = ({ pem }: Certificate): forge.pki.CertificateField[] =>
  forge.pki.certificateFromPem(pem).subject.attributes

function attributesOf({ environment, role, serial, namedAs }: Subject): forge.pki.CertificateField[] {
  if (namedAs !== undefined) return subjectFieldsOf(namedAs)
  return [
    { name: 'organizationName', value: `drover ${environment.name}` },
    {
      name: 'commonName',
      // Two authorities of one environment have different names, or chains would be ambiguous.
      value: commonName(role, serial),
    },
  ]
}

function commonName(role: Role, serial: Uint8Array): string {
  if (role.is === 'host') return role.host
  if (role.is !== 'authority') return role.is
  return `authority ${Buffer.from(serial).toString('hex').slice(0, 8)}`
}

function extensionsOf({ environment, role, addresses = [] }: Subject): object[] {
  const uri = { type: 6, value: nameOf(environment.uuid, role) }
  const names = {
    name: 'subjectAltName',
    altNames: [uri, ...addresses.map((ip) => ({ type: 7, ip }))],
  }
  if (role.is === 'authority')
    return [
      // One authority below: the one that takes its place (pki/succession.ts).
      { name: 'basicConstraints', cA: true, pathLenConstraint: 1, critical: true },
      { name: 'keyUsage', keyCertSign: true, cRLSign: true, digitalSignature: true, critical: true },
      { name: 'subjectKeyIdentifier' },
      names,
    ]
  return [
    { name: 'basicConstraints', cA: false, critical: true },
    { name: 'keyUsage', digitalSignature: true, critical: true },
    { name: 'extKeyUsage', serverAuth: role.is !== 'host', clientAuth: role.is !== 'join' },
    // Of the issuer, whose key forge holds here.
    { name: 'authorityKeyIdentifier', keyIdentifier: true },
    names,
  ]
}
