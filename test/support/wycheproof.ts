/**
 * The vectors of Project Wycheproof and of BLAKE2s (test/fixtures/wycheproof/PROVENANCE.md), bytes instead of text;
 * and ChaCha20-Poly1305 of `node:crypto` as an oracle for nonces that no vector has.
 */
import { createCipheriv } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { bytes } from './wireguard.ts'

interface Group<Raw> {
  readonly testGroups: readonly { readonly tests: readonly Raw[] }[]
}

type Raw<Field extends string> = Readonly<Record<Field | 'comment', string>> & {
  readonly tcId: number
  readonly result: 'valid' | 'invalid' | 'acceptable'
  readonly flags: readonly string[]
}

const read = <T>(name: string): T =>
  JSON.parse(readFileSync(join(import.meta.dirname, '../fixtures', name), 'utf8'))

const testsOf = <Field extends string>(name: string): readonly Raw<Field>[] =>
  read<Group<Raw<Field>>>(`wycheproof/${name}_test.json`).testGroups.flatMap(({ tests }) => tests)

export const x25519Vectors = testsOf<'public' | 'private' | 'shared'>('x25519').map((raw) => ({
  name: `${raw.tcId} ${raw.comment}`,
  publicKey: bytes(raw.public),
  privateKey: bytes(raw.private),
  shared: bytes(raw.shared),
}))

export interface AeadCase {
  readonly name: string
  readonly key: Uint8Array
  readonly nonce: Uint8Array
  readonly data: Uint8Array
  readonly plain: Uint8Array
  /** With its tag. */
  readonly sealed: Uint8Array
  readonly valid: boolean
}

export const aeadVectors = (name: 'chacha20_poly1305' | 'xchacha20_poly1305'): readonly AeadCase[] =>
  testsOf<'key' | 'iv' | 'aad' | 'msg' | 'ct' | 'tag'>(name).map((raw) => ({
    name: `${name} ${raw.tcId} ${raw.comment}`,
    key: bytes(raw.key),
    nonce: bytes(raw.iv),
    data: bytes(raw.aad),
    plain: bytes(raw.msg),
    sealed: bytes(raw.ct + raw.tag),
    valid: raw.result === 'valid',
  }))

/** Input number n is the bytes 0 to n - 1, the key the bytes 0 to 31. */
export const blake2sAnswers: Readonly<Record<'plain' | 'keyed', readonly string[]>> = read('blake2s-kat.json')

/** `sealed` of whatever nonce. */
export function oracleSeal(
  key: Uint8Array,
  nonce: Uint8Array,
  plain: Uint8Array,
  data: Uint8Array = new Uint8Array(0),
): Uint8Array {
  const cipher = createCipheriv('chacha20-poly1305', key, nonce, { authTagLength: 16 })
  cipher.setAAD(data, { plaintextLength: plain.length })
  return Uint8Array.from(Buffer.concat([cipher.update(plain), cipher.final(), cipher.getAuthTag()]))
}

/** The nonce of a transport packet (paper 5.4.6). */
export function nonceOf(counter: number): Uint8Array {
  const nonce = new Uint8Array(12)
  new DataView(nonce.buffer).setBigUint64(4, BigInt(counter), true)
  return nonce
}
