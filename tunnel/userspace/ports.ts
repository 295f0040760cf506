/**
 * The two UDP sockets of a tunnel as one: a port for both families, datagrams sorted to the family they are for.
 */
import type { UdpAddress } from '../../linux/messages.ts'
import type { Outgoing, UdpSocket } from '../../linux/udp.ts'

const addressInUse = -98
const attempts = 20

interface Queue extends Outgoing {
  count: number
}

export class UdpPorts {
  readonly sockets: readonly UdpSocket[]
  readonly #v4: UdpSocket
  readonly #v6: UdpSocket
  readonly #queues: { readonly 4: Queue; readonly 6: Queue }
  readonly #limit: number
  #port = 0

  constructor(v4: UdpSocket, v6: UdpSocket, limit: number) {
    this.#v4 = v4
    this.#v6 = v6
    this.#limit = limit
    this.sockets = [v4, v6]
    this.#queues = { 4: queueOf(limit), 6: queueOf(limit) }
  }

  get port(): number {
    return this.#port
  }

  /** Binds both families to a port, 0 for any. Without IPv6 there is IPv4 alone. Answers an errno, 0 for none. */
  open(port: number): number {
    let errno = 0
    for (let attempt = 0; attempt < (port === 0 ? attempts : 1); attempt++) {
      const v4 = this.#v4.open(port)
      const v6 = v4 < 0 ? v4 : this.#v6.open(v4)
      if (v6 !== addressInUse && v4 > 0) {
        this.#port = v4
        return 0
      }
      errno = -v6
      this.close()
    }
    this.#port = 0
    return errno
  }

  /** Takes over sockets that are bound to one port. Without IPv6 `v6` is -1. */
  adopt(v4: number, v6: number): void {
    this.#port = this.#v4.adopt(v4)
    if (v6 >= 0) this.#v6.adopt(v6)
  }

  setMark(mark: number): number {
    const results = this.sockets.filter(({ fd }) => fd >= 0).map((socket) => socket.setMark(mark))
    return -Math.min(0, ...results)
  }

  /** Keeps a datagram for `flush`; the bytes stay where they are. */
  add(at: number, length: number, to: UdpAddress): void {
    const queue = this.#queues[to.family]
    if (queue.count === this.#limit) this.flush()
    queue.at[queue.count] = at
    queue.length[queue.count] = length
    queue.to[queue.count] = to
    queue.count++
  }

  flush(): void {
    this.#send(this.#v4, this.#queues[4])
    this.#send(this.#v6, this.#queues[6])
  }

  close(): void {
    for (const socket of this.sockets) socket.close()
  }

  #send(socket: UdpSocket, queue: Queue): void {
    if (queue.count > 0 && socket.fd >= 0) socket.sendBatch(queue)
    queue.count = 0
  }
}

const queueOf = (limit: number): Queue => ({
  count: 0,
  at: new Uint32Array(limit),
  length: new Uint32Array(limit),
  to: [],
})
