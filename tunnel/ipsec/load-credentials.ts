/**
 * Makes charon hold this host's credentials and no others. Connections name none of them, so a renewed certificate or
 * a new authority changes no connection and no SA; and what charon has already it is not told again, since it has no
 * key for a moment while it forgets the old one.
 */
import { DroverError, reasonOf } from '../../model/errors.ts'
import { uuidOf } from '../../model/uuid.ts'
import type { Credentials } from './credentials.ts'
import { namesIn, type Vici } from './vici-client.ts'

/** Rejects with IPSEC_KEY where charon cannot read what it is given. */
export async function loadCredentials(vici: Vici, credentials: Credentials): Promise<void> {
  const { certificate, key, authorities } = credentials
  if (!(await holds(vici, certificate))) {
    await vici.request('clear-creds')
    await given(vici.request('load-key', { type: 'any', data: key }), 'the key of this host')
    const leaf = { type: 'X509', flag: 'NONE', data: certificate }
    await given(vici.request('load-cert', leaf), 'the certificate of this host')
  }
  const wanted = new Map(authorities.map((pem) => [uuidOf('authority', pem) as string, pem]))
  const there = new Set(namesIn(await vici.request('get-authorities'), 'authorities'))
  for (const [name, cacert] of wanted)
    if (!there.has(name))
      await given(vici.request('load-authority', { [name]: { cacert } }), 'a certificate of the CA')
  for (const name of there) if (!wanted.has(name)) await vici.request('unload-authority', { name })
}

/** Whether it is the only one for which charon has a key: of two it may show the one that has ended. */
async function holds(vici: Vici, certificate: string): Promise<boolean> {
  const listed = await vici.list('list-certs', { type: 'X509', flag: 'NONE' })
  const own = listed.filter(({ has_privkey }) => has_privkey === 'yes').map(({ data }) => data)
  return own.length === 1 && own[0] === derOf(certificate)
}

/** As text with one character per byte. */
function derOf(pem: string): string {
  const body = pem.split('\n').filter((line) => !line.startsWith('-----'))
  return Buffer.from(body.join(''), 'base64').toString('latin1')
}

function given(asked: Promise<unknown>, what: string): Promise<unknown> {
  return asked.catch((cause) => {
    if (cause instanceof DroverError && cause.code === 'IPSEC_REFUSED')
      throw new DroverError('IPSEC_KEY', `${what}: ${reasonOf(cause)}`, { cause })
    throw cause
  })
}
