/**
 * Why datagrams and packets were dropped. Plain numbers that only grow; the driver turns them into metrics.
 */
export interface Drops {
  /** Not a WireGuard message, or without the room it needs. */
  malformed: number
  /** The sender does not know our public key. */
  mac1: number
  /** Answered with a cookie instead. */
  cookieSent: number
  /** A source or a peer that initiates too often under load. */
  rateLimited: number
  /** A handshake message that does not authenticate, or of a stranger. */
  handshake: number
  /** An initiation that is not newer than the last. */
  replayedHandshake: number
  /** For a session or handshake that we do not have. */
  unknownIndex: number
  /** On a session past its time. */
  expired: number
  unauthenticated: number
  /** A counter that was there already, or is too old. */
  replayed: number
  /** Reserved bytes are set, and the peer has no marks. */
  reserved: number
  /** An inner packet that is not IP or lies about its length. */
  innerMalformed: number
  /** An inner packet from an address that is not the peer's. */
  innerSource: number
  /** Waiting packets that were pushed out or given up. */
  queue: number
  noRoute: number
  noEndpoint: number
  /** Own handshake messages that nobody fetched. */
  outbox: number
}

export const noDrops = (): Drops => ({
  malformed: 0,
  mac1: 0,
  cookieSent: 0,
  rateLimited: 0,
  handshake: 0,
  replayedHandshake: 0,
  unknownIndex: 0,
  expired: 0,
  unauthenticated: 0,
  replayed: 0,
  reserved: 0,
  innerMalformed: 0,
  innerSource: 0,
  queue: 0,
  noRoute: 0,
  noEndpoint: 0,
  outbox: 0,
})
