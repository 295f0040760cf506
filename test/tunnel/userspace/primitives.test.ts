/**
 * Which primitives an engine chooses: the fastest that is there, not switched off, and right.
 */
import { test } from 'tap'
import { makeArena } from '../../../linux/ffi.ts'
import { EvpContext, fusedPrimitives, opensslCurve, opensslPrimitives } from '../../../linux/openssl.ts'
import type { Primitives } from '../../../tunnel/userspace/chacha20-poly1305.ts'
import type { Switch } from '../../../tunnel/userspace/orders.ts'
import { choosePrimitives, type Openssl } from '../../../tunnel/userspace/primitives.ts'

const arena = makeArena(1 << 20)
const openssl: Openssl = {
  primitives: (fused) => (fused ? fusedPrimitives(arena) : opensslPrimitives(arena)),
  curve: () => opensslCurve(arena),
  context: (scratch, keyAt, direction) => new EvpContext(arena, scratch, keyAt, direction),
}
const wrong: Primitives = {
  chacha20: () => undefined,
  poly1305: () => undefined,
  chacha20Poly1305: () => undefined,
}

async function chosen(change: Partial<Openssl> = {}, without: readonly Switch[] = []) {
  const { aead, crypto } = await choosePrimitives({ arena, openssl: { ...openssl, ...change } }, { without })
  return [aead.name, aead.fused ? 'in one call' : 'singly', crypto.name]
}

test('the fastest that is there and that nobody switched off', async (t) => {
  const fastest = process.arch === 'x64' ? 'in one call' : 'singly'
  t.strictSame(await chosen(), ['openssl', fastest, 'openssl'])
  t.strictSame(await chosen({}, ['fused']), ['openssl', 'singly', 'openssl'])
  t.strictSame(await chosen({}, ['openssl']), ['libsodium', 'singly', 'libsodium'])
})

test('what is not there, or wrong, gives way to the next', async (t) => {
  const primitives = (one: Primitives | undefined, other: Primitives | undefined) => ({
    primitives: (fused: boolean) => (fused ? one : other),
  })
  const single = opensslPrimitives(arena)
  t.strictSame(await chosen(primitives(undefined, single)), ['openssl', 'singly', 'openssl'])
  t.strictSame(await chosen(primitives(wrong, single)), ['openssl', 'singly', 'openssl'])
  t.strictSame(await chosen(primitives(wrong, wrong)), ['evp', 'singly', 'libsodium'])
  t.strictSame(await chosen(primitives(undefined, undefined)), ['evp', 'singly', 'libsodium'])
  t.match(await chosen({ curve: () => undefined }), ['openssl', /./, 'libsodium'])
})
