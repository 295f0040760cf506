/**
 * socat between a TUN device and a UDP socket, in clear and with nothing per peer: no tunnel to use, but what the
 * system calls and wake-ups of any userspace tunnel cost on this machine.
 */
import type { Contestant, End, Site } from '../tunnel-pair.ts'
import { versionOf } from './version.ts'

const port = 10_001

export async function socat(): Promise<Contestant> {
  return { name: `socat ${await versionOf('socat')}, in clear`, start }
}

async function start(site: Site) {
  const [one, two] = site.ends
  const pids = [site.engine(one, commandOf(one, two)), site.engine(two, commandOf(two, one))]
  return { target: two.inner, pids }
}

const commandOf = (end: End, peer: End): readonly string[] => [
  ...['socat', '-b', '65536'],
  `TUN:${end.inner}/24,tun-name=socat0,iff-no-pi,iff-up`,
  `UDP4-DATAGRAM:${peer.outer}:${port},bind=${end.outer}:${port}`,
]
