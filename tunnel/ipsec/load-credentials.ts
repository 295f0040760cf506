/**
 * Makes charon hold this host's credentials and no others. Connections name none of them, so a renewed certificate or
 * a new authority changes no connection and no SA.
 */
import { DroverError, reasonOf } from '../../model/errors.ts'
import { uuidOf } from '../../model/uuid.ts'
import type { Credentials } from './credentials.ts'
import { namesIn, type Vici } from './vici-client.ts'

/** Rejects with IPSEC_KEY where charon cannot read what it is given. */
export async function loadCredentials(
  vici: Vici,
  { certificate, key, authorities }: Credentials,
): Promise<void> {
  await vici.request('clear-creds')
  await given(vici.request('load-key', { type: 'any', data: key }), 'the key of this host')
  const leaf = { type: 'X509', flag: 'NONE', data: certificate }
  await given(vici.request('load-cert', leaf), 'the certificate of this host')
  const wanted = new Map(authorities.map((pem) => [uuidOf('authority', pem) as string, pem]))
  for (const name of namesIn(await vici.request('get-authorities'), 'authorities'))
    if (!wanted.has(name)) await vici.request('unload-authority', { name })
  for (const [name, cacert] of wanted)
    await given(vici.request('load-authority', { [name]: { cacert } }), 'a certificate of the CA')
}

function given(asked: Promise<unknown>, what: string): Promise<unknown> {
  return asked.catch((cause) => {
    if (cause instanceof DroverError && cause.code === 'IPSEC_REFUSED')
      throw new DroverError('IPSEC_KEY', `${what}: ${reasonOf(cause)}`, { cause })
    throw cause
  })
}
