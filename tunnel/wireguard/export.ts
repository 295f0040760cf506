/**
 * The state of a device's peers, out of one device and into another. Out copies keys and changes nothing; in is
 * for a fresh device, and of the two only one may go on: both would seal with the same key and counter.
 */
import type { Aead } from './aead.ts'
import type { AllowedIp } from './change.ts'
import type { Drops } from './drops.ts'
import type { DeviceState, PeerState, SessionState } from './handover.ts'
import type { Handshakes } from './handshakes.ts'
import type { Peer } from './peer.ts'
import type { Roster } from './roster.ts'
import { Session } from './session.ts'
import type { Upkeep } from './upkeep.ts'

export interface DeviceParts {
  readonly roster: Roster
  readonly handshakes: Handshakes
  readonly upkeep: Upkeep
  readonly drops: Drops
  readonly aead: Aead
  /** A new peer in the roster. */
  readonly add: (publicKey: Uint8Array) => Peer
}

/** Everything but the clock; of no more than so many peers. */
export const stateOf = (
  roster: Roster,
  handshakes: Handshakes,
  drops: Drops,
  limit: number,
): Omit<DeviceState, 'last' | 'skew'> => ({
  privateKey: handshakes.self?.privateKey,
  tai64n: handshakes.tai64n.last,
  peers: peerStates(roster, limit),
  defences: handshakes.defences,
  drops: { ...drops },
})

/** The other way, for a device without key and peers. */
export function restoreTo(parts: DeviceParts, state: DeviceState): void {
  parts.handshakes.tai64n.last = state.tai64n
  Object.assign(parts.drops, state.drops)
  for (const each of state.peers) {
    const peer = parts.add(each.publicKey)
    restorePeer(peer, each, parts)
    parts.upkeep.list(peer)
    parts.upkeep.wake(peer)
  }
  // Last: whoever has a key computes the secret that each new peer brings along.
  parts.handshakes.identify(state.privateKey)
  parts.handshakes.defend(state.defences)
}

const peerStates = (roster: Roster, limit: number): readonly PeerState[] =>
  [...roster.prefixes()].slice(0, limit).map(([peer, allowedIps]) => peerState(peer, allowedIps))

function peerState(peer: Peer, allowedIps: readonly AllowedIp[]): PeerState {
  return {
    publicKey: peer.publicKey,
    presharedKey: peer.presharedKey,
    sharedStatic: peer.sharedStatic,
    endpoint: peer.endpoint,
    persistentKeepalive: peer.persistentKeepalive,
    marks: peer.marks,
    allowedIps,
    lastHandshake: peer.lastHandshake,
    receivedBytes: peer.receivedBytes,
    sentBytes: peer.sentBytes,
    initiated: peer.initiated,
    lastInitiationSent: peer.lastInitiationSent,
    lastInitiationReceived: peer.lastInitiationReceived,
    timestamp: peer.timestamp,
    current: peer.current && sessionState(peer.current),
    next: peer.next && sessionState(peer.next),
    past: peer.past.map(sessionState),
    keepaliveWanted: peer.keepaliveWanted,
    waiting: peer.waitingPackets,
    timers: peer.timers.state(),
    jar: peer.jar.state(),
  }
}

const sessionState = (session: Session<Peer>): SessionState => ({
  localIndex: session.localIndex,
  remoteIndex: session.remoteIndex,
  initiator: session.initiator,
  createdAt: session.createdAt,
  counter: session.counter,
  sendable: session.sendable,
  keys: session.keys,
  window: session.window.state(),
})

function restorePeer(peer: Peer, state: PeerState, parts: DeviceParts): void {
  const { roster, handshakes } = parts
  const { publicKey, presharedKey, endpoint, persistentKeepalive, marks, allowedIps } = state
  const settings = { publicKey, presharedKey, persistentKeepalive, marks, allowedIps }
  roster.update(peer, endpoint === undefined ? settings : { ...settings, endpoint })
  peer.sharedStatic = state.sharedStatic
  peer.lastHandshake = state.lastHandshake
  peer.receivedBytes = state.receivedBytes
  peer.sentBytes = state.sentBytes
  peer.lastInitiationSent = state.lastInitiationSent
  peer.lastInitiationReceived = state.lastInitiationReceived
  peer.timestamp = state.timestamp
  peer.keepaliveWanted = state.keepaliveWanted
  for (const { bytes, mark } of state.waiting) peer.enqueue(bytes, mark)
  peer.timers.restore(state.timers)
  peer.jar.restore(state.jar)
  if (state.initiated !== undefined) handshakes.resume(peer, state.initiated)
  const live = (one: SessionState): Session<Peer> => restoreSession(peer, one, parts)
  peer.adopt({
    current: state.current && live(state.current),
    next: state.next && live(state.next),
    past: state.past.map(live),
  })
}

function restoreSession(owner: Peer, state: SessionState, { handshakes, aead }: DeviceParts): Session<Peer> {
  const { localIndex, remoteIndex, initiator, createdAt } = state
  const session = new Session(aead, state.keys, { owner, localIndex, remoteIndex, initiator, createdAt })
  session.counter = state.counter
  session.sendable = state.sendable
  session.window.restore(state.window)
  handshakes.sessions.set(localIndex, session)
  return session
}
