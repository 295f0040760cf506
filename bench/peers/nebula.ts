/**
 * nebula with AES-256-GCM, two hosts that know each other's address and no lighthouse.
 */
import { must } from '../../lab/command.ts'
import type { Contestant, End, Site } from '../tunnel-pair.ts'
import { versionOf } from './version.ts'

const port = 4242

export async function nebula(): Promise<Contestant> {
  return { name: `nebula ${await versionOf('nebula')}`, start }
}

async function start(site: Site) {
  const [one, two] = site.ends
  const authority = { certificate: `${one.folder}/ca.crt`, key: `${one.folder}/ca.key` }
  const ca = ['-name', 'bench', '-out-crt', authority.certificate, '-out-key', authority.key]
  await must(['nebula-cert', 'ca', ...ca])
  for (const end of [one, two]) {
    const signer = ['-ca-crt', authority.certificate, '-ca-key', authority.key]
    const own = ['-out-crt', `${end.folder}/host.crt`, '-out-key', `${end.folder}/host.key`]
    await must(['nebula-cert', 'sign', '-name', end.name, '-ip', `${end.inner}/24`, ...signer, ...own])
  }
  const engine = (end: End, peer: End): number => {
    const text = JSON.stringify(configOf(end, peer, authority.certificate))
    return site.engine(end, ['nebula', '-config', site.file(end, 'config.yml', text)])
  }
  return { target: two.inner, pids: [engine(one, two), engine(two, one)] }
}

/** Its configuration is YAML, of which JSON is a part. */
const configOf = (end: End, peer: End, ca: string) => ({
  pki: { ca, cert: `${end.folder}/host.crt`, key: `${end.folder}/host.key` },
  static_host_map: { [peer.inner]: [`${peer.outer}:${port}`] },
  lighthouse: { am_lighthouse: false, hosts: [] },
  listen: { host: end.outer, port, batch: 64 },
  tun: { dev: 'nebula0', mtu: 1420, tx_queue: 1000 },
  cipher: 'aes',
  logging: { level: 'warning' },
  firewall: {
    outbound: [{ port: 'any', proto: 'any', host: 'any' }],
    inbound: [{ port: 'any', proto: 'any', host: 'any' }],
  },
})
