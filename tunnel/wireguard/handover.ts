/**
 * The whole state of a tunnel as a value and as bytes, for a successor in another process: keys, peers, sessions
 * with their counters, replay windows and timers, handshakes under way, what holds strangers off, drops. The bytes
 * hold secrets: they may pass between two processes, never onto a disk. Written and read in two versions, so that
 * neither an upgrade nor the way back loses anything. A version that is not known is refused, never guessed.
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
import type { LoadState } from './load.ts'
import type { Initiated, KeyPair, TransportKeys } from './noise.ts'
import type { Waiting } from './peer.ts'
import { type ReplayState, usedBytes, WINDOW_BYTES } from './replay.ts'
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

const MAGIC = 0x764f7244
const PREFIX = 8
/** The largest packet of all. */
const LONGEST = 65_535

const key = bytesOf(KEY_LENGTH)
const mac = bytesOf(16)

const keyPair = struct<KeyPair>({ privateKey: key, publicKey: key })
const keys = struct<TransportKeys>({ send: key, receive: key })

const zeros = new Uint8Array(WINDOW_BYTES)

/** With so much of the ring; what no counter has reached is zeros. */
const windowOf = (lengthFor: (highest: number) => number): Codec<ReplayState> => ({
  write: ({ highest, ring }, into) => {
    count.write(highest, into)
    into.put(ring)
    into.put(zeros.subarray(ring.length, lengthFor(highest)))
  },
  read: (from) => {
    const highest = count.read(from)
    return { highest, ring: from.take(lengthFor(highest)).subarray(0, usedBytes(highest)) }
  },
})

const sessionWith = (window: Codec<ReplayState>): Codec<SessionState> =>
  struct<SessionState>({
    localIndex: u32,
    remoteIndex: u32,
    initiator: flag,
    createdAt: time,
    counter: count,
    sendable: flag,
    keys,
    window,
  })

const rawEndpoint = struct<Pick<Endpoint, 'bytes' | 'scope' | 'source'>>({
  bytes: blob((length) => length === 6 || length === 18),
  scope: u32,
  source: optional(blob((length) => length === 4 || length === 16)),
})

const endpoint: Codec<Endpoint> = {
  write: rawEndpoint.write,
  read: (from) => {
    const { bytes, scope, source } = rawEndpoint.read(from)
    if (bytes.length === 6 && scope !== 0) throw new RangeError('IPv4 has no zones')
    if (source !== undefined && source.length !== bytes.length - 2)
      throw new RangeError('two addresses of two families')
    return endpointOf(bytes, scope, source)
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

const peerWith = (session: Codec<SessionState>): Codec<PeerState> =>
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

const defences = struct<Defences>({
  cookies: optional(struct<CookieSecret>({ secret: key, secretAt: time })),
  load: struct<LoadState>({ from: time, count, until: time }),
})

const reasons = Object.keys(noDrops()) as (keyof Drops)[]
const drops = struct<Drops>(
  Object.fromEntries(reasons.map((reason) => [reason, count])) as Record<keyof Drops, typeof count>,
)

const tunnelWith = (window: Codec<ReplayState>): Codec<TunnelState> =>
  struct<TunnelState>({
    driver,
    device: struct<DeviceState>({
      privateKey: optional(key),
      tai64n: u64,
      last: time,
      skew: time,
      peers: list(peerWith(sessionWith(window))),
      defences,
      drops,
    }),
  })

/** Grows with every change of the layout above; the one before stays. */
export const HANDOVER_VERSION = 3
const versions = new Map([
  [2, tunnelWith(windowOf(() => WINDOW_BYTES))],
  [HANDOVER_VERSION, tunnelWith(windowOf(usedBytes))],
])

/** Those of `encodeState` and `decodeState`. */
export const HANDOVER_VERSIONS: readonly number[] = [...versions.keys()]

/** The newest that both sides know; undefined when there is none. */
export const commonVersion = (theirs: readonly number[]): number | undefined =>
  HANDOVER_VERSIONS.findLast((version) => theirs.includes(version))

interface Head {
  readonly magic: number
  readonly version: number
}

interface Headed {
  readonly head: Head
  readonly state: TunnelState
}

const head = struct<Head>({ magic: u32, version: u32 })

/** `version`: one of HANDOVER_VERSIONS, else a RangeError. */
export function encodeState(state: TunnelState, version = HANDOVER_VERSION): Uint8Array<ArrayBuffer> {
  const codec = versions.get(version)
  if (codec === undefined) throw new RangeError(`no version ${version}`)
  return encodeWhole(struct<Headed>({ head, state: codec }), { head: { magic: MAGIC, version }, state })
}

export function decodeState(bytes: Uint8Array): Decoded {
  try {
    const { magic, version } = decodeWhole(head, bytes.subarray(0, PREFIX))
    if (magic !== MAGIC) return { is: 'damaged' }
    const codec = versions.get(version)
    if (codec === undefined) return { is: 'unknown-version', version }
    return { is: 'state', state: decodeWhole(codec, bytes.subarray(PREFIX)) }
  } catch (thrown) {
    if (thrown instanceof RangeError) return { is: 'damaged' }
    throw thrown
  }
}
