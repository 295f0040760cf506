/**
 * Asks many IPv4 addresses for an ICMP echo at once (RFC 792), each of a size and by an interface of its own, and
 * says which answered. Nothing fragments a request. One raw socket per interface and round, never blocking: it is
 * read when the clock says so. Needs CAP_NET_RAW.
 */
import { DroverError } from '../model/errors.ts'
import type { Ipv4 } from '../model/ip.ts'
import type { Clock, Random } from '../model/ports.ts'
import { sleep } from '../model/ports.ts'
import { type Millis, millis } from '../model/time.ts'
import type { Libc } from './ffi.ts'

export interface ProbeOptions<T> {
  readonly source?: Ipv4
  readonly timeout: Millis
  /** Told of answers as they come. */
  readonly onAnswers?: (probes: readonly T[]) => void
}

export interface Probe {
  readonly address: Ipv4
  /** Bytes of the request, IP header included. */
  readonly size?: number
  /** Name of the interface that the request leaves by, whatever the routes say, and its answer must come in by. */
  readonly interface?: string
}

/** Says which of the probes were answered, and how long it took. */
export interface Prober {
  /** Rejects with TUNNEL_UNAVAILABLE when none of the interfaces is there; behind a missing one nobody answers. */
  probe<T extends Probe>(probes: readonly T[], options: ProbeOptions<T>): Promise<ReadonlyMap<T, Millis>>
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

interface Line {
  readonly fd: number
  /** Not the same for two interfaces: who answers tells the requests of one flow apart by nothing else. */
  readonly id: number
}

interface Round<T extends Probe> {
  /** By interface; undefined for probes that the routes lead. */
  readonly lines: ReadonlyMap<string | undefined, Line>
  readonly begun: Millis
  readonly waiting: Map<number, T>
  readonly answered: Map<T, Millis>
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

  async probe<T extends Probe>(
    probes: readonly T[],
    options: ProbeOptions<T>,
  ): Promise<ReadonlyMap<T, Millis>> {
    if (probes.length === 0) return new Map()
    const lines = this.#openAll(new Set(probes.map((probe) => probe.interface)), options.source)
    try {
      const waiting = new Map(probes.map((probe, at) => [at & 0xffff, probe]))
      const begun = this.#deps.clock.boot()
      const round = { lines, begun, waiting, answered: new Map<T, Millis>() }
      for (const [sequence, probe] of waiting) this.#send(round, sequence, probe)
      await this.#collect(round, options)
      return round.answered
    } finally {
      for (const { fd } of lines.values()) this.#deps.libc.close(fd)
    }
  }

  /** Looks for answers ever less often: a near peer is heard within a millisecond or two. */
  async #collect<T extends Probe>(round: Round<T>, { timeout, onAnswers }: ProbeOptions<T>): Promise<void> {
    const { clock } = this.#deps
    const end = clock.boot() + timeout
    for (let pause = 1; round.waiting.size > 0; pause = Math.min(pause * 2, 50)) {
      const known = round.answered.size
      for (const [device, line] of round.lines) this.#drain(round, device, line)
      if (round.answered.size > known) onAnswers?.([...round.answered.keys()].slice(known))
      const left = end - clock.boot()
      if (round.waiting.size === 0 || left <= 0) return
      await sleep(clock, millis(Math.min(pause, left)))
    }
  }

  #drain<T extends Probe>(round: Round<T>, device: string | undefined, { fd, id }: Line): void {
    const { libc } = this.#deps
    const { bytes, view } = libc.arena
    for (;;) {
      const length = libc.receive(fd, this.#packet, largest, 0x40)
      if (length < 0) return
      const icmp = this.#packet + ((bytes[this.#packet] ?? 0) & 15) * 4
      if (length < icmp - this.#packet + 8 || bytes[icmp] !== echoReply) continue
      if (view.getUint16(icmp + 4) !== id) continue
      const sequence = view.getUint16(icmp + 6)
      const asked = round.waiting.get(sequence)
      // a socket without an interface hears all of them
      if (asked === undefined || asked.interface !== device) continue
      if (asked.address !== view.getUint32(this.#packet + 12)) continue
      round.waiting.delete(sequence)
      round.answered.set(asked, millis(this.#deps.clock.boot() - round.begun))
    }
  }

  /** A request that cannot leave is one that is not answered. */
  #send(round: Round<Probe>, sequence: number, { address, size = usual, interface: device }: Probe): void {
    const { libc } = this.#deps
    const line = round.lines.get(device)
    if (line === undefined) return
    const { bytes, view } = libc.arena
    const at = this.#packet
    const length = Math.min(Math.max(size, smallest), largest) - ipHeader
    bytes.fill(0, at, at + length)
    view.setUint8(at, echoRequest)
    view.setUint16(at + 4, line.id)
    view.setUint16(at + 6, sequence)
    let sum = 0
    // the rest is zero
    for (let word = at; word < at + 8; word += 2) sum += view.getUint16(word)
    sum = (sum & 0xffff) + (sum >>> 16)
    view.setUint16(at + 2, ~(sum + (sum >>> 16)) & 0xffff)
    this.#putAddress(address)
    libc.sendTo(line.fd, at, length, 0x40, this.#address, 16)
  }

  #openAll(
    devices: ReadonlySet<string | undefined>,
    source: Ipv4 | undefined,
  ): ReadonlyMap<string | undefined, Line> {
    const [low = 0, high = 0] = this.#deps.random.bytes(2)
    const first = low | (high << 8)
    const lines = new Map<string | undefined, Line>()
    let failure: DroverError | undefined
    for (const device of devices) {
      const fd = this.#open()
      const bound = this.#bind(fd, device, source)
      if (bound >= 0) lines.set(device, { fd, id: (first + lines.size) & 0xffff })
      else {
        this.#deps.libc.close(fd)
        const fields = { interface: device, errno: -bound }
        failure = new DroverError('TUNNEL_UNAVAILABLE', `probes by ${device ?? 'their source'}`, { fields })
      }
    }
    if (lines.size === 0 && failure !== undefined) throw failure
    return lines
  }

  #open(): number {
    const { libc } = this.#deps
    const fd = libc.socket(2, 3 | 0o2000000 | 0o4000, 1)
    if (fd < 0) throw new DroverError('NOT_ROOT', 'raw socket for probes', { fields: { errno: -fd } })
    libc.setOption(fd, level.raw, option.ICMP_FILTER, ~(1 << echoReply))
    libc.setOption(fd, level.socket, option.SO_RCVBUFFORCE, bufferSize)
    libc.setOption(fd, level.socket, option.SO_SNDBUFFORCE, bufferSize)
    libc.setOption(fd, level.ip, option.IP_MTU_DISCOVER, neverFragment)
    return fd
  }

  #bind(fd: number, device: string | undefined, source: Ipv4 | undefined): number {
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
