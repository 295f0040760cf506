/**
 * Asks a join endpoint to be let in. Nothing is sent before the endpoint has shown a certificate of the join
 * role that the CA of the token has signed.
 */
import { request } from 'node:https'
import { connect, type TLSSocket } from 'node:tls'
import { type JoinAnswer, joinAnswerSchema, joinProof } from '../model/admission.ts'
import { base64, utf8 } from '../model/bytes.ts'
import { DroverError, reasonOf } from '../model/errors.ts'
import { decodeRecord } from '../model/records.ts'
import type { Instant } from '../model/time.ts'
import { type Certificate, readCertificate } from './certificate.ts'
import type { HostIdentity } from './identity.ts'
import type { Token } from './token.ts'
import { judge } from './trust.ts'

export interface Joining {
  readonly token: Token
  readonly identity: HostIdentity
  /** Of this host, for the other one's log. */
  readonly name: string
  readonly now: Instant
}

const deadline = 10_000

/** Tries the places of the token in their order; the first that can be reached decides. */
export async function askToJoin(joining: Joining): Promise<JoinAnswer> {
  const { places } = joining.token
  const failures: string[] = []
  for (const place of places) {
    const socket = await connected(place).catch((error: unknown) => void failures.push(reasonOf(error)))
    if (socket === undefined) continue
    try {
      prove(socket, joining, place)
      return await exchanged(socket, joining, place)
    } finally {
      socket.destroy()
    }
  }
  throw new DroverError('JOIN_UNREACHABLE', `${places.join(', ')}: ${failures.join('; ')}`)
}

/** Certificates are looked at by `prove`: the CA is known by its fingerprint only. */
function connected(place: string): Promise<TLSSocket> {
  const [, host = '', port = ''] = /^\[?(.*?)\]?:(\d+)$/.exec(place) ?? []
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port: Number(port), rejectUnauthorized: false, minVersion: 'TLSv1.3' })
    socket.setTimeout(deadline, () => socket.destroy(new Error('no answer')))
    socket.once('error', reject)
    socket.once('secureConnect', () => resolve(socket))
  })
}

function prove(socket: TLSSocket, { token, now }: Joining, place: string): void {
  const leaf = socket.getPeerX509Certificate()
  const authority = authorityAbove(leaf?.issuerCertificate?.toString() ?? '', token)
  if (authority === undefined || leaf === undefined)
    throw new DroverError('JOIN_UNPROVEN', `${place} does not show the CA of the token`)
  const trust = { environment: token.uuid, authorities: [authority], revoked: new Set<string>() }
  const judgement = judge(leaf.toString(), { role: { is: 'join' } }, trust, now)
  if (judgement.is === 'bad') {
    const clock = judgement.code === 'CERTIFICATE_EXPIRED' || judgement.code === 'CERTIFICATE_NOT_YET_VALID'
    throw new DroverError(clock ? judgement.code : 'JOIN_UNPROVEN', `${place}: ${judgement.why}`)
  }
}

function authorityAbove(pem: string, { authority }: Token): Certificate | undefined {
  const certificate = readCertificate(pem)
  return certificate?.fingerprint === authority ? certificate : undefined
}

function exchanged(socket: TLSSocket, joining: Joining, place: string): Promise<JoinAnswer> {
  const { token, identity, name } = joining
  const body = JSON.stringify({
    token: token.id,
    secret: token.secret,
    name,
    signingKey: identity.signingKey,
    proof: base64(identity.sign(utf8(joinProof(token.id, token.authority)))),
  })
  return new Promise((resolve, reject) => {
    const call = request(
      {
        createConnection: () => socket,
        method: 'POST',
        path: '/v1/join',
        headers: { host: 'drover', 'content-type': 'application/json', connection: 'close' },
      },
      (response) => {
        const chunks: Buffer[] = []
        response.on('data', (chunk: Buffer) => chunks.push(chunk))
        response.on('error', reject)
        response.on('end', () => {
          try {
            resolve(answerOf(response.statusCode ?? 0, Buffer.concat(chunks).toString(), place))
          } catch (error) {
            reject(error)
          }
        })
      },
    )
    call.on('error', (cause) =>
      reject(new DroverError('JOIN_UNREACHABLE', `${place}: ${reasonOf(cause)}`, { cause })),
    )
    call.end(body)
  })
}

function answerOf(status: number, text: string, place: string): JoinAnswer {
  if (status === 403)
    throw new DroverError('TOKEN_REFUSED', `${place} does not take it: used, expired, or revoked`)
  if (status !== 200) throw new DroverError('JOIN_UNREACHABLE', `${place} answers ${status}: ${text}`)
  const decoded = decodeRecord(joinAnswerSchema, text)
  if (decoded.is === 'bad')
    throw new DroverError('JOIN_UNREACHABLE', `${place} answers what cannot be read: ${decoded.why}`)
  return decoded.value
}
