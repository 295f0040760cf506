/**
 * The whole state of a tunnel as a value and as bytes, for a successor in another process: keys, peers, sessions
 * with their counters, replay windows and timers, handshakes under way, what holds strangers off, drops. The bytes
 * hold secrets: they may pass between two processes, never onto a disk. Written in one version; read in that and in
 * the one before, so that an upgrade loses nothing. A version that is not known is refused, never guessed.
 */
import type { AllowedIp } from './change.ts'
import { KEY_LENGTH } from './constants.ts'
import type { CookieJarState, CookieSecret } from './cookie.ts'
import { type Drops, noDrops } from './drops.ts'
import { type Endpoint, endpointOf } from './endpoint.ts'
import type { Defences } from './handshakes.ts'
import {
  blob,
  bytesOf,
  type Codec,
  count,
  decodeWhole,
  encodeWhole,
  flag,
  list,
  optional,
  struct,
  time,
  u32,
  u64,
} from './layout.ts'
import { type LoadState, noLoad } from './load.ts'
import type { Initiated, KeyPair, TransportKeys } from './noise.ts'
import type { Waiting } from './peer.ts'
import { type ReplayState, WINDOW_BYTES } from './replay.ts'
import { TIMESTAMP_LENGTH } from './tai64n.ts'
import type { TimersState } from './timers.ts'
import type { DriverStatus } from './uapi.ts'

export interface SessionState {
  readonly localIndex: number
  readonly remoteIndex: number
  readonly initiator: boolean
  readonly createdAt: number
  readonly counter: number
  readonly sendable: boolean
  readonly keys: TransportKeys
  readonly window: ReplayState
}

export interface PeerState {
  readonly publicKey: Uint8Array
  readonly presharedKey: Uint8Array
  readonly sharedStatic: Uint8Array | undefined
  readonly endpoint: Endpoint | undefined
  readonly persistentKeepalive: number
  readonly marks: boolean
  readonly allowedIps: readonly AllowedIp[]
  readonly lastHandshake: number
  readonly receivedBytes: number
  readonly sentBytes: number
  readonly initiated: Initiated | undefined
  readonly lastInitiationSent: number
  readonly lastInitiationReceived: number
  readonly timestamp: Uint8Array
  readonly current: SessionState | undefined
  readonly next: SessionState | undefined
  readonly past: readonly SessionState[]
  readonly keepaliveWanted: boolean
  readonly waiting: readonly Waiting[]
  readonly timers: TimersState
  readonly jar: CookieJarState
}

export interface DeviceState {
  readonly privateKey: Uint8Array | undefined
  /** Of the last initiation, in nanoseconds. */
  readonly tai64n: bigint
  /** Where the device's clock stands, and how far it is ahead of the machine's. */
  readonly last: number
  readonly skew: number
  readonly peers: readonly PeerState[]
  readonly defences: Defences
  readonly drops: Drops
}

export interface TunnelState {
  readonly driver: DriverStatus
  readonly device: DeviceState
}

export type Decoded =
  | { readonly is: 'state'; readonly state: TunnelState }
  | { readonly is: 'unknown-version'; readonly version: number }
  | { readonly is: 'damaged' }

/** Grows with every change of the layout below. */
export const HANDOVER_VERSION = 2
const MAGIC = 0x764f7244
const PREFIX = 8
/** The largest packet of all. */
const LONGEST = 65_535

const key = bytesOf(KEY_LENGTH)
const mac = bytesOf(16)

const keyPair = struct<KeyPair>({ privateKey: key, publicKey: key })
const keys = struct<TransportKeys>({ send: key, receive: key })
const replay = struct<ReplayState>({ highest: count, ring: bytesOf(WINDOW_BYTES) })

const session = struct<SessionState>({
  localIndex: u32,
  remoteIndex: u32,
  initiator: flag,
  createdAt: time,
  counter: count,
  sendable: flag,
  keys,
  window: replay,
})

type RawEndpoint = Pick<Endpoint, 'bytes' | 'scope' | 'source'>

const endpointFields = { bytes: blob((length) => length === 6 || length === 18), scope: u32 }
const source = optional(blob((length) => length === 4 || length === 16))

const endpointOver = (raw: Codec<RawEndpoint>): Codec<Endpoint> => ({
  write: (value, into) => raw.write(value, into),
  read: (from) => {
    const { bytes, scope, source } = raw.read(from)
    if (bytes.length === 6 && scope !== 0) throw new RangeError('IPv4 has no zones')
    if (source !== undefined && source.length !== bytes.length - 2)
      throw new RangeError('two addresses of two families')
    return endpointOf(bytes, scope, source)
  },
})

