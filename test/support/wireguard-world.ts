/**
 * Two WireGuard devices on a simulated network, as a tap test: `simulate` runs a scenario for each seed. A failure
 * prints its seed and the last datagrams; DROVER_SEED repeats one.
 */
import { type Test, test } from 'tap'
import type { DeviceOptions } from '../../tunnel/wireguard/device.ts'
import { type Link, perfectLink, SimulatedNetwork } from './simulated-network.ts'
import { WireguardHost } from './wireguard-host.ts'

export const HERE = '192.0.2.1:51820'
export const THERE = '[2001:db8::2]:51821'

export interface World {
  readonly network: SimulatedNetwork
  readonly a: WireguardHost
  readonly b: WireguardHost
}

export const worldOf = (
  seed: number,
  link: Link = perfectLink,
  options: Partial<DeviceOptions> = {},
): World => {
  const network = new SimulatedNetwork(seed, link)
  const a = new WireguardHost(network, HERE, seed * 2 + 100, options)
  const b = new WireguardHost(network, THERE, seed * 2 + 101, options)
  a.befriend(b, 2)
  b.befriend(a, 1)
  return { network, a, b }
}

export const seedsOf = (usual: readonly number[]): readonly number[] =>
  process.env.DROVER_SEED === undefined ? usual : [Number(process.env.DROVER_SEED)]

export function simulate(
  name: string,
  run: (t: Test, world: World, seed: number) => void,
  { link = perfectLink, seeds = [1], options = {} }: SimulationOptions = {},
): void {
  test(name, async (t) => {
    for (const seed of seedsOf(seeds)) {
      const world = worldOf(seed, link, options)
      run(t, world, seed)
      if (!t.passing()) t.comment(`DROVER_SEED=${seed}\n${world.network.trace.join('\n')}`)
    }
  })
}

export interface SimulationOptions {
  readonly link?: Link
  readonly seeds?: readonly number[]
  readonly options?: Partial<DeviceOptions>
}

export const typesOf = (host: WireguardHost): number[] => host.sent.map((bytes) => bytes[0] ?? 0)
export const count = (host: WireguardHost, type: number): number =>
  typesOf(host).filter((each) => each === type).length

export const lastData = (host: WireguardHost): Uint8Array =>
  host.sent.findLast((bytes) => bytes[0] === 4) ?? new Uint8Array(0)

/** A packet each way every `every` ms. */
export function converse({ network, a, b }: World, duration: number, every: number): number {
  let tag = 0
  for (let at = 0; at < duration; at += every) {
    tag++
    a.say(1, 2, tag)
    b.say(2, 1, tag)
    network.run(every)
  }
  return tag
}
