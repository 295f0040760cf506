/**
 * The closed table of errors. Every error says who is to blame, and so what happens to it:
 * `operator` ends in one line and exit code 2, `retry` backs off and counts, `peer` is counted and dropped,
 * `us` crashes early with its stack. docs/errors.md lists the same rows.
 */
export type Culprit = 'operator' | 'retry' | 'peer' | 'us'

interface ErrorRow {
  readonly culprit: Culprit
  /** A constant sentence: what is wrong. */
  readonly says: string
  /** What to do about it. */
  readonly remedy: string
}

export const errorTable = {
  CONFIG_UNREADABLE: {
    culprit: 'operator',
    says: 'the configuration file cannot be read',
    remedy: 'check the path and its permissions, or leave --config out to run on defaults',
  },
  CONFIG_INVALID: {
    culprit: 'operator',
    says: 'the configuration is not valid',
    remedy: 'mend the key named here; docs/configuration.md lists all keys',
  },
  STATE_UNUSABLE: {
    culprit: 'operator',
    says: 'the state folder cannot be used',
    remedy:
      'check its permissions; restore a damaged file from a backup, or remove it and run `drover init` again',
  },
  ENVIRONMENT_DIFFERS: {
    culprit: 'operator',
    says: 'the environment in the store is not what was asked for',
    remedy: 'leave --subnet out, or choose another name with --name',
  },
  SUBNET_TAKEN: {
    culprit: 'operator',
    says: 'the subnet overlaps a network that this machine already has',
    remedy: 'choose another with --subnet',
  },
  SYSTEM_MISSING: {
    culprit: 'operator',
    says: 'this machine lacks something that Drover needs',
    remedy: 'install it with the command named here',
  },
  NOT_ROOT: { culprit: 'operator', says: 'this needs root', remedy: 'run it with sudo' },
  DAEMON_UNREACHABLE: {
    culprit: 'operator',
    says: 'the daemon does not answer',
    remedy: 'start it with `systemctl start drover` or `npm start`, or name its socket with --admin',
  },
  DAEMON_RUNNING: {
    culprit: 'operator',
    says: 'another daemon already serves this admin socket',
    remedy: 'stop it first, or give this one its own `run` folder',
  },
  DAEMON_REPLACE: { culprit: 'operator', says: 'the daemon was not replaced', remedy: 'mend what is named' },
  DAEMON_REFUSED: { culprit: 'operator', says: 'the daemon refused', remedy: 'see its log for more' },
  ENVIRONMENT_MISSING: {
    culprit: 'operator',
    says: 'this machine has not joined an environment',
    remedy: 'run `drover init` on the first host, `drover join TOKEN` on every other',
  },
  ENVIRONMENT_EXISTS: {
    culprit: 'operator',
    says: 'this machine already belongs to an environment',
    remedy: 'use it as it is, or `drover daemon --leave` first',
  },
  USAGE: { culprit: 'operator', says: 'the command line is not valid', remedy: 'see `drover --help`' },
  LISTEN_FAILED: {
    culprit: 'operator',
    says: 'an address to listen on cannot be had',
    remedy: 'stop what holds the port, or choose another in the configuration',
  },
  COMMAND_FAILED: {
    culprit: 'us',
    says: 'a system command failed',
    remedy: 'report it together with the command and its output',
  },
  STORE_UNAVAILABLE: {
    culprit: 'retry',
    says: 'the store does not answer',
    remedy: 'nothing: Drover retries; check etcd if it lasts',
  },
  STORE_CORRUPT: {
    culprit: 'operator',
    says: 'the store file is damaged',
    remedy: 'restore it from a backup, or move it away and run `drover init` again',
  },
  STORE_BUSY: {
    culprit: 'operator',
    says: 'another process has the store file open',
    remedy: 'stop the daemon first',
  },
  DISK_FULL: {
    culprit: 'retry',
    says: 'the disk is full',
    remedy: 'make room: nothing is lost, and a running daemon tries again by itself',
  },
  STORE_UNREADABLE: {
    culprit: 'operator',
    says: 'the store file cannot be opened',
    remedy: 'check the path named here and its permissions',
  },
  STORE_URL: {
    culprit: 'operator',
    says: 'the address of the store is not valid',
    remedy: 'write `embedded` or `etcd://host:2379,host:2379`',
  },
  STORE_REFUSED: {
    culprit: 'operator',
    says: 'the store refuses this host',
    remedy: 'check store.user and store.password, and what that user may do in etcd',
  },
  STORE_NOT_EMPTY: {
    culprit: 'operator',
    says: 'the target store already holds this environment',
    remedy: 'choose another etcd, or remove what is under the prefix named here',
  },
  STORE_COPY_FAILED: {
    culprit: 'operator',
    says: 'the copy of the store is not equal to its source',
    remedy: 'run the command again while nothing else uses the two stores',
  },
  STORE_MISUSED: {
    culprit: 'us',
    says: 'a transaction is not valid',
    remedy: 'report it together with what led to it',
  },
  IDENTITY_DAMAGED: {
    culprit: 'operator',
    says: 'the identity of this host cannot be read',
    remedy: 'restore the file named here from a backup, or move it away to enter as a new host',
  },
  ENVIRONMENT_TAKEN: {
    culprit: 'operator',
    says: 'the store already holds an environment of this name',
    remedy:
      'let this machine in with `drover join TOKEN` (`drover token create` on the first host prints one), or choose another --name',
  },
  TOKEN_INVALID: {
    culprit: 'operator',
    says: 'the token is not valid',
    remedy: 'paste the whole line that `drover token create` printed',
  },
  TOKEN_REFUSED: {
    culprit: 'operator',
    says: 'the token was refused',
    remedy: 'make a new one on the first host: `drover token create`',
  },
  JOIN_UNREACHABLE: {
    culprit: 'operator',
    says: 'the host that made the token does not let this one in',
    remedy: 'open the TCP port named here towards it; it listens only while a token is valid',
  },
  JOIN_UNPROVEN: {
    culprit: 'operator',
    says: 'whoever answers is not the host that made the token',
    remedy: 'nothing was sent to it; find out who holds the address named here',
  },
  AUTHORITY_DAMAGED: {
    culprit: 'operator',
    says: 'the key file of the CA cannot be read',
    remedy: 'restore it with `drover ca import FILE` from a backup that `drover ca export` made',
  },
  AUTHORITY_LOCKED: {
    culprit: 'operator',
    says: 'the key of the CA is locked',
    remedy: 'give its passphrase in DROVER_CA_PASSPHRASE or `ca.passphrase`',
  },
  AUTHORITY_ELSEWHERE: {
    culprit: 'operator',
    says: 'this host does not hold the key of the CA',
    remedy: 'run the command on the host that ran `drover init`, or first `drover ca import FILE` here',
  },
  AUTHORITY_OUTDATED: {
    culprit: 'operator',
    says: 'the key of the CA here is of no use any more',
    remedy:
      'run `drover ca promote HOST` for this host where the new CA is, or `drover ca import` its backup',
  },
  AUTHORITY_ROLLING: {
    culprit: 'operator',
    says: 'a new CA is taking the place of the former one already',
    remedy:
      '`drover ca show` says what still needs the former one; it goes by itself, or with `drover ca drop --force`',
  },
  AUTHORITY_NEEDED: {
    culprit: 'operator',
    says: 'the former CA is still needed',
    remedy:
      'wait until hosts have renewed their certificates, give etcd new ones, or add --force to cut off what is named here',
  },
  AUTHORITY_NOT_TAKEN: {
    culprit: 'operator',
    says: 'the other host has not taken the key of the CA',
    remedy: 'mend what it says and try again; `drover ca export` and `drover ca import` are the way by hand',
  },
  CERTIFICATE_MISSING: {
    culprit: 'operator',
    says: 'this host has no certificate',
    remedy:
      'run `drover daemon --leave`, then `drover init` on the first host or `drover join TOKEN` on another',
  },
  CERTIFICATE_EXPIRED: {
    culprit: 'operator',
    says: 'the certificate has expired',
    remedy:
      "check the clock; if it is right, start the CA's host, or enter again: `drover daemon --leave`, `drover join TOKEN`",
  },
  CERTIFICATE_NOT_YET_VALID: {
    culprit: 'operator',
    says: 'the certificate is not valid yet',
    remedy: "set the clocks of this host and of the CA's host (`timedatectl`)",
  },
  CERTIFICATE_SELF_SIGNED: {
    culprit: 'operator',
    says: 'the certificate is signed by itself',
    remedy: 'enter with a certificate of this environment: `drover join TOKEN`',
  },
  CERTIFICATE_WRONG_CA: {
    culprit: 'operator',
    says: "the certificate is not of this environment's CA",
    remedy: 'enter with a certificate of this environment: `drover join TOKEN`',
  },
  CERTIFICATE_WRONG_NAME: {
    culprit: 'operator',
    says: 'the certificate is for somebody else',
    remedy: 'restore identity.json and trust.json of the same host, or enter again: `drover join TOKEN`',
  },
  CERTIFICATE_REVOKED: {
    culprit: 'operator',
    says: 'the certificate is revoked',
    remedy: 'to let the machine in again: `drover daemon --leave` there, then `drover join TOKEN`',
  },
  CERTIFICATE_DAMAGED: {
    culprit: 'operator',
    says: 'the certificate cannot be read',
    remedy: 'restore trust.json from a backup, or enter again: `drover daemon --leave`, `drover join TOKEN`',
  },
  SERVICE_INVALID: {
    culprit: 'operator',
    says: 'the declaration of services is not valid',
    remedy: 'mend what is named here; docs/services.md shows every key. Nothing was changed',
  },
  RECORD_INVALID: {
    culprit: 'peer',
    says: 'a record in the store does not verify',
    remedy: 'find out who wrote it; Drover ignores it',
  },
  ADDRESS_SPACE_FULL: {
    culprit: 'retry',
    says: 'no address is free',
    remedy: 'remove containers that are no longer needed, or use a larger subnet',
  },
  ADDRESS_REFUSED: {
    culprit: 'operator',
    says: 'the requested address cannot be had',
    remedy: 'ask for another one, or for none',
  },
  ENGINE_UNAVAILABLE: {
    culprit: 'retry',
    says: 'the Docker engine does not answer',
    remedy: 'nothing: Drover retries; start Docker if it is stopped',
  },
  ATTACH_FAILED: {
    culprit: 'retry',
    says: 'a container could not be attached',
    remedy: 'nothing: Drover retries; the cause is named here',
  },
  DNS_ADDRESS: {
    culprit: 'operator',
    says: 'DNS cannot listen on its address',
    remedy:
      'put the address on an interface (Drover puts it on lo), end what holds the port, or set dns.port',
  },
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