const prefix = struct<AllowedIp>({ address: blob((length) => length === 4 || length === 16), bits: u32 })
const allowedIp: Codec<AllowedIp> = {
  write: prefix.write,
  read: (from) => {
    const value = prefix.read(from)
    if (value.bits > value.address.length * 8) throw new RangeError('a prefix longer than its address')
    return value
  },
}

const timers = struct<TimersState>({
  spread: time,
  attemptsFrom: time,
  retryAt: time,
  keepaliveAt: time,
  keepaliveAgain: flag,
  silenceAt: time,
  eraseAt: time,
  persistentAt: time,
  interval: time,
})

const peerWith = (endpoint: Codec<Endpoint>): Codec<PeerState> =>
  struct<PeerState>({
    publicKey: key,
    presharedKey: key,
    sharedStatic: optional(key),
    endpoint: optional(endpoint),
    persistentKeepalive: u32,
    marks: flag,
    allowedIps: list(allowedIp),
    lastHandshake: time,
    receivedBytes: count,
    sentBytes: count,
    initiated: optional(struct<Initiated>({ index: u32, ephemeral: keyPair, chain: key, hash: key })),
    lastInitiationSent: time,
    lastInitiationReceived: time,
    timestamp: bytesOf(TIMESTAMP_LENGTH),
    current: optional(session),
    next: optional(session),
    past: list(session),
    keepaliveWanted: flag,
    waiting: list(struct<Waiting>({ bytes: blob((length) => length <= LONGEST), mark: u32 })),
    timers,
    jar: struct<CookieJarState>({ lastMac1: optional(mac), cookie: optional(mac), cookieAt: time }),
  })

const driver = struct<DriverStatus>({ listenPort: u32, fwmark: u32 })

const deviceFields = { privateKey: optional(key), tai64n: u64, last: time, skew: time }

const defences = struct<Defences>({
  cookies: optional(struct<CookieSecret>({ secret: key, secretAt: time })),
  load: struct<LoadState>({ from: time, count, until: time }),
})

const reasons = Object.keys(noDrops()) as (keyof Drops)[]
const drops = struct<Drops>(
  Object.fromEntries(reasons.map((reason) => [reason, count])) as Record<keyof Drops, typeof count>,
)

const device = struct<DeviceState>({
  ...deviceFields,
  peers: list(peerWith(endpointOver(struct<RawEndpoint>({ ...endpointFields, source })))),
  defences,
  drops,
})

const tunnel = struct<TunnelState>({ driver, device })

/** Knew no sources, no defences, no drops; what is missing reads as undefined. */
const first = struct<{ driver: DriverStatus; device: Omit<DeviceState, 'defences' | 'drops'> }>({
  driver,
  device: struct({
    ...deviceFields,
    peers: list(
      peerWith(endpointOver(struct<Omit<RawEndpoint, 'source'>>(endpointFields) as Codec<RawEndpoint>)),
    ),
  }),
})

const readers: Readonly<Record<number, (bytes: Uint8Array) => TunnelState>> = {
  1: (bytes) => {
    const { driver, device } = decodeWhole(first, bytes)
    const defences = { cookies: undefined, load: noLoad }
    return { driver, device: { ...device, defences, drops: noDrops() } }
  },
  [HANDOVER_VERSION]: (bytes) => decodeWhole(tunnel, bytes),
}

/** What `decodeState` understands. */
export const HANDOVER_READS: readonly number[] = Object.keys(readers).map(Number)

const head = struct<{ magic: number; version: number }>({ magic: u32, version: u32 })

export function encodeState(state: TunnelState): Uint8Array<ArrayBuffer> {
  return encodeWhole(
    struct<{ head: { magic: number; version: number }; state: TunnelState }>({
      head,
      state: tunnel,
    }),
    { head: { magic: MAGIC, version: HANDOVER_VERSION }, state },
  )
}

export function decodeState(bytes: Uint8Array): Decoded {
  try {
    const { magic, version } = decodeWhole(head, bytes.subarray(0, PREFIX))
    if (magic !== MAGIC) return { is: 'damaged' }
    const reader = readers[version]
    if (reader === undefined) return { is: 'unknown-version', version }
    return { is: 'state', state: reader(bytes.subarray(PREFIX)) }
  } catch (thrown) {
    if (thrown instanceof RangeError) return { is: 'damaged' }
    throw thrown
  }
}
