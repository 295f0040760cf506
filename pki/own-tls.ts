/**
 * What this host shows and believes in TLS: its certificate and key, and the environment's authorities beside the
 * public ones. Read anew each time, since certificates are renewed.
 */
import { rootCertificates } from 'node:tls'
import { utf8 } from '../model/bytes.ts'
import { DroverError } from '../model/errors.ts'
import { loadIdentity } from './identity.ts'
import { readTrustFile } from './trust-file.ts'

export interface OwnTls {
  readonly ca: Uint8Array
  readonly cert: Uint8Array
  readonly key: Uint8Array
}

export function ownTls(folder: string): OwnTls {
  const [identity, file] = [loadIdentity(folder), readTrustFile(folder)]
  if (identity === undefined || file === undefined) throw new DroverError('CERTIFICATE_MISSING', folder)
  return {
    ca: utf8([...file.authorities, ...rootCertificates].join('\n')),
    // An etcd that knows the former CA only believes the new one by the former's word.
    cert: utf8(file.certificate + (file.cross ?? '')),
    key: utf8(identity.tlsKey()),
  }
}
