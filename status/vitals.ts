/**
 * What the parts of the daemon say of themselves, as values: with the snapshot, all that status and doctor are made of.
 */
import type { HostId } from '../model/records.ts'
import type { Finding } from './finding.ts'

/** What a tunnel backend says of one peer. */
export interface PeerState {
  readonly host: HostId
  readonly backend: string
  readonly engine: string
  readonly endpoint: string
  /** Milliseconds since the epoch; 0 for never. */
  readonly lastHandshake: number
  readonly received: number
  readonly sent: number
  /** Whether WireGuard uses a preshared key beside the hosts' own. */
  readonly preshared?: boolean
}

export interface TunnelState {
  readonly interface: string
  /** `kernel` or `userspace`. */
  readonly engine: string
  /** What `tunnel.engine` asks for, and why it is this engine. */
  readonly wanted: string
  readonly reason: string
  readonly running: boolean
  readonly mtu: number
  /** Why it is not there, or does not have the newest settings; empty when all is well. */
  readonly problem: string
  /** What our userspace engine says of itself; null while it has not, and for any other. */
  readonly facts: {
    readonly aead: string
    readonly handshakes: string
    readonly ipv6: boolean
    /** Name → `on`, `off` (by the operator) or `refused` (by the kernel or a route), as it is now. */
    readonly offloads: Readonly<Record<string, string>>
    readonly capabilities: readonly string[]
  } | null
}

/** IPsec on this host. */
export interface IpsecVitals {
  /** Who encrypts: `kernel` or `userspace` (charon); null where there is no IPsec. */
  readonly esp: string | null
  /** Whether charon answers. */
  readonly running: boolean
  /** Why there is none; empty where there is. */
  readonly reason: string
  /** Whether each processor has SAs of its own (RFC 9611). */
  readonly perCpu: boolean
}

/** Everything that is not in the snapshot. */
export interface Vitals {
  readonly version: string
  readonly hostName: string
  readonly since: number
  readonly store: { readonly kind: string; readonly url: string; readonly connected: boolean }
  readonly docker: { readonly connected: boolean; readonly endpoint: string; readonly version: string }
  readonly tunnel: TunnelState
  readonly servers: { readonly dns: string; readonly metadata: string }
  readonly ipsec: IpsecVitals
  /** By each backend that has something to say of the peer. */
  readonly peers: readonly PeerState[]
  /** What carries packets to each peer, and why. */
  readonly chosen: ReadonlyMap<HostId, { readonly backend: string; readonly reason: string }>
  readonly lastSeen: ReadonlyMap<HostId, number>
  /** What the parts of the daemon know to be wrong. */
  readonly problems: readonly Finding[]
  /** What the paths to the peers carry inside of the tunnel, as far as it is known. */
  readonly pathMtus: ReadonlyMap<HostId, number>
  readonly now: number
}
