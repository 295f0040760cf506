/** Who offers the primitives of handshakes, by name: each is held against the same vectors. */
import { makeArena } from '../../linux/ffi.ts'
import { opensslCurve, opensslPrimitives } from '../../linux/openssl.ts'
import { type HandshakeDeps, OpensslCrypto } from '../../tunnel/userspace/handshake-crypto.ts'
import type { Crypto } from '../../tunnel/wireguard/crypto.ts'
import { primitives as sodium } from './wireguard.ts'

const arena = makeArena(1 << 16)

/** What this Node exports; `change` takes the place of a part. */
export function opensslCrypto(change: Partial<HandshakeDeps> = {}): OpensslCrypto {
  const [primitives, curve] = [opensslPrimitives(arena), opensslCurve(arena)]
  if (primitives === undefined || curve === undefined) throw new TypeError('this Node exports no primitives')
  return new OpensslCrypto({ arena, primitives, curve, ...change })
}

/** Whether anything but zeros lies in its memory. */
export const secretsLeft = (): boolean => !clean.equals(arena.bytes)
const clean = Buffer.alloc(arena.bytes.length)

export const everyCrypto: Readonly<Record<string, Crypto>> = {
  libsodium: sodium.crypto,
  OpenSSL: opensslCrypto(),
}
