/**
 * What is measured of one pair in one round. A figure that cannot be taken is left out with a line: a long run
 * goes on.
 */
import { reasonOf } from '../model/errors.ts'
import type { NetnsWorld } from '../test/support/netns.ts'
import { DatagramRate } from './datagram-rate.ts'
import { iperf, roundTrips, underLoad } from './iperf.ts'
import { percentile } from './table.ts'
import { cpuSeconds, memory, type Pair } from './tunnel-pair.ts'

/** Name, unit and group. */
export const figures = [
  ['TCP, 1 stream', 'Gb/s', 'tcp'],
  ['TCP, 1 stream, back', 'Gb/s', 'tcp'],
  ['TCP, 8 streams', 'Gb/s', 'tcp'],
  ['TCP, 8 streams, back', 'Gb/s', 'tcp'],
  ['UDP, 1,200 bytes, no loss', 'kpps', 'udp'],
  ['UDP, 64 bytes, no loss', 'kpps', 'udp'],
  ['UDP, 1,200 bytes, no limit', 'kpps', 'udp'],
  ['UDP, 64 bytes, no limit', 'kpps', 'udp'],
  ['RTT idle, median', 'µs', 'rtt'],
  ['RTT idle, p99', 'µs', 'rtt'],
  ['RTT loaded, median', 'µs', 'rtt'],
  ['RTT loaded, p99', 'µs', 'rtt'],
  ['CPU per GB', 's', 'tcp'],
  ['memory', 'MiB', 'tcp'],
] as const
export type Figure = (typeof figures)[number][0]
export type Group = (typeof figures)[number][2]
export type Round = Partial<Record<Figure, number>>
export const groups: readonly Group[] = ['tcp', 'udp', 'rtt']

const pings = 2000

export interface Measure {
  readonly seconds: number
  readonly groups: readonly Group[]
  readonly say: (line: string) => void
}

export async function measureRound(world: NetnsWorld, pair: Pair, options: Measure): Promise<Round> {
  const round: Round = {}
  for (const group of options.groups) {
    try {
      Object.assign(round, await measured[group](world, pair, options.seconds))
    } catch (error) {
      options.say(`${pair.contestant.name}: without ${group} in this round: ${reasonOf(error)}`)
    }
  }
  return round
}

const measured: Record<Group, (world: NetnsWorld, pair: Pair, seconds: number) => Promise<Round>> = {
  tcp: tcpOf,
  udp: udpOf,
  rtt: rttOf,
}

async function tcpOf(world: NetnsWorld, pair: Pair, seconds: number): Promise<Round> {
  const before = cpuSeconds(pair)
  const there = await iperf(world, pair, `-t ${seconds}`)
  const back = await iperf(world, pair, `-t ${seconds} -R`)
  const spent = cpuSeconds(pair) - before
  const many = await iperf(world, pair, `-t ${seconds} -P 8`)
  const manyBack = await iperf(world, pair, `-t ${seconds} -P 8 -R`)
  const engines =
    pair.pids.length === 0
      ? {}
      : { 'CPU per GB': (spent / (there.bytes + back.bytes)) * 1e9, memory: memory(pair) }
  return {
    'TCP, 1 stream': there.gigabits,
    'TCP, 1 stream, back': back.gigabits,
    'TCP, 8 streams': many.gigabits,
    'TCP, 8 streams, back': manyBack.gigabits,
    ...engines,
  }
}

async function udpOf(world: NetnsWorld, pair: Pair, seconds: number): Promise<Round> {
  const datagrams = new DatagramRate(world, pair)
  const millis = Math.min(1000, seconds * 500)
  const of = async (size: number) => {
    await datagrams.trial(0, size, 200)
    const flood = await datagrams.trial(0, size, millis)
    return { flood: flood.arrived, whole: await datagrams.lossless(size, millis, flood.offered) }
  }
  try {
    const [large, small] = [await of(1200), await of(64)]
    return {
      'UDP, 1,200 bytes, no loss': large.whole / 1000,
      'UDP, 64 bytes, no loss': small.whole / 1000,
      'UDP, 1,200 bytes, no limit': large.flood / 1000,
      'UDP, 64 bytes, no limit': small.flood / 1000,
    }
  } finally {
    datagrams.close()
  }
}

async function rttOf(world: NetnsWorld, pair: Pair): Promise<Round> {
  const idle = await roundTrips(world, pair, pings)
  const loaded = await underLoad(world, pair, () => roundTrips(world, pair, pings))
  return {
    'RTT idle, median': percentile(idle, 0.5),
    'RTT idle, p99': percentile(idle, 0.99),
    'RTT loaded, median': percentile(loaded, 0.5),
    'RTT loaded, p99': percentile(loaded, 0.99),
  }
}
