/**
 * fastd with the method that its authors recommend for speed: Salsa20/12 with UMAC. Only one end calls: where both
 * begin at once, each keeps another session and nothing gets through.
 */
import { must } from '../../lab/command.ts'
import type { Contestant, End, Site } from '../tunnel-pair.ts'
import { versionOf } from './version.ts'

const port = 10_000
const method = 'salsa2012+umac'

export async function fastd(): Promise<Contestant> {
  return { name: `fastd ${await versionOf('fastd')}, ${method}`, start }
}

async function start(site: Site) {
  const [one, two] = site.ends
  const keys = [await keyOf(site, one), await keyOf(site, two)] as const
  const pids = [
    site.engine(one, [
      'fastd',
      '--config',
      site.file(one, 'fastd.conf', configOf(one, keys[0].secret, two, keys[1].public)),
    ]),
    site.engine(two, [
      'fastd',
      '--config',
      site.file(two, 'fastd.conf', configOf(two, keys[1].secret, one, keys[0].public)),
    ]),
  ]
  return { target: two.inner, pids }
}

async function keyOf(site: Site, end: End) {
  const secret = await must(['fastd', '--generate-key', '--machine-readable'])
  const file = site.file(end, 'secret.conf', `secret "${secret}";\n`)
  return { secret, public: await must(['fastd', '--show-key', '--machine-readable', '--config', file]) }
}

const configOf = (end: End, secret: string, peer: End, key: string): string => `
log level warn;
mode tun;
interface "fastd0";
method "${method}";
mtu 1420;
bind ${end.outer}:${port};
secret "${secret}";
on up "ip addr add ${end.inner}/24 dev $INTERFACE && ip link set dev $INTERFACE up";
peer "peer" {
  key "${key}";
${end.name === 'one' ? `  remote ${peer.outer}:${port};` : ''}
}
`
