/**
 * What can be asked of a device and what it tells about itself: the shared words of `Device`, of the UAPI codec
 * and of whoever configures a tunnel. Values only.
 */
import type { Endpoint } from './endpoint.ts'

export interface AllowedIp {
  /** 4 or 16 bytes; host bits are ignored. */
  readonly address: Uint8Array
  readonly bits: number
}

export interface AllowedIpChange extends AllowedIp {
  /** Takes it away from this peer (UAPI `allowed_ip=-…`). */
  readonly remove?: boolean
}

export interface PeerChange {
  /** 32 bytes. */
  readonly publicKey: Uint8Array
  readonly remove?: boolean
  /** Changes the peer only where it exists. */
  readonly updateOnly?: boolean
  /** 32 bytes; all zero for none. */
  readonly presharedKey?: Uint8Array
  readonly endpoint?: Endpoint
  /** In seconds; 0 switches it off. */
  readonly persistentKeepalive?: number
  readonly replaceAllowedIps?: boolean
  readonly allowedIps?: readonly AllowedIpChange[]
  /** Whether this peer understands marks in the reserved bytes of transport headers; false at first. */
  readonly marks?: boolean
}

/** Applied as a whole, in order. `listenPort` and `fwmark` are for the driver; the device ignores them. */
export interface DeviceChange {
  /** 32 bytes; all zero removes the key. */
  readonly privateKey?: Uint8Array
  readonly listenPort?: number
  readonly fwmark?: number
  readonly replacePeers?: boolean
  readonly peers: readonly PeerChange[]
}

export interface PeerStatus {
  readonly publicKey: Uint8Array
  /** All zero for none. */
  readonly presharedKey: Uint8Array
  readonly endpoint: Endpoint | undefined
  readonly persistentKeepalive: number
  readonly allowedIps: readonly AllowedIp[]
  /** Wall time in milliseconds of the last completed handshake; 0 for never. */
  readonly lastHandshake: number
  readonly receivedBytes: number
  readonly sentBytes: number
  readonly marks: boolean
}

export interface DeviceStatus {
  readonly privateKey: Uint8Array | undefined
  readonly publicKey: Uint8Array | undefined
  readonly peers: readonly PeerStatus[]
}
