/**
 * TCP through a pair, by iperf3: what arrived and how fast.
 */
import { type NetnsWorld, until } from '../test/support/netns.ts'
import { outputOf } from './scene.ts'
import type { Pair } from './tunnel-pair.ts'

interface IperfReport {
  readonly error?: string
  readonly end?: { readonly sum_received?: { readonly bytes: number; readonly seconds: number } }
}

export interface Stream {
  readonly bytes: number
  readonly gigabits: number
}

let lastPort = 5200

/** `how`: arguments of iperf3, as `-t 3 -R` or `-n 1000M -P 8`. */
export async function iperf(world: NetnsWorld, pair: Pair, how: string): Promise<Stream> {
  const port = String(++lastPort)
  const server = world.spawn(pair.two, ['iperf3', '-s', '-1', '--forceflush', '-p', port])
  let said = ''
  server.stdout?.on('data', (chunk) => {
    said += String(chunk)
  })
  server.stderr?.resume()
  try {
    await until('iperf3 listening', () => said.includes('listening'))
    const client = ['iperf3', '-J', '--connect-timeout', '5000', '-c', pair.target, '-p', port]
    const stdout = await outputOf(world, pair.one, [...client, ...how.split(' ')])
    const { error, end } = JSON.parse(stdout) as IperfReport
    if (end?.sum_received === undefined) throw new Error(`iperf3: ${error ?? 'no result'}`)
    const { bytes, seconds: took } = end.sum_received
    return { bytes, gigabits: (bytes * 8) / took / 1e9 }
  } finally {
    server.kill('SIGKILL')
  }
}

/** Round-trip times in microseconds. */
export async function roundTrips(world: NetnsWorld, pair: Pair, count: number): Promise<readonly number[]> {
  const words = ['ping', '-n', '-i', '0.002', '-c', String(count), '-W', '2', pair.target]
  const stdout = await outputOf(world, pair.one, words)
  return Array.from(stdout.matchAll(/time=([\d.]+) ms/g), ([, millis]) => Number(millis) * 1000)
}
