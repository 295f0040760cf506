/**
 * Asks many IPv4 addresses for an ICMP echo at once (RFC 792), each of a size of its own, and says which answered.
 * Nothing fragments a request. One raw socket per round, never blocking: it is read when the clock says so. Needs
 * CAP_NET_RAW.
 */
import { DroverError } from '../model/errors.ts'
import type { Ipv4 } from '../model/ip.ts'
import type { Clock, Random } from '../model/ports.ts'
import { sleep } from '../model/ports.ts'
import { type Millis, millis } from '../model/time.ts'
import type { Libc } from './ffi.ts'

export interface ProbeOptions {
  readonly source?: Ipv4
  /** Name of the interface that requests leave by and answers must come in by. */
  readonly interface?: string
  readonly timeout: Millis
}

/** An echo request of `size` bytes, IP header included. */
export interface SizedProbe {
  readonly address: Ipv4
  readonly size: number
}

/** Says which of the addresses answer. */
export interface Prober {
  probe(addresses: readonly Ipv4[], options: ProbeOptions): Promise<ReadonlySet<Ipv4>>
  /** The probes that were answered, with the time that it took. */
  probeSizes(probes: readonly SizedProbe[], options: ProbeOptions): Promise<ReadonlyMap<SizedProbe, Millis>>
}

export interface PingerDeps {
  readonly libc: Libc
  readonly clock: Clock
  readonly random: Random
}

const echoRequest = 8
const echoReply = 0
const ipHeader = 20
const smallest = ipHeader + 8
const usual = smallest + 16
/** The largest tunnel MTU that can be configured. */
const largest = 9000
const bufferSize = 1 << 20
const level = { ip: 0, socket: 1, raw: 255 }
const option = {
  IP_MTU_DISCOVER: 10,
  ICMP_FILTER: 1,
  SO_BINDTODEVICE: 25,
  SO_SNDBUFFORCE: 32,
  SO_RCVBUFFORCE: 33,
}
/** IP_PMTUDISC_PROBE: don't fragment, whatever the route says; only the device limits. */
const neverFragment = 3

interface Round {
  readonly fd: number
  readonly id: number
  readonly begun: Millis
  readonly waiting: Map<number, SizedProbe>
  readonly answered: Map<SizedProbe, Millis>
}

export class Pinger implements Prober {
  readonly #deps: PingerDeps
  readonly #packet: number
  readonly #address: number

  constructor(deps: PingerDeps) {
    this.#deps = deps
    this.#packet = deps.libc.arena.take(largest)
    this.#address = deps.libc.arena.take(32)
  }

  async probe(addresses: readonly Ipv4[], options: ProbeOptions): Promise<ReadonlySet<Ipv4>> {
    const probes = [...new Set(addresses)].map((address) => ({ address, size: usual }))
    const answered = await this.probeSizes(probes, options)
    return new Set([...answered.keys()].map(({ address }) => address))
  }

  async probeSizes(
    probes: readonly SizedProbe[],
    options: ProbeOptions,
  ): Promise<ReadonlyMap<SizedProbe, Millis>> {
    if (probes.length === 0) return new Map()
    const fd = this.#open(options)
    try {
      const [low = 0, high = 0] = this.#deps.random.bytes(2)
      const waiting = new Map(probes.map((probe, at) => [at & 0xffff, probe]))
      const begun = this.#deps.clock.boot()
      const round = { fd, id: low | (high << 8), begun, waiting, answered: new Map<SizedProbe, Millis>() }
      for (const [sequence, probe] of waiting) this.#send(round, sequence, probe)
      await this.#collect(round, options.timeout)
      return round.answered
    } finally {
      this.#deps.libc.close(fd)
    }
  }

