/**
 * Gathers a crowd around one engine: many peers in one process (`crowd.ts`) in the namespace at the other end of its
 * wire, told to the engine, each with a handshake.
 */
import type { ChildProcess } from 'node:child_process'
import { join } from 'node:path'
import { must } from '../lab/command.ts'
import { node, root } from '../lab/layout.ts'
import { until } from '../test/support/netns.ts'
import { LineProgram } from './line-program.ts'
import { uapiOf } from './peers/wireguard.ts'

export interface Around {
  /** The engine's interface. */
  readonly device: string
  readonly peers: number
  /** Of the wire's other end, where the crowd listens. */
  readonly address: string
  /** Starts a program there. */
  readonly spawn: (argv: readonly string[]) => ChildProcess
}

const firstPort = 20_000

/** Returns when each peer has a handshake; `close` ends them. */
export async function gather({ device, peers, address, spawn }: Around): Promise<LineProgram> {
  const key = await must(['wg', 'show', device, 'public-key'])
  const known = await handshakes(device)
  const words = [address, String(firstPort), String(peers), key]
  const crowd = new LineProgram(spawn([node, join(root, 'bench', 'crowd.ts'), ...words]))
  const keys = await crowd.next<readonly string[]>()
  await uapiOf(device).set(
    keys.flatMap((own, index) => peerLines(own, `${address}:${firstPort + index}`, index)),
  )
  await until(`${peers} handshakes`, async () => (await handshakes(device)) >= known + peers, 120_000)
  return crowd
}

const peerLines = (key: string, endpoint: string, index: number): readonly string[] => [
  `public_key=${key}`,
  `endpoint=${endpoint}`,
  'persistent_keepalive_interval=25',
  `allowed_ip=10.98.${index >> 8}.${index & 255}/32`,
]

const handshakes = async (device: string): Promise<number> =>
  (await uapiOf(device).get()).match(/last_handshake_time_sec=[1-9]/g)?.length ?? 0
