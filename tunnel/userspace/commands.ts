/**
 * Orders of the control thread carried out on the device and its sockets, between two rounds of the packet loop.
 */
import type { TunDevice } from '../../linux/tun.ts'
import type { Millis } from '../../model/time.ts'
import type { EngineFacts } from '../engine-facts.ts'
import type { DeviceChange } from '../wireguard/change.ts'
import type { Device } from '../wireguard/device.ts'
import type { Order, Report } from './orders.ts'
import type { UdpPorts } from './ports.ts'

export interface CommandsDeps {
  readonly device: Device
  readonly tun: TunDevice
  readonly udp: UdpPorts
  /** The next order, if there is one; takes back what woke the loop. */
  readonly next: () => Order | undefined
  readonly report: (report: Report) => void
  /** Packets of the TUN device that lied. */
  readonly malformed: () => number
  readonly facts: () => EngineFacts
}

export class Commands {
  readonly #deps: CommandsDeps
  #fwmark = 0

  constructor(deps: CommandsDeps) {
    this.#deps = deps
  }

  take(now: Millis): 'go on' | 'stop' {
    for (let order = this.#deps.next(); order !== undefined; order = this.#deps.next()) {
      if (order.is === 'stop') {
        if (order.remove) this.#deps.tun.setPersistent(false)
        return 'stop'
      }
      if (order.is === 'set')
        this.#deps.report({ is: 'done', id: order.id, errno: this.#set(order.change, now) })
      else this.#status(order.id)
    }
    return 'go on'
  }

  #status(id: number): void {
    const { device, tun, udp, report, malformed, facts } = this.#deps
    report({
      is: 'status',
      id,
      device: device.status(),
      driver: { listenPort: udp.port, fwmark: this.#fwmark },
      facts: facts(),
      drops: { ...device.drops },
      traffic: {
        malformed: malformed(),
        refusedDatagrams: udp.sockets.reduce((sum, socket) => sum + socket.refused.count, 0),
        refusedPackets: tun.refused.count,
      },
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
