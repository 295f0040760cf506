/**
 * The packet loop: what the TUN device gives is cut, sealed and sent; what UDP gives is opened, coalesced and
 * written; orders of the control thread and the device's deadlines come in between. Blocks in the kernel and
 * ends when the TUN device is gone or when it is told to.
 */
import type { Reactor } from '../../linux/reactor.ts'
import type { TunDevice } from '../../linux/tun.ts'
import type { UdpSocket } from '../../linux/udp.ts'
import type { Millis } from '../../model/time.ts'
import type { Device } from '../wireguard/device.ts'
import type { EndpointTable } from '../wireguard/endpoint.ts'
import type { Memory } from './checksum.ts'
import type { Inbound } from './inbound.ts'
import type { UdpPorts } from './ports.ts'
import { type Segments, segment } from './segment.ts'

export interface LoopDeps {
  readonly memory: Memory
  readonly device: Device
  readonly tun: TunDevice
  readonly udp: UdpPorts
  readonly reactor: Reactor
  readonly inbound: Inbound
  readonly endpoints: EndpointTable
  /** Where segments of large packets go. */
  readonly segments: Segments
  readonly boot: () => Millis
  /** The descriptor that the control thread writes to, and how to take what it ordered. */
  readonly orders: { readonly fd: number; take(now: Millis): 'go on' | 'stop' }
}

/** How often the MTU of the interface is looked at. */
const lookEvery = 1000
/** A packet never becomes more segments, nor needs more room, than this. */
const segmentLimit = 2048
const segmentRoom = 512 * 1024

export class PacketLoop {
  readonly #deps: LoopDeps
  readonly #segmentsStart: number
  #lookedAt = Number.NEGATIVE_INFINITY
  malformed = 0

  constructor(deps: LoopDeps) {
    this.#deps = deps
    this.#segmentsStart = deps.segments.next
  }

  run(): 'gone' | 'stopped' {
    const { device, reactor, tun, udp, orders, boot } = this.#deps
    for (;;) {
      const now = boot()
      if (now - this.#lookedAt >= lookEvery) this.#look(now)
      const deadline = Math.min(device.deadline() ?? now + lookEvery, now + lookEvery)
      reactor.watch([orders.fd, tun.fd, ...udp.sockets.map(({ fd }) => fd)])
      reactor.wait(Math.max(0, Math.ceil(deadline - now)))
      if (reactor.ready(0) !== 'idle' && orders.take(boot()) === 'stop') return 'stopped'
      if (reactor.ready(1) !== 'idle' && this.#outward(boot()) === 'gone') return 'gone'
      for (const [index, socket] of udp.sockets.entries()) {
        if (reactor.ready(2 + index) === 'idle' || socket.fd < 0) continue
        if (this.#inward(socket, boot()) === 'gone') return 'gone'
      }
      this.#pass(boot())
    }
  }

  /** From the TUN device to the network. */
  #outward(now: Millis): 'works' | 'gone' {
    const { memory, tun, segments } = this.#deps
    const state = tun.readBatch()
    const { at, length, count } = tun.packets
    for (let index = 0; index < count; index++) {
      if (segments.end - segments.next < segmentRoom || segments.at.length - segments.count < segmentLimit)
        this.#seal(now)
      if (!this.#take(memory, at[index] ?? 0, length[index] ?? 0)) this.malformed++
    }
    this.#seal(now)
    return state
  }

  #take(memory: Memory, at: number, length: number): boolean {
    const { tun, segments } = this.#deps
    if (tun.offloads.vnetHeader) return segment(memory, at, length, segments)
    segments.at[segments.count] = at
    segments.length[segments.count++] = length
    return true
  }

  /** Seals and sends the segments gathered so far. */
  #seal(now: Millis): void {
    const { device, memory, udp, segments } = this.#deps
    const { sealed } = device
    for (let index = 0; index < segments.count; index++) {
      const result = device.send(memory.bytes, segments.at[index] ?? 0, segments.length[index] ?? 0, now)
      if (result === 'sealed') udp.add(sealed.offset, sealed.length, sealed.to)
      else if (result === 'queued') this.#transmit(now)
    }
    udp.flush()
    segments.count = 0
    segments.next = this.#segmentsStart
  }

  /** From the network to the TUN device. */
  #inward(socket: UdpSocket, now: Millis): 'works' | 'gone' {
    const { device, memory, inbound } = this.#deps
    const { received } = socket
    const count = socket.receiveBatch()
    for (let slot = 0; slot < count; slot++) {
      const from = this.#sender(socket, slot)
      const start = received.at[slot] ?? 0
      const end = start + (received.length[slot] ?? 0)
      const step = received.segment[slot] || 1
      for (let at = start; at < end; at += step) {
        const length = Math.min(step, end - at)
        inbound.note(at, length)
        if (device.receive(memory.bytes, at, length, from, now) === 'packet')
          inbound.add(device.packet.offset, device.packet.length)
        else this.#transmit(now)
        if (inbound.full && inbound.write() === 'gone') return 'gone'
      }
    }
    return inbound.write()
  }

  #sender(socket: UdpSocket, slot: number) {
    const { endpoints, memory } = this.#deps
    const { addressAt, port, scope } = socket.received
    const at = addressAt[slot] ?? 0
    return socket.family === 4
      ? endpoints.v4(memory.view.getUint32(at), port[slot] ?? 0)
      : endpoints.v6(memory.bytes, at, port[slot] ?? 0, scope[slot] ?? 0)
  }

  /** What is due by itself. */
  #pass(now: Millis): void {
    const { device } = this.#deps
    if ((device.deadline() ?? Number.POSITIVE_INFINITY) <= now) device.timeout(now)
    this.#transmit(now)
  }

  #transmit(now: Millis): void {
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
