/**
 * Orders of the control thread carried out on the device and its sockets, between two rounds of the packet loop.
 */
import type { TunDevice } from '../../linux/tun.ts'
import type { Millis } from '../../model/time.ts'
import type { EngineFacts } from '../engine-facts.ts'
import type { DeviceChange } from '../wireguard/change.ts'
import type { Device } from '../wireguard/device.ts'
import { encodeState, HANDOVER_VERSION } from '../wireguard/handover.ts'
import { type DriverStatus, errno } from '../wireguard/uapi.ts'
import type { Order, Report } from './orders.ts'
import type { UdpPorts } from './ports.ts'

export interface CommandsDeps {
  readonly device: Device
  readonly tun: TunDevice
  readonly udp: UdpPorts
  /** The next order, if there is one; takes back what woke the loop. */
  readonly next: () => Order | undefined
  readonly report: (report: Report) => void
  /** The same, but blocks until there is one. */
  readonly wait: () => Order
  /** Gives the state to whoever is at the other end of a descriptor; wipes it. */
  readonly give: (channel: number, state: Uint8Array) => void
  /** Whether this thread goes before others, where the system lets it. */
  readonly hurry: (urgent: boolean) => void
  /** Sends what the device has to say by itself. */
  readonly transmit: (now: Millis) => void
  /** Packets of the TUN device that lied. */
  readonly malformed: () => number
  readonly facts: () => EngineFacts
}

/** Peers of one practice. */
const practised = 8

export class Commands {
  readonly #deps: CommandsDeps
  #fwmark: number

  /** `fwmark`: what the sockets are marked with already. */
  constructor(deps: CommandsDeps, fwmark: number) {
    this.#deps = deps
    this.#fwmark = fwmark
  }

  take(now: Millis): 'go on' | 'stop' {
    for (let order = this.#deps.next(); order !== undefined; order = this.#deps.next()) {
      if (order.is === 'stop') return this.#stop(order.remove)
      if (order.is === 'set') this.#done(order.id, this.#set(order.change, now))
      if (order.is === 'get') this.#status(order.id)
      if (order.is === 'practise') this.#practise(order.id)
      if (order.is === 'freeze' && this.#freeze(order, now) === 'stop') return 'stop'
    }
    return 'go on'
  }

  #stop(remove: boolean): 'stop' {
    if (remove) this.#deps.tun.setPersistent(false)
    return 'stop'
  }

  #done(id: number, errno: number): void {
    this.#deps.report({ is: 'done', id, errno })
  }

  /** So few peers at a time that no packet waits longer for it than for another batch of packets. */
  #practise(id: number): void {
    this.#state(HANDOVER_VERSION, practised).fill(0)
    this.#done(id, 0)
  }

  #state(version: number, peers?: number): Uint8Array {
    return encodeState({ driver: this.#driver(), device: this.#deps.device.export(peers) }, version)
  }

  /** Gives the state away and touches no packet until it is told how it ended. */
  #freeze({ id, channel, version }: Extract<Order, { is: 'freeze' }>, now: Millis): 'go on' | 'stop' {
    const { report, transmit, wait, give, hurry } = this.#deps
    hurry(true)
    transmit(now)
    give(channel, this.#state(version))
    hurry(false)
    report({ is: 'frozen', id })
    for (let order = wait(); order.is !== 'resume'; order = wait()) {
      if (order.is === 'stop') return this.#stop(order.remove)
      if (order.is === 'set') this.#done(order.id, errno.busy)
      if (order.is === 'get') this.#status(order.id)
    }
    return 'go on'
  }

  #driver(): DriverStatus {
    return { listenPort: this.#deps.udp.port, fwmark: this.#fwmark }
  }

  #status(id: number): void {
    const { device, tun, udp, report, malformed, facts } = this.#deps
    report({
      is: 'status',
      id,
      device: device.status(),
      driver: this.#driver(),
      facts: facts(),
      drops: { ...device.drops },
      traffic: {
        malformed: malformed(),
        refusedDatagrams: udp.sockets.reduce((sum, socket) => sum + socket.refused.count, 0),
        refusedPackets: tun.refused.count,
      },
      descriptors: { tun: tun.fd, udp4: udp.sockets[0]?.fd ?? -1, udp6: udp.sockets[1]?.fd ?? -1 },
    })
  }

  /** The sockets first: a port that is taken refuses the whole change. */
  #set(change: DeviceChange, now: Millis): number {
    const errno = this.#bind(change.listenPort) || this.#mark(change.fwmark)
    if (errno === 0) this.#deps.device.configure(change, now)
    return errno
  }

  #bind(port: number | undefined): number {
    const { udp } = this.#deps
    if (port === undefined || port === udp.port) return 0
    const before = udp.port
    const errno = udp.open(port)
    if (errno !== 0) udp.open(before)
    return this.#fwmark === 0 ? errno : errno || udp.setMark(this.#fwmark)
  }

  #mark(fwmark: number | undefined): number {
    if (fwmark === undefined || fwmark === this.#fwmark) return 0
    this.#fwmark = fwmark
    return this.#deps.udp.setMark(fwmark)
  }
}
