/**
 * One way of carrying packets between this host and the others. Four members; peers come as a projection of the
 * snapshot and are applied as a whole, as often as one likes.
 */
import type { DroverError } from '../model/errors.ts'
import type { Cidr } from '../model/ip.ts'
import type { HostId } from '../model/records.ts'
import type { EngineFacts } from './engine-facts.ts'

export interface Peer {
  readonly host: HostId
  /** Base64 of 32 bytes. */
  readonly publicKey: string
  readonly endpoint: { readonly address: string; readonly port: number }
  /** What lies behind it, in stable order. */
  readonly allowed: readonly Cidr[]
  /** Whether its engine understands marks in the reserved bytes of transport headers. */
  readonly marks: boolean
  /** Its IKE daemon: the UDP port, and who encrypts there; undefined where it has none. */
  readonly ipsec?: { readonly port: number; readonly esp: 'kernel' | 'userspace' }
  /** WireGuard's preshared key, base64 of 32 bytes; absent for none. */
  readonly presharedKey?: string
}

export interface PeerReport {
  readonly host: HostId
  readonly backend: string
  readonly engine: string
  /** Where its packets come from; empty while that is not known. */
  readonly endpoint: string
  /** Milliseconds since the epoch; 0 for never. */
  readonly lastHandshake: number
  readonly received: number
  readonly sent: number
  /** Whether WireGuard's engine has a preshared key for it. */
  readonly preshared?: boolean
}

export interface BackendReport {
  readonly peers: readonly PeerReport[]
  /** What the engine says of itself; undefined where it is not our userspace engine. */
  readonly facts: EngineFacts | undefined
  /** Why peers are not served; `fields.peer` says whose problem it is. */
  readonly problems?: readonly DroverError[]
}

export interface Backend {
  /** Bytes that it puts around a packet, at most. */
  readonly overhead: number
  apply(peers: readonly Peer[]): Promise<void>
  /** Rejects with TUNNEL_UNAVAILABLE or IPSEC_UNAVAILABLE while the engine does not answer. */
  status(): Promise<BackendReport>
  close(): Promise<void>
}