  /** Looks for answers ever less often: a near peer is heard within a millisecond or two. */
  async #collect(round: Round, timeout: Millis): Promise<void> {
    const { clock } = this.#deps
    const end = clock.boot() + timeout
    for (let pause = 1; round.waiting.size > 0; pause = Math.min(pause * 2, 50)) {
      this.#drain(round)
      const left = end - clock.boot()
      if (round.waiting.size === 0 || left <= 0) return
      await sleep(clock, millis(Math.min(pause, left)))
    }
  }

  #drain(round: Round): void {
    const { libc } = this.#deps
    const { bytes, view } = libc.arena
    for (;;) {
      const length = libc.receive(round.fd, this.#packet, largest, 0x40)
      if (length < 0) return
      const icmp = this.#packet + ((bytes[this.#packet] ?? 0) & 15) * 4
      if (length < icmp - this.#packet + 8 || bytes[icmp] !== echoReply) continue
      if (view.getUint16(icmp + 4) !== round.id) continue
      const sequence = view.getUint16(icmp + 6)
      const asked = round.waiting.get(sequence)
      if (asked === undefined || asked.address !== view.getUint32(this.#packet + 12)) continue
      round.waiting.delete(sequence)
      round.answered.set(asked, millis(this.#deps.clock.boot() - round.begun))
    }
  }

  /** A request that cannot leave is one that is not answered. */
  #send(round: Round, sequence: number, { address, size }: SizedProbe): void {
    const { libc } = this.#deps
    const { bytes, view } = libc.arena
    const at = this.#packet
    const length = Math.min(Math.max(size, smallest), largest) - ipHeader
    bytes.fill(0, at, at + length)
    view.setUint8(at, echoRequest)
    view.setUint16(at + 4, round.id)
    view.setUint16(at + 6, sequence)
    let sum = 0
    // the rest is zero
    for (let word = at; word < at + 8; word += 2) sum += view.getUint16(word)
    sum = (sum & 0xffff) + (sum >>> 16)
    view.setUint16(at + 2, ~(sum + (sum >>> 16)) & 0xffff)
    this.#putAddress(address)
    libc.sendTo(round.fd, at, length, 0x40, this.#address, 16)
  }

  #open(options: ProbeOptions): number {
    const { libc } = this.#deps
    const fd = libc.socket(2, 3 | 0o2000000 | 0o4000, 1)
    if (fd < 0) throw new DroverError('NOT_ROOT', 'raw socket for probes', { fields: { errno: -fd } })
    libc.setOption(fd, level.raw, option.ICMP_FILTER, ~(1 << echoReply))
    libc.setOption(fd, level.socket, option.SO_RCVBUFFORCE, bufferSize)
    libc.setOption(fd, level.socket, option.SO_SNDBUFFORCE, bufferSize)
    libc.setOption(fd, level.ip, option.IP_MTU_DISCOVER, neverFragment)
    const bound = this.#bind(fd, options)
    if (bound >= 0) return fd
    libc.close(fd)
    throw new DroverError('TUNNEL_UNAVAILABLE', `probes by ${options.interface ?? 'their source'}`, {
      fields: { interface: options.interface, errno: -bound },
    })
  }

  #bind(fd: number, { interface: device, source }: ProbeOptions): number {
    const { libc } = this.#deps
    if (device !== undefined) {
      const name = Buffer.from(`${device}\0`)
      libc.arena.bytes.set(name.subarray(0, 16), this.#address)
      const result = libc.setOptionAt(
        fd,
        level.socket,
        option.SO_BINDTODEVICE,
        this.#address,
        Math.min(name.length, 16),
      )
      if (result < 0) return result
    }
    if (source === undefined) return 0
    this.#putAddress(source)
    return libc.bind(fd, this.#address, 16)
  }

  #putAddress(address: Ipv4): void {
    const { bytes, view } = this.#deps.libc.arena
    bytes.fill(0, this.#address, this.#address + 16)
    view.setUint16(this.#address, 2, true)
    view.setUint32(this.#address + 4, address)
  }
}
