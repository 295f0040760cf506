/**
 * The whole state of a tunnel as a value and as bytes, for a successor in another process: keys, peers, sessions
 * with their counters, replay windows and timers, handshakes under way. The bytes hold secrets: they may pass
 * between two processes, never onto a disk. A version that is not known is refused, never guessed.
 */
import type { AllowedIp } from './change.ts'
import { KEY_LENGTH } from './constants.ts'
import type { CookieJarState } from './cookie.ts'
import { type Endpoint, endpointOf } from './endpoint.ts'
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
export const HANDOVER_VERSION = 1
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

interface RawEndpoint {
  readonly bytes: Uint8Array
  readonly scope: number
}

const rawEndpoint = struct<RawEndpoint>({
  bytes: blob((length) => length === 6 || length === 18),
  scope: u32,
})

const endpoint: Codec<Endpoint> = {
  write: (value, into) => rawEndpoint.write(value, into),
  read: (from) => {
    const { bytes, scope } = rawEndpoint.read(from)
    if (bytes.length === 6 && scope !== 0) throw new RangeError('IPv4 has no zones')
    return endpointOf(bytes, scope)
  },
}

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

const peer = struct<PeerState>({
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

const tunnel = struct<TunnelState>({
  driver: struct<DriverStatus>({ listenPort: u32, fwmark: u32 }),
  device: struct<DeviceState>({
    privateKey: optional(key),
    tai64n: u64,
    last: time,
    skew: time,
    peers: list(peer),
  }),
})

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
    if (version !== HANDOVER_VERSION) return { is: 'unknown-version', version }
    return { is: 'state', state: decodeWhole(tunnel, bytes.subarray(PREFIX)) }
  } catch (thrown) {
    if (thrown instanceof RangeError) return { is: 'damaged' }
    throw thrown
  }
}
