/**
 * OpenVPN in userspace: UDP, AES-256-GCM, peer to peer with self-signed certificates that know each other by
 * fingerprint; without the kernel's data channel offload.
 */
import { must } from '../../lab/command.ts'
import type { Contestant, End, Site } from '../tunnel-pair.ts'
import { versionOf } from './version.ts'

const port = 1194
/** 1,500 less IP, UDP, opcode and peer, packet number, tag. */
const mtu = 1440

export async function openvpn(): Promise<Contestant> {
  return { name: `openvpn ${await versionOf('openvpn')}`, start }
}

async function start(site: Site) {
  const [one, two] = site.ends
  const prints = [await certify(one), await certify(two)] as const
  const pids = [
    site.engine(one, commandOf(one, two, ['--tls-client', '--peer-fingerprint', prints[1]])),
    site.engine(two, commandOf(two, one, ['--tls-server', '--dh', 'none', '--peer-fingerprint', prints[0]])),
  ]
  return { target: two.inner, pids }
}

/** Makes key and certificate; the fingerprint. */
async function certify({ folder, name }: End): Promise<string> {
  const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes']
  const [key, certificate] = [`${folder}/key.pem`, `${folder}/certificate.pem`]
  const names = ['-subj', `/CN=${name}`, '-days', '2', '-keyout', key, '-out', certificate]
  await must(['openssl', 'req', '-x509', ...curve, ...names])
  const said = await must(['openssl', 'x509', '-in', certificate, '-noout', '-fingerprint', '-sha256'])
  return said.split('=')[1] ?? ''
}

function commandOf(end: End, peer: End, more: readonly string[]): readonly string[] {
  const settings = {
    proto: ['udp4'],
    local: [end.outer],
    remote: [peer.outer, String(port)],
    port: [String(port)],
    dev: ['tun'],
    ifconfig: [end.inner, peer.inner],
    'tun-mtu': [String(mtu)],
    key: [`${end.folder}/key.pem`],
    cert: [`${end.folder}/certificate.pem`],
    'data-ciphers': ['AES-256-GCM'],
    verb: ['1'],
  }
  const words = Object.entries(settings).flatMap(([name, values]) => [`--${name}`, ...values])
  return ['openvpn', ...words, '--disable-dco', '--fast-io', ...more]
}
