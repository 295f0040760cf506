/**
 * The line that an operator pastes: which environment, where to join, the fingerprint of its CA, and a secret. A
 * checksum finds what was cut off or mistyped before anything is sent.
 */
import { createHash, timingSafeEqual } from 'node:crypto'
import { utf8, utf8Text } from '../model/bytes.ts'
import { DroverError } from '../model/errors.ts'
import type { Uuid } from '../model/uuid.ts'

export interface Token {
  readonly environment: string
  readonly uuid: Uuid
  /** `address:port` of join endpoints. */
  readonly places: readonly string[]
  /** Fingerprint of the CA's certificate, hex of 32 bytes. */
  readonly authority: string
  readonly id: string
  /** Base64url of 16 bytes. */
  readonly secret: string
}

const prefix = 'drover-token-'
const sumLength = 4

export function tokenText({ environment, uuid, places, authority, id, secret }: Token): string {
  const body = utf8(JSON.stringify([environment, uuid, places, authority, id, secret]))
  return prefix + Buffer.concat([sumOf(body), body]).toString('base64url')
}

export function parseToken(text: string): Token {
  const bytes = text.startsWith(prefix) ? Buffer.from(text.slice(prefix.length), 'base64url') : undefined
  if (bytes === undefined || bytes.length <= sumLength)
    throw new DroverError('TOKEN_INVALID', `it begins with ${prefix}…`)
  const body = bytes.subarray(sumLength)
  if (!sumOf(body).equals(bytes.subarray(0, sumLength)))
    throw new DroverError('TOKEN_INVALID', 'it was cut off or altered')
  const token = fieldsOf(body)
  if (token === undefined) throw new DroverError('TOKEN_INVALID', 'another version of Drover made it')
  return token
}

export const digestOf = (secret: string): string => createHash('sha256').update(secret).digest('hex')

/** In constant time. */
export function isSecret(secret: string, digest: string): boolean {
  return timingSafeEqual(Buffer.from(digestOf(secret)), Buffer.from(digest))
}

const sumOf = (body: Uint8Array): Buffer => createHash('sha256').update(body).digest().subarray(0, sumLength)

function fieldsOf(body: Uint8Array): Token | undefined {
  try {
    const fields: unknown = JSON.parse(utf8Text(body) ?? '')
    if (!Array.isArray(fields)) return undefined
    const [environment, uuid, places, authority, id, secret] = fields as readonly unknown[]
    const texts = [environment, uuid, authority, id, secret]
    if (!texts.every((field) => typeof field === 'string') || !Array.isArray(places)) return undefined
    return { environment, uuid, places: places.map(String), authority, id, secret } as Token
  } catch {
    return undefined
  }
}
