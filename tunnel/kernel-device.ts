/**
 * Keeps a WireGuard device of the kernel there: the one that an earlier daemon made, else a fresh one, again when
 * somebody removes it. A device is ours by its private key, or while it has none. What else of ours has the name,
 * a userspace engine and its TUN device, is ended first; what is somebody else's is left alone and said.
 */
import type { Ip, Link } from '../linux/ip.ts'
import type { Wireguard } from '../linux/wireguard.ts'
import { base64 } from '../model/bytes.ts'
import { DroverError, reasonOf } from '../model/errors.ts'
import { type Clock, type Log, type Meter, sleep } from '../model/ports.ts'
import { millis, seconds } from '../model/time.ts'
import type { Keeper } from './keeper.ts'

export interface KernelDeviceDeps {
  readonly ip: Pick<Ip, 'links' | 'batch'>
  readonly wireguard: Pick<Wireguard, 'exists' | 'read'>
  /** Ends the userspace engine of this interface, if there is one. */
  readonly endUserspace: () => Promise<void>
  /** Told why there is no device; empty when there is one again. */
  readonly onTrouble: (why: string) => void
  readonly clock: Clock
  readonly log: Log
  readonly meter: Meter
}

export interface DevicePlace {
  readonly name: string
  readonly mtu: number
  /** Base64 of 32 bytes. */
  readonly privateKey: string
}

const lookEvery = seconds(1)
const firstRetry = 100
const lastRetry = 5000
/** A TUN device goes shortly after its process. */
const leavingLooks = 40
const leavingLookEvery = millis(25)

export class KernelDevice implements Keeper {
  readonly #deps: KernelDeviceDeps
  readonly #place: DevicePlace
  readonly #stop = new AbortController()
  #running = false

  constructor(deps: KernelDeviceDeps, place: DevicePlace) {
    this.#deps = deps
    this.#place = place
  }

  get running(): boolean {
    return this.#running
  }

  async run(up: () => void): Promise<void> {
    const { log, meter, onTrouble } = this.#deps
    let pause = firstRetry
    while (!this.#stop.signal.aborted) {
      const trouble = await this.#ensure().then(() => '', reasonOf)
      onTrouble(trouble)
      if (trouble !== '') {
        await this.#sleep(pause)
        pause = Math.min(pause * 2, lastRetry)
        continue
      }
      pause = firstRetry
      this.#running = true
      up()
      await this.#untilGone()
      this.#running = false
      if (this.#stop.signal.aborted) return
      log.warn('the tunnel device is gone; making it again')
      meter.count('drover_worker_restarts_total', 1, { worker: 'tunnel' })
    }
  }

  close(): void {
    this.#stop.abort()
  }

  /** Found or made, and up: a port that is taken then refuses the settings and not the device. */
  async #ensure(): Promise<void> {
    const { ip } = this.#deps
    const { name, mtu } = this.#place
    const there = await this.#link()
    if (there?.kind === 'wireguard') refuseForeign(this.#deps, this.#place)
    else await this.#makeWay(there)
    await ip.batch([
      ...(there?.kind === 'wireguard' ? [] : [`link add dev ${name} mtu ${mtu} type wireguard`]),
      `link set dev ${name} addrgenmode none`,
      `link set dev ${name} mtu ${mtu} up`,
    ])
  }

  /** A tunnel process that systemd starts again loses the race for the name: starting takes it longer. */
  async #makeWay(there: Link | undefined): Promise<void> {
    const { name } = this.#place
    if (there !== undefined && there.kind !== 'tun')
      throw new DroverError('TUNNEL_NAME', `${name} is of kind ${there.kind || 'hardware'}`)
    await this.#deps.endUserspace()
    for (let looks = 0; looks < leavingLooks; looks++) {
      if ((await this.#link()) === undefined) return
      await this.#sleep(leavingLookEvery)
    }
    await this.#deps.ip.batch([`link del dev ${name}`])
  }

  async #link(): Promise<Link | undefined> {
    return (await this.#deps.ip.links()).find(({ name }) => name === this.#place.name)
  }

  async #untilGone(): Promise<void> {
    while (!this.#stop.signal.aborted && this.#deps.wireguard.exists(this.#place.name))
      await this.#sleep(lookEvery)
  }

  #sleep(delay: number): Promise<void> {
    return sleep(this.#deps.clock, millis(delay), this.#stop.signal).catch(() => undefined)
  }
}

/** Makes way for a userspace engine; a device that is not ours is refused with TUNNEL_NAME. */
export async function removeKernelDevice(
  deps: Pick<KernelDeviceDeps, 'ip' | 'wireguard'>,
  place: Pick<DevicePlace, 'name' | 'privateKey'>,
): Promise<void> {
  if (!deps.wireguard.exists(place.name)) return
  refuseForeign(deps, place)
  await deps.ip.batch([`link del dev ${place.name}`])
}

function refuseForeign(
  { wireguard }: Pick<KernelDeviceDeps, 'wireguard'>,
  { name, privateKey }: Pick<DevicePlace, 'name' | 'privateKey'>,
): void {
  const key = wireguard.read(name)?.privateKey
  if (key !== undefined && base64(key) !== privateKey)
    throw new DroverError('TUNNEL_NAME', `${name} is a WireGuard device with another key`)
}
