/**
 * socat between a TUN device and a UDP socket, in clear and with nothing per peer: no tunnel to use, but what the
 * system calls and wake-ups of any userspace tunnel cost on this machine.
 */
import { until } from '../../test/support/netns.ts'
import { type Contestant, type End, fulfils, type Site } from '../tunnel-pair.ts'
import { versionOf } from './version.ts'

const port = 10_001

export async function socat(): Promise<Contestant> {
  return { name: `socat ${await versionOf('socat')}, in clear`, start }
}

async function start(site: Site) {
  const [one, two] = site.ends
  const pids = [site.engine(one, commandOf(one, two)), site.engine(two, commandOf(two, one))]
  for (const { space } of [one, two])
    await until('the device of socat', () => fulfils(space.sh('ip link set dev socat0 mtu 1420')))
  return { target: two.inner, pids }
}

const commandOf = (end: End, peer: End): readonly string[] => [
  'socat',
  '-b',
  '65536',
  `TUN:${end.inner}/24,tun-name=socat0,iff-no-pi,iff-up`,
  `UDP4-DATAGRAM:${peer.outer}:${port},bind=${end.outer}:${port}`,
]
