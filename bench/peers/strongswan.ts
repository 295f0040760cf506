/**
 * charon with kernel-libipsec: strongSwan's ESP in userspace, IKEv2 with X25519, AES-256-GCM, a shared secret. One
 * charon per namespace, with configuration and control socket of its own; marked packets keep its own out of its
 * device.
 */
import { must } from '../../lab/command.ts'
import { until } from '../../test/support/netns.ts'
import { type Contestant, type End, fulfils, type Site } from '../tunnel-pair.ts'
import { versionOf } from './version.ts'

/** Crypto of OpenSSL first: it has AES-NI. */
const plugins =
  'random nonce openssl pem pkcs1 pkcs8 x509 pubkey hmac sha2 aes gcm kdf kernel-libipsec kernel-netlink socket-default vici'
const secret = '0sQmVuY2htYXJrcyBvZiBuYW1lc3BhY2VzIG9uIG9uZSBtYWNoaW5l'

export async function strongswan(): Promise<Contestant> {
  const version = await versionOf('charon-systemd')
  return { name: `charon ${version}, kernel-libipsec`, role: 'ipsec', start }
}

async function start(site: Site) {
  const [one, two] = site.ends
  const pids = [one, two].map((end) => {
    const settings = site.file(end, 'strongswan.conf', daemonOf(end))
    return site.engine(end, [
      'env',
      `STRONGSWAN_CONF=${settings}`,
      `SWANCTL_DIR=${end.folder}`,
      'charon-systemd',
    ])
  })
  for (const [end, peer] of [
    [one, two],
    [two, one],
  ] as const) {
    site.file(end, 'swanctl.conf', connectionOf(end, peer))
    await end.space.sh(`ip addr add ${end.inner}/32 dev lo`)
    await until(`charon takes its configuration`, () => load(end))
  }
  await swanctl(one, ['--initiate', '--child', 'bench'])
  return { target: two.inner, pids }
}

const load = (end: End): Promise<boolean> =>
  fulfils(swanctl(end, ['--load-all', '--noprompt', '--file', `${end.folder}/swanctl.conf`]))

const swanctl = (end: End, words: readonly string[]): Promise<string> =>
  must(['swanctl', ...words, '--uri', `unix://${end.folder}/vici`], {
    env: { STRONGSWAN_CONF: `${end.folder}/strongswan.conf`, SWANCTL_DIR: end.folder },
  })

const daemonOf = ({ folder }: End): string => `
charon-systemd {
  load = ${plugins}
  plugins {
    vici { socket = unix://${folder}/vici }
    kernel-netlink { fwmark = !0x42 }
    socket-default { fwmark = 0x42 }
    kernel-libipsec { allow_peer_ts = yes }
  }
  syslog { daemon { default = -1 } }
}
swanctl { load = random openssl pem pkcs1 pkcs8 x509 pubkey }
`

const connectionOf = (end: End, peer: End): string => `
connections {
  bench {
    version = 2
    local_addrs = ${end.outer}
    remote_addrs = ${peer.outer}
    encap = yes
    proposals = aes256gcm16-prfsha384-x25519
    local { auth = psk
      id = ${end.outer} }
    remote { auth = psk
      id = ${peer.outer} }
    children {
      bench {
        local_ts = ${end.inner}/32
        remote_ts = ${peer.inner}/32
        esp_proposals = aes256gcm16-x25519
        start_action = trap
      }
    }
  }
}
secrets { ike-bench { secret = ${secret} } }
`
