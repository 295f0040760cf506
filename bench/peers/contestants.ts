/**
 * Who takes part in the tunnel benchmarks: plain veth, other tunnels of this machine's Debian, the newest
 * wireguard-go of Debian's archive, another checkout of ours where one is given, and ours. Who cannot is left out
 * with one line.
 */
import { join } from 'node:path'
import { node, root } from '../../lab/layout.ts'
import { reasonOf } from '../../model/errors.ts'
import type { Contestant } from '../tunnel-pair.ts'
import { installedWireguardGo, newestWireguardGo } from '../wireguard-go.ts'
import { fastd } from './fastd.ts'
import { nebula } from './nebula.ts'
import { openvpn } from './openvpn.ts'
import { socat } from './socat.ts'
import { strongswan } from './strongswan.ts'
import { tinc } from './tinc.ts'
import { wireguard } from './wireguard.ts'

type Say = (line: string) => void

const plain: Contestant = {
  name: 'plain veth',
  role: 'plain',
  start: async ({ ends }) => ({ target: ends[1].outer, pids: [] }),
}

/** The command that runs the engine of a checkout. */
export const drover = (folder: string): readonly string[] => [node, join(folder, 'cli', 'wireguard.ts'), '-f']

/** Ours comes last: every other is compared with it. */
export async function contestants(against: string | undefined, say: Say): Promise<readonly Contestant[]> {
  const [installed, newest] = [await installedWireguardGo(), await newestWireguardGo()]
  if (installed === undefined) say('left out: wireguard-go is not installed')
  if (newest === undefined) say('left out: the newest wireguard-go cannot be fetched from the archive')
  const programs = [
    ...(installed === undefined ? [] : [{ ...installed, role: 'installed' as const }]),
    ...(newest === undefined ? [] : [{ ...newest, role: 'newest' as const }]),
  ].map(({ path, version, role }) =>
    wireguard({ name: `wireguard-go ${version}`, role, command: [path, '-f'] }),
  )
  const other =
    against === undefined ? [] : [wireguard({ name: `drover in ${against}`, command: drover(against) })]
  return [plain, ...programs, ...(await packaged(say)), ...other, ...ours()]
}

async function packaged(say: Say): Promise<readonly Contestant[]> {
  const found: Contestant[] = []
  for (const make of [socat, strongswan, openvpn, fastd, tinc, nebula]) {
    try {
      found.push(await make())
    } catch (error) {
      say(`left out: ${reasonOf(error)}`)
    }
  }
  return found
}

const ours = (): readonly Contestant[] => [
  wireguard({
    name: 'drover, checksums left to the receiver',
    role: 'marks',
    command: drover(root),
    peerLines: ['drover_marks=true'],
  }),
  wireguard({ name: 'drover', role: 'ours', command: drover(root) }),
]
