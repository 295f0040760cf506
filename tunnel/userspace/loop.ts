/**
 * The packet loop: what the TUN device gives is cut, sealed and sent; what UDP gives is opened, coalesced and
 * written; orders of the control thread and the device's deadlines come in between. Blocks in the kernel and
 * ends when the TUN device is gone or when it is told to. A round allocates nothing.
 */
import type { Reactor } from '../../linux/reactor.ts'
import type { TunDevice } from '../../linux/tun.ts'
import type { UdpSocket } from '../../linux/udp.ts'
import type { Millis } from '../../model/time.ts'
import type { Device } from '../wireguard/device.ts'
import type { Endpoint, EndpointTable } from '../wireguard/endpoint.ts'
import type { Memory } from './checksum.ts'
import type { Inbound } from './inbound.ts'
import type { Outbound } from './outbound.ts'
import type { UdpPorts } from './ports.ts'

export interface LoopDeps {
  readonly memory: Memory
  readonly device: Device
  readonly tun: TunDevice
  readonly udp: UdpPorts
  readonly reactor: Reactor
  readonly inbound: Inbound
  readonly outbound: Outbound
  readonly endpoints: EndpointTable
  readonly boot: () => Millis
  /** The descriptor that the control thread writes to, and how to take what it ordered. */
  readonly orders: { readonly fd: number; take(now: Millis): 'go on' | 'stop' }
}

/** How often the MTU of the interface is looked at. */
const lookEvery = 1000

export class PacketLoop {
  readonly #deps: LoopDeps
  /** Orders, the TUN device, then the sockets. */
  readonly #watched: number[]
  #lookedAt = Number.NEGATIVE_INFINITY

  constructor(deps: LoopDeps) {
    this.#deps = deps
    this.#watched = [deps.orders.fd, deps.tun.fd, ...deps.udp.sockets.map(({ fd }) => fd)]
  }

  run(): 'gone' | 'stopped' {
    for (;;) {
      const end = this.round()
      if (end !== undefined) return end
    }
  }

  /** Waits once, and does what there is to do; undefined unless it has ended. */
  round(): 'gone' | 'stopped' | undefined {
    const { reactor, udp, orders, boot } = this.#deps
    const { sockets } = udp
    this.#wait(boot())
    const now = boot()
    if (reactor.ready(0) !== 'idle' && orders.take(now) === 'stop') return 'stopped'
    if (reactor.ready(1) !== 'idle' && this.#outward(now) === 'gone') return 'gone'
    for (let index = 0; index < sockets.length; index++) {
      const socket = sockets[index]
      if (socket === undefined || socket.fd < 0 || reactor.ready(2 + index) === 'idle') continue
      if (this.#inward(socket, now) === 'gone') return 'gone'
    }
    this.#pass(now)
    return undefined
  }

  /** Until something is there or due. */
  #wait(now: Millis): void {
    const { device, reactor, udp } = this.#deps
    if (now - this.#lookedAt >= lookEvery) this.#look(now)
    const { sockets } = udp
    for (let index = 0; index < sockets.length; index++) this.#watched[2 + index] = sockets[index]?.fd ?? -1
    const deadline = Math.min(device.deadline() ?? now + lookEvery, now + lookEvery)
    reactor.watch(this.#watched)
    reactor.wait(Math.max(0, Math.ceil(deadline - now)))
  }

  /** From the TUN device to the network. */
  #outward(now: Millis): 'works' | 'gone' {
    const { tun, outbound } = this.#deps
    const state = tun.readBatch()
    const { at, length, count } = tun.packets
    for (let index = 0; index < count; index++) outbound.take(at[index] ?? 0, length[index] ?? 0, now)
    outbound.flush()
    return state
  }

  /** From the network to the TUN device. */
  #inward(socket: UdpSocket, now: Millis): 'works' | 'gone' {
    const { inbound } = this.#deps
    const { received } = socket
    const count = socket.receiveBatch()
    for (let slot = 0; slot < count; slot++) {
      const from = this.#sender(socket, slot)
      const start = received.at[slot] ?? 0
      const end = start + (received.length[slot] ?? 0)
      const step = received.segment[slot] || 1
      for (let at = start; at < end; at += step) this.#open(at, Math.min(step, end - at), from, now)
    }
    return inbound.write()
  }

  #open(at: number, length: number, from: Endpoint, now: Millis): void {
    const { device, inbound, memory } = this.#deps
    const into = inbound.place(at, length)
    if (device.receive(memory.bytes, at, length, from, now, into) === 'packet') inbound.add(device.packet)
    else this.transmit(now)
  }

  #sender(socket: UdpSocket, slot: number): Endpoint {
    const { endpoints, memory } = this.#deps
    const { addressAt, localAt, port, scope } = socket.received
    const at = addressAt[slot] ?? 0
    const local = localAt[slot] ?? 0
    if (socket.family === 6) return endpoints.v6(memory.bytes, at, port[slot] ?? 0, scope[slot] ?? 0, local)
    const own = local === 0 ? 0 : memory.view.getInt32(local)
    return endpoints.v4(memory.view.getInt32(at), port[slot] ?? 0, own)
  }

  /** What is due by itself. */
  #pass(now: Millis): void {
    const { device } = this.#deps
    if ((device.deadline() ?? Number.POSITIVE_INFINITY) <= now) device.timeout(now)
    this.transmit(now)
  }

  /** Sends what the device has to say by itself. */
  transmit(now: Millis): void {
    const { device, udp } = this.#deps
    for (let next = device.nextTransmit(now); next !== undefined; next = device.nextTransmit(now)) {
      udp.flush()
      udp.add(next.offset, next.length, next.to)
      udp.flush()
    }
  }

  #look(now: Millis): void {
    const mtu = this.#deps.tun.mtu()
    if (mtu > 0) this.#deps.device.mtu = mtu
    this.#lookedAt = now
  }
}
