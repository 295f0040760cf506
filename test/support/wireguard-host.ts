/**
 * A WireGuard device as a node of the simulated network: what a driver does, without sockets. It counts the inner
 * packets that came through.
 */
import { instant, millis } from '../../model/time.ts'
import type { PeerChange } from '../../tunnel/wireguard/change.ts'
import type { DeviceOptions } from '../../tunnel/wireguard/device.ts'
import { type Endpoint, formatEndpoint, parseEndpoint } from '../../tunnel/wireguard/endpoint.ts'
import { decodeState, encodeState } from '../../tunnel/wireguard/handover.ts'
import type { SendResult } from '../../tunnel/wireguard/results.ts'
import type { Node, SimulatedNetwork } from './simulated-network.ts'
import { type Box, boxOf, type Inner, innerV4 } from './wireguard.ts'

const EPOCH = 1_700_000_000_000

export const endpoint = (text: string): Endpoint => {
  const parsed = parseEndpoint(text)
  if (parsed === undefined) throw new TypeError(`not an endpoint: ${text}`)
  return parsed
}

export class WireguardHost implements Node {
  readonly network: SimulatedNetwork
  box: Box
  address: string
  /** Added to the clocks that this host sees. */
  wallJump = 0
  bootJump = 0
  /** Tags of the inner packets that came through, in order. */
  readonly received: number[] = []
  /** Copies of all datagrams that it has sent. */
  readonly sent: Uint8Array[] = []
  keepSent = false
  readonly #memory = new Uint8Array(4096)
  readonly #options: Partial<DeviceOptions>

  constructor(
    network: SimulatedNetwork,
    address: string,
    seed: number,
    options: Partial<DeviceOptions> = {},
  ) {
    this.network = network
    this.address = address
    this.#options = options
    this.box = boxOf(seed, () => this.#wall(), options)
    this.configure({ privateKey: this.box.privateKey })
    network.place(address, this)
  }

  /** Goes on with a fresh device that was given the state of the old one as bytes. */
  succeed(seed: number): void {
    const driver = { listenPort: 1, fwmark: 0 }
    const decoded = decodeState(encodeState({ driver, device: this.device.export() }))
    if (decoded.is !== 'state') throw new TypeError(decoded.is)
    const { privateKey, publicKey } = this.box
    this.device.close()
    this.box = { ...boxOf(seed, () => this.#wall(), this.#options), privateKey, publicKey }
    this.device.import(decoded.state.device)
    this.#flush()
  }

  get device() {
    return this.box.device
  }

  configure(change: { privateKey?: Uint8Array; peers?: readonly PeerChange[] }): void {
    this.device.configure({ peers: [], ...change }, this.#now())
    this.#flush()
  }

  /** Makes the other a peer that owns 10.0.0.`last`. */
  befriend(other: WireguardHost, last: number, change: Partial<PeerChange> = {}): void {
    const address = Uint8Array.of(10, 0, 0, last)
    const known = { publicKey: other.box.publicKey, endpoint: endpoint(other.address) }
    this.configure({ peers: [{ ...known, allowedIps: [{ address, bits: 32 }], ...change }] })
  }

  /** Sends an inner packet. */
  say(from: number, to: number, tag: number): SendResult {
    return this.sayPacket(innerV4(from, to, 64, tag))
  }

  sayPacket(inner: Inner): SendResult {
    const result = this.device.send(inner.memory, inner.offset, inner.length, this.#now())
    const { offset, length, to } = this.device.sealed
    if (result === 'sealed') this.#put(to, inner.memory.slice(offset, offset + length))
    this.#flush()
    return result
  }

  deliver(bytes: Uint8Array, from: string): void {
    this.#memory.fill(0xee)
    this.#memory.set(bytes, 8)
    const result = this.device.receive(this.#memory, 8, bytes.length, endpoint(from), this.#now())
    if (result === 'packet') {
      const { offset } = this.device.packet
      this.received.push(new DataView(this.#memory.buffer).getUint32(offset + 20))
    }
    this.#flush()
  }

  deadline(): number | undefined {
    const at = this.device.deadline()
    return at === undefined ? undefined : at - this.bootJump
  }

  timeout(): void {
    this.device.timeout(this.#now())
    this.#flush()
  }

  move(address: string): void {
    this.network.clear(this.address)
    this.address = address
    this.network.place(address, this)
  }

  #wall() {
    return instant(EPOCH + this.network.now + this.wallJump)
  }

  #now() {
    return millis(this.network.now + this.bootJump)
  }

  #flush(): void {
    for (let next = this.device.nextTransmit(this.#now()); next; next = this.device.nextTransmit(this.#now()))
      this.#put(next.to, next.memory.slice(next.offset, next.offset + next.length))
  }

  #put(to: Endpoint, bytes: Uint8Array): void {
    if (this.keepSent) this.sent.push(bytes)
    this.network.send(this.address, formatEndpoint(to), bytes)
  }
}
