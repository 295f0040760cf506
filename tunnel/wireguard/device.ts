/**
 * One WireGuard interface without sockets, clocks or threads: packets, datagrams and `now` go in; packets,
 * datagrams and the next deadline come out. Transport packets are sealed and opened in the driver's memory and
 * cost no allocation. Silent towards whoever is not authenticated.
 * It owns neither the TUN device nor UDP, and does not fragment.
 */
import { sameBytes } from '../../model/bytes.ts'
import type { Random } from '../../model/ports.ts'
import { type Instant, type Millis, millis } from '../../model/time.ts'
import { AEAD_AFTER, AEAD_BEFORE, type Aead } from './aead.ts'
import type { DeviceChange, DeviceStatus, PeerChange } from './change.ts'
import { MAX_JITTER } from './constants.ts'
import type { Crypto } from './crypto.ts'
import { type Drops, noDrops } from './drops.ts'
import { type Endpoint, endpointV4 } from './endpoint.ts'
import { restoreTo, stateOf } from './export.ts'
import type { DeviceState } from './handover.ts'
import { Handshakes } from './handshakes.ts'
import { claimedLength, pad, versionOf } from './inner.ts'
import { INITIATION_LENGTH, KEEPALIVE_LENGTH, readU32, TRANSPORT, TRANSPORT_HEADER } from './messages.ts'
import { Peer } from './peer.ts'
import type { Packet, ReceiveResult, Sealed, SendResult, Transmit } from './results.ts'
import { Roster } from './roster.ts'
import type { Session } from './session.ts'
import { Tai64n } from './tai64n.ts'
import { PeerTimers } from './timers.ts'
import { Upkeep } from './upkeep.ts'

/** Bytes that must be free in front of an inner packet given to `send`, and in front of where it is sealed to. */
export const HEADROOM = AEAD_BEFORE
/** Bytes that must be free after it: padding, and what sealing leaves behind. */
export const TAILROOM = 15 + AEAD_AFTER
/** The least length of `scratch`: the largest inner packet with its room. */
export const SCRATCH_LENGTH = 65_535 + HEADROOM + TAILROOM

export interface DeviceDeps {
  readonly crypto: Crypto
  readonly aead: Aead
  readonly random: Random
  /** Wall time, for TAI64N timestamps and the time of the last handshake only. */
  readonly wall: () => Instant
}

export interface DeviceOptions {
  /**
   * A part of the driver's memory, SCRATCH_LENGTH bytes or more, that the device alone uses: what
   * `nextTransmit` returns lies there, so that `Aead` may work by address.
   */
  readonly scratch: { readonly memory: Uint8Array; readonly offset: number; readonly length: number }
  /** Inner MTU: padding never grows a packet beyond it. Can be changed later (`device.mtu`). */
  readonly mtu?: number
  /** Packets kept per peer while there is no session. */
  readonly queueLimit?: number
  /** Handshake messages with a good mac1 per second from which on the device counts as under load. */
  readonly loadLimit?: number
}

type Writable<T> = { -readonly [Key in keyof T]: T[Key] }

const NEVER = Number.POSITIVE_INFINITY
const nowhere = endpointV4(0, 0)

export class Device {
  readonly drops: Drops = noDrops()
  mtu: number
  readonly #sealed: Writable<Sealed> = { offset: 0, length: 0, to: nowhere }
  readonly #packet: Writable<Packet> = { offset: 0, length: 0, mark: 0 }
  readonly #transmit: Writable<Transmit>
  readonly #deps: DeviceDeps
  readonly #options: DeviceOptions
  readonly #roster = new Roster()
  readonly #handshakes: Handshakes
  readonly #upkeep: Upkeep
  #recent: Session<Peer> | undefined
  // A small integer like the clock: a field that once held a fraction or an infinity is boxed whenever it is passed on.
  #last = 0
  #skew = 0

