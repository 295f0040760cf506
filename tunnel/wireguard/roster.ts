/**
 * The peers of a device and their routes: who exists, who is meant by an inner packet, and what a change makes of
 * them. It knows nothing of handshakes; what a change means for those comes back as facts.
 */
import { hex } from '../../model/bytes.ts'
import { AllowedIps } from './allowed-ips.ts'
import type { AllowedIp, PeerChange, PeerStatus } from './change.ts'
import { V4_DESTINATION, V4_SOURCE, V6_DESTINATION, V6_SOURCE } from './inner.ts'
import type { Peer } from './peer.ts'

export class Roster {
  readonly #peers = new Map<string, Peer>()
  readonly #routes = new AllowedIps<Peer>()

  get size(): number {
    return this.#peers.size
  }

  all(): Iterable<Peer> {
    return this.#peers.values()
  }

  find(publicKey: Uint8Array): Peer | undefined {
    return this.#peers.get(hex(publicKey))
  }

  add(peer: Peer): void {
    this.#peers.set(hex(peer.publicKey), peer)
  }

  remove(peer: Peer): void {
    this.#peers.delete(hex(peer.publicKey))
    this.#routes.removeOwner(peer)
  }

  /** Everything of a change that has no consequence beyond these fields. */
  update(peer: Peer, change: PeerChange): void {
    peer.presharedKey = change.presharedKey?.slice() ?? peer.presharedKey
    peer.endpoint = change.endpoint ?? peer.endpoint
    peer.marks = change.marks ?? peer.marks
    peer.persistentKeepalive = change.persistentKeepalive ?? peer.persistentKeepalive
    if (change.replaceAllowedIps === true) this.#routes.removeOwner(peer)
    for (const prefix of change.allowedIps ?? []) {
      if (prefix.remove === true) this.#routes.remove(prefix, peer)
      else this.#routes.set(prefix, peer)
    }
  }

  /** Whose the destination of an inner packet is. */
  destination(memory: Uint8Array, offset: number, version: 4 | 6): Peer | undefined {
    return version === 4
      ? this.#routes.lookupV4(memory, offset + V4_DESTINATION)
      : this.#routes.lookupV6(memory, offset + V6_DESTINATION)
  }

  source(memory: Uint8Array, offset: number, version: 4 | 6): Peer | undefined {
    return version === 4
      ? this.#routes.lookupV4(memory, offset + V4_SOURCE)
      : this.#routes.lookupV6(memory, offset + V6_SOURCE)
  }

  /** Of every peer. */
  prefixes(): ReadonlyMap<Peer, readonly AllowedIp[]> {
    const prefixes = new Map<Peer, AllowedIp[]>()
    for (const peer of this.#peers.values()) prefixes.set(peer, [])
    for (const [prefix, peer] of this.#routes.entries()) prefixes.get(peer)?.push(prefix)
    return prefixes
  }

  status(): readonly PeerStatus[] {
    return [...this.prefixes()].map(([peer, allowedIps]) => ({
      publicKey: peer.publicKey,
      presharedKey: peer.presharedKey,
      endpoint: peer.endpoint,
      persistentKeepalive: peer.persistentKeepalive,
      allowedIps,
      lastHandshake: peer.lastHandshake,
      receivedBytes: peer.receivedBytes,
      sentBytes: peer.sentBytes,
      marks: peer.marks,
    }))
  }
}
