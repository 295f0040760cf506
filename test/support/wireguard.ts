/**
 * What tests of the WireGuard core share: the independent fixture, the loaded primitives, devices with keys of
 * their own, inner packets.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fromHex } from '../../model/bytes.ts'
import { type Instant, instant } from '../../model/time.ts'
import {
  Device,
  type DeviceOptions,
  HEADROOM,
  SCRATCH_LENGTH,
  TAILROOM,
} from '../../tunnel/wireguard/device.ts'
import { loadSodium } from '../../tunnel/wireguard/sodium.ts'
import { SeededRandom } from './ports.ts'

export const bytes = (text: string): Uint8Array => fromHex(text) ?? new Uint8Array(0)

/** Made by test/fixtures/wireguard.py. */
export const fixture: {
  readonly aead: readonly { key: string; counter: number; plain: string; sealed: string }[]
  readonly handshake: Readonly<Record<string, string>> & {
    readonly initiatorIndex: number
    readonly responderIndex: number
  }
  readonly cookie: Readonly<
    Record<'secret' | 'source' | 'nonce' | 'cookie' | 'reply' | 'initiationWithMac2', string>
  >
} = JSON.parse(readFileSync(join(import.meta.dirname, '../fixtures/wireguard.json'), 'utf8'))

export const primitives = await loadSodium()

/** How many rounds fuzzers and models run; DROVER_FUZZ asks for more. */
export const fuzzRounds = (usual: number): number => Number(process.env.DROVER_FUZZ ?? usual)

export interface Box {
  readonly device: Device
  readonly privateKey: Uint8Array
  readonly publicKey: Uint8Array
}

export function boxOf(
  seed: number,
  wall: () => Instant = () => instant(1_700_000_000_000),
  options: Partial<DeviceOptions> = {},
): Box {
  const random = new SeededRandom(seed)
  const privateKey = random.bytes(32)
  const memory = new Uint8Array(SCRATCH_LENGTH)
  const device = new Device(
    { ...primitives, random, wall },
    { scratch: { memory, offset: 0, length: memory.length }, ...options },
  )
  return { device, privateKey, publicKey: primitives.crypto.publicKey(privateKey) }
}

/** An inner packet with room around it: `memory`, and where the packet lies in it. */
export interface Inner {
  readonly memory: Uint8Array
  readonly offset: number
  readonly length: number
}

/** UDP-shaped IPv4 from 10.0.0.`from` to 10.0.0.`to`, with a number in its payload. */
export function innerV4(from: number, to: number, length = 64, tag = 0): Inner {
  const memory = new Uint8Array(HEADROOM + length + TAILROOM)
  const view = new DataView(memory.buffer, HEADROOM)
  view.setUint8(0, 0x45)
  view.setUint16(2, length)
  view.setUint8(9, 17)
  view.setUint32(12, 0x0a000000 + from)
  view.setUint32(16, 0x0a000000 + to)
  if (length >= 24) view.setUint32(20, tag)
  return { memory, offset: HEADROOM, length }
}

/** IPv6 from fd00::`from` to fd00::`to`. */
export function innerV6(from: number, to: number, length = 80): Inner {
  const memory = new Uint8Array(HEADROOM + length + TAILROOM)
  const view = new DataView(memory.buffer, HEADROOM)
  view.setUint8(0, 0x60)
  view.setUint16(4, length - 40)
  view.setUint8(8, 0xfd)
  view.setUint8(23, from)
  view.setUint8(24, 0xfd)
  view.setUint8(39, to)
  return { memory, offset: HEADROOM, length }
}

export const v4 = (last: number, bits = 32): { address: Uint8Array; bits: number } => ({
  address: Uint8Array.of(10, 0, 0, last),
  bits,
})

export const v6 = (last: number, bits = 128): { address: Uint8Array; bits: number } => ({
  address: Uint8Array.from({ length: 16 }, (_, at) => (at === 0 ? 0xfd : at === 15 ? last : 0)),
  bits,
})