  constructor(deps: DeviceDeps, options: DeviceOptions) {
    const { memory, offset, length } = options.scratch
    if (length < SCRATCH_LENGTH || offset < 0 || offset + length > memory.length)
      throw new RangeError('the scratch of a device is too small')
    this.#deps = deps
    this.#options = options
    this.mtu = options.mtu ?? 1420
    this.#transmit = { memory, offset, length: 0, to: nowhere }
    this.#handshakes = new Handshakes(
      {
        ...deps,
        tai64n: new Tai64n(deps.wall),
        drops: this.drops,
        peerOf: (publicKey) => this.#roster.find(publicKey),
      },
      { loadLimit: options.loadLimit ?? 200 },
    )
    this.#upkeep = new Upkeep({ handshakes: this.#handshakes, drops: this.drops, wall: deps.wall })
  }

  get sealed(): Sealed {
    return this.#sealed
  }

  get packet(): Packet {
    return this.#packet
  }

  /** How many things it keeps for peers and strangers: bounded under any flood. */
  get size(): number {
    return this.#handshakes.size + this.#roster.size + this.#upkeep.size
  }

  /** Applies a change as a whole. */
  configure(change: DeviceChange, now: Millis): void {
    const at = this.#tick(now)
    if (change.privateKey !== undefined) this.#identify(change.privateKey)
    if (change.replacePeers === true) for (const peer of this.#roster.all()) this.#remove(peer)
    for (const each of change.peers) this.#configurePeer(each, at)
  }

  status(): DeviceStatus {
    const self = this.#handshakes.self
    return { privateKey: self?.privateKey, publicKey: self?.publicKey, peers: this.#roster.status() }
  }

  /** Whether the peer that an inner packet is for understands marks. */
  takesMarks(memory: Uint8Array, offset: number, length: number): boolean {
    const version = versionOf(memory, offset, length)
    return version !== 0 && this.#roster.destination(memory, offset, version)?.marks === true
  }

  /**
   * An inner IPv4 or IPv6 packet at `offset`; its sealed bytes go to `into`, the same place or one that does not
   * overlap. Both have HEADROOM before and TAILROOM after them; of `offset`'s, sealing to another place changes
   * only padding and the first half of HEADROOM. `mark` becomes the first reserved byte of the header.
   */
  send(memory: Uint8Array, offset: number, length: number, now: Millis, mark = 0, into = offset): SendResult {
    const at = this.#tick(now)
    const roomy =
      Math.min(offset, into) >= HEADROOM && Math.max(offset, into) + length + TAILROOM <= memory.length
    const version = roomy ? versionOf(memory, offset, length) : 0
    if (version === 0) return this.#drop('malformed', 'malformed')
    const peer = this.#roster.destination(memory, offset, version)
    if (peer === undefined) return this.#drop('noRoute', 'no-route')
    if (mark !== 0 && !peer.marks) return 'no-marks'
    if (peer.endpoint === undefined) return this.#drop('noEndpoint', 'no-endpoint')
    const session = peer.current
    if (session?.maySend(at) !== true) {
      if (!peer.enqueue(memory.slice(offset, offset + length), mark)) this.drops.queue++
      this.#upkeep.initiate(peer, at)
      return 'queued'
    }
    this.#seal(this.#sealed, session, memory, offset, length, into, at, mark)
    return 'sealed'
  }

  /**
   * A datagram from `from`. Its packet is opened to `into`: where it lies, or a place with HEADROOM before and
   * TAILROOM after it that does not overlap; the first half of HEADROOM in front of the sealed bytes is used.
   */
  receive(
    memory: Uint8Array,
    offset: number,
    length: number,
    from: Endpoint,
    now: Millis,
    into = offset + TRANSPORT_HEADER,
  ): ReceiveResult {
    const at = this.#tick(now)
    if (offset < 0 || offset + length > memory.length || length < KEEPALIVE_LENGTH)
      return this.#drop('malformed', 'nothing')
    if (memory[offset] === TRANSPORT) return this.#receiveTransport(memory, offset, length, from, at, into)
    if (length > INITIATION_LENGTH) return this.#drop('malformed', 'nothing')
    this.#upkeep.receive(memory.slice(offset, offset + length), from, at)
    return 'nothing'
  }

  /** Call when `deadline` has come; earlier or later does no harm. */
  timeout(now: Millis): void {
    this.#upkeep.timeout(this.#roster.all(), this.#tick(now))
  }

  /** When `timeout` wants to be called next, on the scale of `now`. May be early, never late. */
  deadline(): Millis | undefined {
    const { deadline } = this.#upkeep
    return deadline === NEVER ? undefined : millis(deadline - this.#skew)
  }

  /** Handshake messages, cookie replies, keepalives, released packets: call until undefined after each verb. */
  nextTransmit(now: Millis): Transmit | undefined {
    const at = this.#tick(now)
    const { memory, offset } = this.#options.scratch
    const message = this.#upkeep.outbox.shift()
    if (message === undefined) return this.#nextReleased(memory, offset + HEADROOM, at)
    memory.set(message.bytes, offset)
    this.#transmit.offset = offset
    this.#transmit.length = message.bytes.length
    this.#transmit.to = message.to
    return this.#transmit
  }

  /** All that lives in it, keys too, or so many of its peers. Once that was imported elsewhere, this must not go on. */
  export(limit = Number.POSITIVE_INFINITY): DeviceState {
    const peers = stateOf(this.#roster, this.#handshakes, this.drops, limit)
    return { last: this.#last, skew: this.#skew, ...peers }
  }

  /** Goes on where another device was exported; only for a device that was never configured. */
  import(state: DeviceState): void {
    this.#last = state.last
    this.#skew = state.skew
    const parts = {
      roster: this.#roster,
      handshakes: this.#handshakes,
      upkeep: this.#upkeep,
      drops: this.drops,
    }
    restoreTo({ ...parts, aead: this.#deps.aead, add: (publicKey) => this.#add(publicKey) }, state)
  }

  /** Forgets all keys and peers. */
  close(): void {
    for (const peer of this.#roster.all()) this.#remove(peer)
    this.#handshakes.identify(undefined)
  }

  /** Time as the device sees it: when `now` goes back, it goes on from where it was. */
  #tick(now: Millis): number {
    const at = now + this.#skew
    if (at >= this.#last) this.#last = at
    else this.#skew += this.#last - at
    return this.#last
  }

  #identify(privateKey: Uint8Array): void {
    const wanted = privateKey.some((byte) => byte !== 0) ? privateKey.slice() : undefined
    const known = this.#handshakes.self?.privateKey
    if (wanted === known || (wanted && known && sameBytes(wanted, known))) return
    this.#handshakes.identify(wanted)
    const self = this.#handshakes.self
    const mirror = self && this.#roster.find(self.publicKey)
    if (mirror !== undefined) this.#remove(mirror)
    for (const peer of this.#roster.all()) {
      this.#handshakes.acquaint(peer)
      this.#handshakes.abandon(peer)
      this.#handshakes.end(peer.disown())
    }
  }

  #configurePeer(change: PeerChange, now: number): void {
    const self = this.#handshakes.self?.publicKey
    if (self && sameBytes(self, change.publicKey)) return
    const known = this.#roster.find(change.publicKey)
    if (change.remove === true) {
      if (known !== undefined) this.#remove(known)
      return
    }
    if (known === undefined && change.updateOnly === true) return
    const peer = known ?? this.#add(change.publicKey)
    this.#roster.update(peer, change)
    if (change.persistentKeepalive === undefined) return
    if (peer.timers.persist(change.persistentKeepalive * 1000, now)) this.#upkeep.keepAlive(peer, now)
    this.#upkeep.wake(peer)
  }

  #add(publicKey: Uint8Array): Peer {
    const timers = new PeerTimers(() => readU32(this.#deps.random.bytes(4), 0) % (MAX_JITTER + 1))
    const peer = new Peer(publicKey.slice(), timers, this.#options.queueLimit ?? 128)
    this.#handshakes.acquaint(peer)
    this.#roster.add(peer)
    return peer
  }

  #remove(peer: Peer): void {
    this.#roster.remove(peer)
    this.#upkeep.forget(peer)
  }

  /** `length` 0 makes a keepalive. */
  #seal(
    sealed: Writable<Sealed>,
    session: Session<Peer>,
    memory: Uint8Array,
    offset: number,
    length: number,
    into: number,
    now: number,
    mark: number,
  ): void {
    const peer = session.owner
    const padded = pad(memory, offset, length, this.mtu)
    session.seal(memory, offset, padded, into, mark)
    sealed.offset = into - TRANSPORT_HEADER
    sealed.length = padded + KEEPALIVE_LENGTH
    sealed.to = peer.endpoint ?? nowhere
    peer.sentBytes += sealed.length
    peer.keepaliveWanted = false
    peer.timers.authenticatedSent(now)
    if (length > 0) peer.timers.dataSent(now)
    this.#upkeep.wake(peer)
    if (session.wantsRenewalOnSend(now)) this.#upkeep.initiate(peer, now)
  }

  #receiveTransport(
    memory: Uint8Array,
    offset: number,
    length: number,
    from: Endpoint,
    now: number,
    into: number,
  ): ReceiveResult {
    const session = this.#session(memory, offset + 4)
    const reason = session?.open(memory, offset, length, into, now)
    if (reason !== undefined || session === undefined) return this.#drop(reason ?? 'unknownIndex', 'nothing')
    const peer = session.owner
    this.#upkeep.authenticated(peer, from, length, now)
    if (session === peer.next) {
      this.#handshakes.end(peer.promote())
      this.#upkeep.established(peer)
    }
    if (peer.current?.wantsRenewalOnReceive(now) === true) this.#upkeep.initiate(peer, now)
    const plain = length - KEEPALIVE_LENGTH
    if (plain === 0) return 'nothing'
    this.#packet.mark = memory[offset + 1] ?? 0
    return this.#deliver(peer, memory, into, plain, now)
  }

  /**
   * Of the index that lies at an offset. Most packets are for the same session as the one before: the index is read
   * where it is compared, since one that exceeds 31 bits would be boxed to be passed on.
   */
  #session(memory: Uint8Array, at: number): Session<Peer> | undefined {
    const recent = this.#recent
    if (recent !== undefined && !recent.closed && readU32(memory, at) === recent.localIndex) return recent
    this.#recent = this.#handshakes.sessions.get(readU32(memory, at))
    return this.#recent
  }

  #deliver(peer: Peer, memory: Uint8Array, at: number, plain: number, now: number): ReceiveResult {
    peer.timers.dataReceived(now)
    this.#upkeep.wake(peer)
    const version = versionOf(memory, at, plain)
    const length = version === 0 ? 0 : claimedLength(memory, at, plain, version)
    if (version === 0 || length === 0) return this.#drop('innerMalformed', 'nothing')
    if (this.#roster.source(memory, at, version) !== peer) return this.#drop('innerSource', 'nothing')
    this.#packet.offset = at
    this.#packet.length = length
    return 'packet'
  }

  #nextReleased(memory: Uint8Array, offset: number, now: number): Transmit | undefined {
    for (let peer = this.#upkeep.nextReady(); peer !== undefined; peer = this.#upkeep.nextReady()) {
      const session = peer.current
      while (session?.maySend(now) === true && (peer.waiting > 0 || peer.keepaliveWanted)) {
        const packet = peer.dequeue()
        if (packet !== undefined && packet.mark !== 0 && !peer.marks) continue
        if (packet !== undefined) memory.set(packet.bytes, offset)
        const length = packet?.bytes.length ?? 0
        this.#seal(this.#transmit, session, memory, offset, length, offset, now, packet?.mark ?? 0)
        return this.#transmit
      }
      this.#upkeep.passOver()
    }
    return undefined
  }

  #drop<Result>(reason: keyof Drops, result: Result): Result {
    this.drops[reason]++
    return result
  }
}
