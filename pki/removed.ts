/**
 * The list of hosts that were removed: signed by the CA itself, with a number that grows. Whoever has seen a list
 * takes no older one.
 */
import { utf8, utf8Text } from '../model/bytes.ts'
import type { Decoded } from '../model/records.ts'
import type { Uuid } from '../model/uuid.ts'
import { type Authority, isSignedText } from './authority.ts'
import type { Trust } from './trust.ts'

export interface RemovedList {
  readonly environment: Uuid
  readonly number: number
  /** Ids of hosts. */
  readonly hosts: readonly string[]
}

export function sealRemoved(list: RemovedList, authority: Authority): Uint8Array {
  const body = JSON.stringify([list.environment, list.number, [...list.hosts].sort()])
  return utf8(JSON.stringify({ body, signature: authority.sign(signedText(body)) }))
}

export function openRemoved(bytes: Uint8Array, trust: Trust): Decoded<RemovedList> {
  const { body, signature } = envelopeOf(utf8Text(bytes) ?? '')
  if (body === undefined || signature === undefined) return bad('not a list')
  if (!trust.authorities.some((authority) => isSignedText(signedText(body), signature, authority)))
    return bad('the CA has not signed it')
  const [environment, number, hosts] = JSON.parse(body) as [Uuid, number, readonly string[]]
  if (environment !== trust.environment) return bad('of another environment')
  return { is: 'ok', value: { environment, number, hosts } }
}

const signedText = (body: string): string => `drover removed 1\n${body}`
const bad = (why: string): { readonly is: 'bad'; readonly why: string } => ({ is: 'bad', why })

function envelopeOf(text: string): { readonly body?: string; readonly signature?: string } {
  try {
    const json = JSON.parse(text) as { body?: unknown; signature?: unknown } | null
    if (typeof json?.body !== 'string' || typeof json.signature !== 'string') return {}
    return { body: json.body, signature: json.signature }
  } catch {
    return {}
  }
}
