/**
 * TCP through a pair, by iperf3: what arrived and how fast, or as a load; and round trips, by ping.
 */
import { type NetnsWorld, until } from '../test/support/netns.ts'
import { outputOf } from './scene.ts'
import { type Pair, saidBy } from './tunnel-pair.ts'

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
export function iperf(world: NetnsWorld, pair: Pair, how: string): Promise<Stream> {
  return withServer(world, pair, async (client) => {
    const stdout = await outputOf(world, pair.one, [...client, '-J', ...how.split(' ')])
    const { error, end } = JSON.parse(stdout) as IperfReport
    if (end?.sum_received === undefined) throw new Error(`iperf3: ${error ?? 'no result'}`)
    const { bytes, seconds: took } = end.sum_received
    return { bytes, gigabits: (bytes * 8) / took / 1e9 }
  })
}

/** What `work` answers while one TCP stream runs: from when it carries data until the work is done. */
export function underLoad<T>(world: NetnsWorld, pair: Pair, work: () => Promise<T>): Promise<T> {
  return withServer(world, pair, async (client) => {
    const stream = world.spawn(pair.one, [...client, '-t', '300', '-i', '0.5', '--forceflush'])
    const said = saidBy(stream)
    try {
      await until('a loaded tunnel', () => said().includes('bits/sec'))
      const result = await work()
      if (stream.exitCode !== null) throw new Error(`iperf3 ended: ${said()}`)
      return result
    } finally {
      stream.kill('SIGKILL')
    }
  })
}

/** Gives the beginning of the client's command line. */
async function withServer<T>(
  world: NetnsWorld,
  pair: Pair,
  work: (client: readonly string[]) => Promise<T>,
): Promise<T> {
  const port = String(++lastPort)
  const congestion = pair.congestion === undefined ? [] : ['-C', pair.congestion]
  const server = world.spawn(pair.two, ['iperf3', '-s', '-1', '--forceflush', '-p', port])
  const said = saidBy(server)
  try {
    await until('iperf3 listening', () => said().includes('listening'))
    return await work(['iperf3', '--connect-timeout', '5000', '-c', pair.target, '-p', port, ...congestion])
  } finally {
    server.kill('SIGKILL')
  }
}

/** Round-trip times in microseconds, of `count` pings or those of 20 seconds. */
export async function roundTrips(world: NetnsWorld, pair: Pair, count: number): Promise<readonly number[]> {
  const words = ['ping', '-n', '-i', '0.002', '-c', String(count), '-W', '2', '-w', '20', pair.target]
  const stdout = await outputOf(world, pair.one, words)
  return Array.from(stdout.matchAll(/time=([\d.]+) ms/g), ([, millis]) => Number(millis) * 1000)
}
