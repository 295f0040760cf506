/**
 * Which AEAD and whose primitives of handshakes an engine uses: the fastest that this Node has, that is not switched
 * off, and that gives the known answers.
 */
import type { Arena } from '../../linux/arena.ts'
import type { Aead } from '../wireguard/aead.ts'
import type { Crypto } from '../wireguard/crypto.ts'
import { ComposedAead, type Primitives } from './chacha20-poly1305.ts'
import { EvpAead, type EvpDeps } from './evp.ts'
import { type Curve, OpensslCrypto } from './handshake-crypto.ts'
import { type EngineOptions, isOn } from './orders.ts'
import { PROOF_ROOM, proven, provenHandshakes } from './proven.ts'

/** What the OpenSSL inside of Node offers; undefined what it does not export. */
export interface Openssl {
  /** `fused`: with one call a packet, undefined where the processor has no code for it. */
  primitives(fused: boolean): Primitives | undefined
  curve(): Curve | undefined
  readonly context: EvpDeps['context']
}

export interface PrimitivesDeps {
  readonly arena: Arena
  readonly openssl: Openssl
}

export interface Chosen {
  /** `fused`: a packet takes one call. */
  readonly aead: { readonly name: string; readonly aead: Aead; readonly fused: boolean }
  readonly crypto: { readonly name: string; readonly crypto: Crypto }
}

/** libsodium is slow to load: only where it is needed. */
export async function choosePrimitives(
  deps: PrimitivesDeps,
  options: Pick<EngineOptions, 'without'>,
): Promise<Chosen> {
  const openssl = isOn(options, 'openssl')
  const aead = openssl ? opensslAead(deps, isOn(options, 'fused')) : undefined
  const crypto = openssl ? opensslCrypto(deps) : undefined
  if (aead !== undefined && crypto !== undefined) return { aead, crypto }
  const { loadSodium } = await import('../wireguard/sodium.ts')
  const sodium = await loadSodium()
  return {
    aead: aead ?? { name: 'libsodium', aead: sodium.aead, fused: false },
    crypto: crypto ?? { name: 'libsodium', crypto: sodium.crypto },
  }
}

/** The first that is right, in the order of what they cost; none is made that is not needed. */
function opensslAead({ arena, openssl }: PrimitivesDeps, mayFuse: boolean): Chosen['aead'] | undefined {
  const composed = (fused: boolean): Chosen['aead'] | undefined => {
    const primitives = openssl.primitives(fused)
    return primitives && { name: 'openssl', aead: new ComposedAead({ arena, primitives }), fused }
  }
  const ways = [
    () => (mayFuse ? composed(true) : undefined),
    () => composed(false),
    () => ({ name: 'evp', aead: new EvpAead({ arena, context: openssl.context }), fused: false }),
  ]
  const room = arena.take(PROOF_ROOM)
  for (const way of ways) {
    const made = way()
    if (made !== undefined && proven(made.aead, arena.bytes, room)) return made
  }
  return undefined
}

function opensslCrypto({ arena, openssl }: PrimitivesDeps): Chosen['crypto'] | undefined {
  const [primitives, curve] = [openssl.primitives(false), openssl.curve()]
  const crypto = primitives && curve && new OpensslCrypto({ arena, primitives, curve })
  return crypto && provenHandshakes(crypto) ? { name: 'openssl', crypto } : undefined
}
