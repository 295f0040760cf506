/**
 * Who this host is: an Ed25519 key that signs its records and an X25519 key for its tunnel, made here and kept
 * in one file of mode 0600. The file is whole or absent, whenever the process dies; two processes that start
 * together agree on one.
 */
import { createPrivateKey, createPublicKey, type KeyObject, randomBytes, sign } from 'node:crypto'
import { join } from 'node:path'
import { base64, fromBase64 } from '../model/bytes.ts'
import { DroverError } from '../model/errors.ts'
import type { HostId } from '../model/records.ts'
import { hostIdOf } from './envelope.ts'
import { type PresharedKeys, presharedKeysOf } from './preshared.ts'
import { type Damaged, readPrivate, sweepDrafts, writeOnce } from './private-file.ts'

export interface HostIdentity {
  readonly id: HostId
  /** Ed25519 public key, base64 of 32 bytes. */
  readonly signingKey: string
  /** X25519 public key, base64 of 32 bytes. */
  readonly wireguardKey: string
  /** X25519 private key, base64 of 32 bytes: for the tunnel, and for nobody else. */
  readonly wireguardPrivate: string
  sign(bytes: Uint8Array): Uint8Array
  /** The signing key as PEM, for TLS. */
  tlsKey(): string
  /** What this host shares with another one, by that one's signing key. */
  readonly presharedKeys: PresharedKeys
}

const fileName = 'identity.json'

export function loadOrCreateIdentity(folder: string): HostIdentity {
  const standing = loadIdentity(folder)
  if (standing !== undefined) sweepDrafts(join(folder, fileName), damaged)
  return standing ?? createIdentity(folder)
}

/** Undefined when there is none. */
export function loadIdentity(folder: string): HostIdentity | undefined {
  const path = join(folder, fileName)
  const text = readPrivate(path, damaged)
  return text === undefined ? undefined : identityOf(text, path)
}

function createIdentity(folder: string): HostIdentity {
  const path = join(folder, fileName)
  const text = JSON.stringify({ signing: base64(randomBytes(32)), wireguard: base64(randomScalar()) })
  writeOnce(path, `${text}\n`, damaged)
  const identity = loadIdentity(folder)
  if (identity === undefined) throw damaged(path, 'it was removed while it was made')
  return identity
}

/** Clamped as RFC 7748 section 5 asks. */
function randomScalar(): Uint8Array {
  const scalar = randomBytes(32)
  scalar.writeUInt8(scalar.readUInt8(0) & 248, 0)
  scalar.writeUInt8((scalar.readUInt8(31) & 127) | 64, 31)
  return scalar
}

const damaged: Damaged = (path, why, cause) =>
  new DroverError('IDENTITY_DAMAGED', `${path}: ${why}`, { fields: { path }, cause })

function identityOf(text: string, path: string): HostIdentity {
  const { signing, wireguard } = parsed(text)
  const seed = rawKey(signing)
  const scalar = rawKey(wireguard)
  if (seed === undefined || scalar === undefined) throw damaged(path, 'its content is not what was written')
  const key = privateKey('302e020100300506032b657004220420', seed)
  const signingKey = publicOf(key)
  return {
    id: hostIdOf(signingKey),
    signingKey,
    wireguardKey: publicOf(privateKey('302e020100300506032b656e04220420', scalar)),
    wireguardPrivate: base64(scalar),
    sign: (bytes) => sign(null, bytes, key),
    presharedKeys: presharedKeysOf(seed, signingKey),
    tlsKey: () => key.export({ format: 'pem', type: 'pkcs8' }).toString(),
  }
}

function parsed(text: string): Readonly<Record<string, unknown>> {
  try {
    const json: unknown = JSON.parse(text)
    return typeof json === 'object' && json !== null ? { ...json } : {}
  } catch {
    return {}
  }
}

const rawKey = (value: unknown): Uint8Array | undefined =>
  typeof value === 'string' ? fromBase64(value, 32) : undefined

/** `prefix` is PKCS #8 up to the 32 bytes of the key (RFC 8410 section 7). */
const privateKey = (prefix: string, raw: Uint8Array): KeyObject =>
  createPrivateKey({ key: Buffer.concat([Buffer.from(prefix, 'hex'), raw]), format: 'der', type: 'pkcs8' })

/** The last 32 bytes of its SubjectPublicKeyInfo. */
const publicOf = (key: KeyObject): string =>
  base64(createPublicKey(key).export({ format: 'der', type: 'spki' }).subarray(-32))
