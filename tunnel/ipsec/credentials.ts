/**
 * What charon proves this host with and believes others by: the certificate and key that the host already has, and
 * the environment's authorities. The name in IKE is the certificate's subject, which says the host's id and not where
 * it is (RFC 7296 section 3.5, ID_DER_ASN1_DN). Pure.
 */
import type { HostId } from '../../model/records.ts'

export interface Credentials {
  /** X.509 of this host, PEM. */
  readonly certificate: string
  /** PKCS #8, PEM. */
  readonly key: string
  /** X.509 of the environment's authorities, PEM. */
  readonly authorities: readonly string[]
}

/** As pki/certificate.ts writes the subject of a host's certificate. */
export const ikeIdentity = (environment: string, host: HostId): string =>
  `O=drover ${environment}, CN=${host}`
