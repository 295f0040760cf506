/**
 * The envelope of every record in the store: a JSON text that carries body, counter, key id and signature, so
 * that who may write to the store cannot speak for a host. The signature covers the key in the store, the
 * counter and the body. Whether a counter is newer than the last one is for the reader to judge.
 */
import { createHash, createPublicKey, type KeyObject, verify } from 'node:crypto'
import { base64, fromBase64, utf8, utf8Text } from '../model/bytes.ts'
import { type Decoded, encodeRecord, type HostId, hostIdField } from '../model/records.ts'
import { uuidText } from '../model/uuid.ts'
import type { HostIdentity } from './identity.ts'

export interface Envelope {
  /** The record's JSON text. */
  readonly body: string
  /** Grows with everything that a host signs. */
  readonly counter: number
  /** Whose key signed it. */
  readonly key: HostId
  /** Ed25519 (RFC 8032), base64. */
  readonly signature: string
}

const sizeLimit = 1024 * 1024

/** A host is called by the digest of its signing key. */
export function hostIdOf(signingKey: string): HostId {
  const digest = createHash('sha256').update(Buffer.from(signingKey, 'base64')).digest()
  return uuidText(digest.subarray(0, 16)) as string as HostId
}

export function sealRecord(
  identity: HostIdentity,
  storeKey: string,
  body: object,
  counter: number,
): Uint8Array {
  const text = encodeRecord(body)
  const signature = base64(identity.sign(signedBytes(storeKey, counter, text)))
  return utf8(textOf({ body: text, counter, key: identity.id, signature }))
}

/** Reads the form of an envelope, which must be exactly as it is written; says nothing about its signature. */
export function openEnvelope(bytes: Uint8Array): Decoded<Envelope> {
  if (bytes.length > sizeLimit) return bad('too large')
  const text = utf8Text(bytes)
  if (text === undefined) return bad('not UTF-8')
  const envelope = parse(text)
  if (envelope === undefined) return bad('not an envelope')
  return textOf(envelope) === text ? { is: 'ok', value: envelope } : bad('not in canonical form')
}

/** Whether the host that the envelope names signed it, for this key of the store, with this signing key. */
export function verifyEnvelope(envelope: Envelope, storeKey: string, signingKey: string): boolean {
  const raw = fromBase64(signingKey, 32)
  const signature = fromBase64(envelope.signature, 64)
  if (raw === undefined || signature === undefined || hostIdOf(signingKey) !== envelope.key) return false
  return verify(null, signedBytes(storeKey, envelope.counter, envelope.body), publicKeyOf(raw), signature)
}

/** The number of an envelope, whoever has signed it; -1 for what is none. */
export function counterOf(bytes: Uint8Array): number {
  const opened = openEnvelope(bytes)
  return opened.is === 'ok' ? opened.value.counter : -1
}

/** The body of a record that a given key has signed. */
export function openOwnRecord(bytes: Uint8Array, storeKey: string, signingKey: string): Decoded<string> {
  const opened = openEnvelope(bytes)
  if (opened.is === 'bad') return opened
  return verifyEnvelope(opened.value, storeKey, signingKey)
    ? { is: 'ok', value: opened.value.body }
    : { is: 'bad', why: 'signed by somebody else' }
}

/** Whether an Ed25519 key has signed these bytes. */
export function verifyText(text: Uint8Array, signature: Uint8Array, signingKey: string): boolean {
  const raw = fromBase64(signingKey, 32)
  return raw !== undefined && signature.length === 64 && verify(null, text, publicKeyOf(raw), signature)
}

/** SubjectPublicKeyInfo of Ed25519 up to the 32 bytes of the key (RFC 8410 section 4). */
const spkiPrefix = Buffer.from('302a300506032b6570032100', 'hex')

const publicKeyOf = (raw: Uint8Array): KeyObject =>
  createPublicKey({ key: Buffer.concat([spkiPrefix, raw]), format: 'der', type: 'spki' })

/** Unambiguous: neither the first line nor a counter has a line break, and the key's length goes before it. */
const signedBytes = (storeKey: string, counter: number, body: string): Uint8Array =>
  utf8(`drover record 1\n${storeKey.length} ${counter}\n${storeKey}\n${body}`)

const textOf = ({ body, counter, key, signature }: Envelope): string =>
  JSON.stringify({ body, counter, key, signature })

const bad = (why: string): { readonly is: 'bad'; readonly why: string } => ({ is: 'bad', why })

function parse(text: string): Envelope | undefined {
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch {
    return undefined
  }
  if (typeof json !== 'object' || json === null) return undefined
  const { body, counter, key, signature } = json as Readonly<Record<string, unknown>>
  if (typeof body !== 'string' || typeof signature !== 'string') return undefined
  if (typeof counter !== 'number' || !Number.isSafeInteger(counter) || counter < 0) return undefined
  const host = hostIdField.safeParse(key)
  if (!host.success || fromBase64(signature, 64) === undefined) return undefined
  return { body, counter, key: host.data, signature }
}
