/**
 * A text for one reader who made a key for it a moment ago and forgets it afterwards: ephemeral X25519 on both
 * sides, HKDF-SHA256, AES-256-GCM. Whoever keeps the box cannot open it later, not even with the keys of both hosts.
 * It says nothing about who wrote it: that is for the envelope around it.
 */
import {
  createCipheriv,
  createDecipheriv,
  createPublicKey,
  diffieHellman,
  generateKeyPairSync,
  hkdfSync,
  type KeyObject,
} from 'node:crypto'
import { base64, fromBase64, utf8 } from '../model/bytes.ts'

export interface SealedText {
  /** Ephemeral X25519 key of the writer, base64 of 32 bytes. */
  readonly key: string
  /** Ciphertext and tag, base64. */
  readonly box: string
}

export interface Reader {
  /** X25519, base64 of 32 bytes. */
  readonly key: string
  /** Undefined for what was not sealed for this reader in this context. */
  open(sealed: SealedText, context: string): string | undefined
}

const tagLength = 16
/** Each key seals one text. */
const nonce = new Uint8Array(12)

export function newReader(): Reader {
  const { privateKey, publicKey } = generateKeyPairSync('x25519')
  const key = rawOf(publicKey)
  return {
    key,
    open: ({ key: writer, box }, context) => {
      try {
        const secret = secretOf(privateKey, writer, `${context}\n${writer}\n${key}`)
        const bytes = fromBase64(box) ?? new Uint8Array()
        const cipher = createDecipheriv('aes-256-gcm', secret, nonce, { authTagLength: tagLength })
        cipher.setAuthTag(bytes.subarray(-tagLength))
        return Buffer.concat([cipher.update(bytes.subarray(0, -tagLength)), cipher.final()]).toString()
      } catch {
        return undefined
      }
    },
  }
}

/** Throws where the reader's key is none. `context` must be the same on both sides. */
export function sealText(text: string, reader: string, context: string): SealedText {
  const { privateKey, publicKey } = generateKeyPairSync('x25519')
  const key = rawOf(publicKey)
  const secret = secretOf(privateKey, reader, `${context}\n${key}\n${reader}`)
  const cipher = createCipheriv('aes-256-gcm', secret, nonce, { authTagLength: tagLength })
  const sealed = Buffer.concat([cipher.update(utf8(text)), cipher.final(), cipher.getAuthTag()])
  return { key, box: base64(sealed) }
}

const secretOf = (own: KeyObject, other: string, info: string): Uint8Array =>
  new Uint8Array(
    hkdfSync('sha256', diffieHellman({ privateKey: own, publicKey: publicOf(other) }), '', info, 32),
  )

/** SubjectPublicKeyInfo of X25519 (RFC 8410 section 4). */
const publicOf = (raw: string): KeyObject =>
  createPublicKey({
    key: Buffer.concat([Buffer.from('302a300506032b656e032100', 'hex'), Buffer.from(raw, 'base64')]),
    format: 'der',
    type: 'spki',
  })

const rawOf = (key: KeyObject): string => base64(key.export({ format: 'der', type: 'spki' }).subarray(-32))
