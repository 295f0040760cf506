/**
 * The preshared key of two hosts, from the keys that their certificates name: each computes it alone, and it is
 * in no store. X25519 of the signing keys in their Montgomery form (RFC 7748 section 4.1), then HKDF-SHA256. The
 * tunnel's own key is not part of it: who has that one alone, from the process that carries packets, lacks this.
 */
import {
  createHash,
  createPrivateKey,
  createPublicKey,
  diffieHellman,
  hkdfSync,
  type KeyObject,
} from 'node:crypto'
import { base64 } from '../model/bytes.ts'
import type { Instant } from '../model/time.ts'
import type { Uuid } from '../model/uuid.ts'

export interface PresharedContext {
  readonly environment: Uuid
  /** When this key's time began: each gives another key. */
  readonly since: Instant
}

/** Of this host with others. The result is base64 of 32 bytes; undefined for a signing key that shares nothing. */
export type PresharedKeys = (signingKey: string, context: PresharedContext) => string | undefined

/** `seed`: 32 bytes from which the Ed25519 key was made; `signingKey`: its public key, base64. */
export function presharedKeysOf(seed: Uint8Array, signingKey: string): PresharedKeys {
  const own = privateKeyOf(scalarOf(seed))
  const shared = new Map<string, Uint8Array>()
  return (other, { environment, since }) => {
    const secret = shared.get(other) ?? secretWith(own, other)
    if (secret === undefined) return undefined
    shared.set(other, secret)
    const info = `drover preshared key 1\n${since}\n${[signingKey, other].sort().join('\n')}`
    return base64(new Uint8Array(hkdfSync('sha256', secret, environment, info, 32)))
  }
}

/** Undefined for a key of low order, with which nobody shares a secret (RFC 7748 section 6.1). */
function secretWith(own: KeyObject, other: string): Uint8Array | undefined {
  try {
    return diffieHellman({ privateKey: own, publicKey: publicKeyOf(montgomery(other)) })
  } catch {
    return undefined
  }
}

/** The scalar of an Ed25519 key (RFC 8032 section 5.1.5); X25519 clamps it in the same way. */
const scalarOf = (seed: Uint8Array): Uint8Array => createHash('sha512').update(seed).digest().subarray(0, 32)

const prime = 2n ** 255n - 19n

/** u = (1 + y) / (1 - y): RFC 7748 section 4.1. The bit above y is the sign of x, which u does not have. */
function montgomery(signingKey: string): Uint8Array {
  const bytes = Buffer.from(signingKey, 'base64').reverse()
  const y = BigInt(`0x${bytes.toString('hex')}`) & (2n ** 255n - 1n)
  const u = ((1n + y) * power(prime + 1n - (y % prime), prime - 2n)) % prime
  return Buffer.from(u.toString(16).padStart(64, '0'), 'hex').reverse()
}

/** base^exponent modulo the prime; with p - 2 the inverse. */
function power(base: bigint, exponent: bigint): bigint {
  let [result, square] = [1n, base % prime]
  for (let rest = exponent; rest > 0n; rest >>= 1n) {
    if (rest & 1n) result = (result * square) % prime
    square = (square * square) % prime
  }
  return result
}

/** PKCS #8 and SubjectPublicKeyInfo of X25519 (RFC 8410 sections 4 and 7). */
const privateKeyOf = (raw: Uint8Array): KeyObject =>
  createPrivateKey({
    key: Buffer.concat([Buffer.from('302e020100300506032b656e04220420', 'hex'), raw]),
    format: 'der',
    type: 'pkcs8',
  })
const publicKeyOf = (raw: Uint8Array): KeyObject =>
  createPublicKey({
    key: Buffer.concat([Buffer.from('302a300506032b656e032100', 'hex'), raw]),
    format: 'der',
    type: 'spki',
  })
