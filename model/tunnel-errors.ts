/**
 * The rows of the table of errors that are about carrying packets to other hosts.
 */
import type { ErrorRow } from './error-row.ts'

export const tunnelErrors = {
  TUNNEL_UNAVAILABLE: {
    culprit: 'retry',
    says: 'the tunnel process does not answer',
    remedy: 'nothing: Drover starts it again; see its log if it lasts',
  },
  TUNNEL_ENGINE: {
    culprit: 'operator',
    says: 'the tunnel engine that was asked for cannot be had',
    remedy: 'set tunnel.engine to auto or userspace, or use a kernel with WireGuard (modprobe wireguard)',
  },
  TUNNEL_NAME: {
    culprit: 'operator',
    says: "the interface of the tunnel is somebody else's",
    remedy: 'remove it (ip link del dev NAME), or choose another name with tunnel.interface',
  },
  TUNNEL_REPLACE: {
    culprit: 'operator',
    says: 'the tunnel process was not replaced',
    remedy:
      'mend what is named here and try again; one that runs goes on, and a restart of it interrupts traffic for a moment',
  },
  TUNNEL_DEVICE: {
    culprit: 'operator',
    says: 'the TUN device cannot be made',
    remedy: 'check that /dev/net/tun exists and that the process has CAP_NET_ADMIN',
  },
  IPSEC_UNAVAILABLE: {
    culprit: 'retry',
    says: 'charon does not answer',
    remedy: 'nothing: Drover starts it again; see its log if it lasts',
  },
  IPSEC_REFUSED: {
    culprit: 'retry',
    says: 'charon refused a command',
    remedy: 'nothing: Drover tries again; see its log if it lasts',
  },
  IPSEC_PROTOCOL: {
    culprit: 'us',
    says: "charon's control socket does not speak VICI",
    remedy: 'report it with the version of strongSwan',
  },
  IPSEC_MISSING: {
    culprit: 'operator',
    says: 'strongSwan is not installed',
    remedy:
      'apt-get install -y --no-install-recommends charon-systemd strongswan-swanctl libcharon-extra-plugins libstrongswan-standard-plugins',
  },
  IPSEC_OLD: {
    culprit: 'operator',
    says: 'charon is too old',
    remedy: 'install strongSwan 5.8 or newer, or set tunnel.backend to wireguard',
  },
  IPSEC_PLUGIN: {
    culprit: 'operator',
    says: 'charon lacks a plugin',
    remedy:
      'apt-get install -y --no-install-recommends libcharon-extra-plugins libstrongswan-standard-plugins, then restart charon',
  },
  IPSEC_PORT: {
    culprit: 'operator',
    says: 'the port of IPsec is taken',
    remedy: 'stop what holds it, or choose another with tunnel.ipsecPort',
  },
  IPSEC_APPARMOR: {
    culprit: 'operator',
    says: "AppArmor keeps charon out of Drover's folders",
    remedy:
      'add the line named here and reload the profile (apparmor_parser -r /etc/apparmor.d/usr.sbin.charon-systemd)',
  },
  IPSEC_KEY: {
    culprit: 'operator',
    says: 'charon cannot use the key or a certificate of this host',
    remedy:
      'check that strongSwan has its openssl plugin (libstrongswan-standard-plugins), which reads Ed25519',
  },
  IPSEC_ESP: {
    culprit: 'operator',
    says: 'the kernel refuses ESP with AES-GCM',
    remedy: 'modprobe esp4 xfrm_user, or set tunnel.backend to wireguard',
  },
  IPSEC_PROPOSAL: {
    culprit: 'peer',
    says: 'the peer knows no connection with this host that both allow',
    remedy:
      'nothing while both learn of each other; on a peer that was set up by hand allow aes256gcm16-prfsha384-x25519 for IKE and aes256gcm16-x25519 for ESP',
  },
  IPSEC_EXPIRED: {
    culprit: 'peer',
    says: 'the certificate of the peer is not valid any more',
    remedy:
      'see `drover status` on the peer: its certificate was not renewed; or the clock of one host is wrong (timedatectl)',
  },
  IPSEC_CLOCK: {
    culprit: 'peer',
    says: 'the certificate of the peer is not valid yet',
    remedy: 'compare the clocks of both hosts (timedatectl)',
  },
  IPSEC_UNTRUSTED: {
    culprit: 'peer',
    says: 'the peer did not prove who it is',
    remedy:
      'check that it is a member of this environment (`drover hosts`) and that its certificate is of the same CA',
  },
  IPSEC_REJECTED: {
    culprit: 'peer',
    says: 'the peer does not accept this host',
    remedy: 'see `drover status` on the peer: it says why',
  },
  IPSEC_SELECTORS: {
    culprit: 'peer',
    says: 'the peer has other addresses in mind',
    remedy: 'nothing: both sides learn of new blocks within a moment; see `drover hosts` if it lasts',
  },
  IPSEC_SILENT: {
    culprit: 'peer',
    says: 'the peer does not answer IKE',
    remedy: 'let UDP through to its port (tunnel.ipsecPort, 4500) on the way and on the peer',
  },
} as const satisfies Record<string, ErrorRow>
