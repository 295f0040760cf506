/**
 * The Debian packages that tests, lab and benchmarks need, and how the missing ones are installed: without a
 * question, without recommended packages, and without starting a service (a policy-rc.d that says no stands for
 * the time of the installation, where the machine has none of its own).
 */
import { spawnSync } from 'node:child_process'
import { existsSync, rmSync, writeFileSync } from 'node:fs'
import { say } from './say.mjs'
import { isOnPath } from './system.mjs'

/** Debian package → a program of it; a path where there is no program. */
const strongSwan = /** @type {const} */ ([
  ['charon-systemd', 'charon-systemd'],
  ['strongswan-swanctl', 'swanctl'],
  ['libstrongswan-standard-plugins', '/usr/lib/ipsec/plugins/libstrongswan-openssl.so'],
  ['libcharon-extra-plugins', '/usr/lib/ipsec/plugins/libstrongswan-kernel-libipsec.so'],
])

export const testPackages = new Map([
  ['docker.io', 'dockerd'],
  ['docker-cli', 'docker'],
  ['etcd-server', 'etcd'],
  ['etcd-client', 'etcdctl'],
  ['iproute2', 'ip'],
  ['iptables', 'iptables'],
  ['nftables', 'nft'],
  ['busybox-static', 'busybox'],
  ['iperf3', 'iperf3'],
  ['wireguard-tools', 'wg'],
  ['wireguard-go', 'wireguard-go'],
  ['tcpdump', 'tcpdump'],
  ['bind9-dnsutils', 'dig'],
  ['curl', 'curl'],
  ['procps', 'ps'],
  ['iputils-ping', 'ping'],
  ['util-linux', 'nsenter'],
  ['tar', 'tar'],
  ['openssl', 'openssl'],
  ...strongSwan,
])

/**
 * What single tests need, which skip without it: Compose, programs of docs/examples/, a witness of systemd's
 * notifications, the C library of Alpine, profiles of AppArmor.
 */
export const extraPackages = new Map([
  ['docker-compose', 'docker-compose'],
  ['haproxy', 'haproxy'],
  ['nginx-light', 'nginx'],
  ['prometheus', 'prometheus'],
  ['python3-minimal', 'python3'],
  ['musl-tools', 'musl-gcc'],
  ['gcc', 'gcc'],
  ['libc6-dev', '/usr/include/netdb.h'],
  ['apparmor', '/usr/sbin/apparmor_parser'],
])

/** The same for the virtual machine of the lab; tests that boot it skip without them. */
export const vmPackages = new Map([
  ['qemu-system-x86', 'qemu-system-x86_64'],
  ['kmod', 'modprobe'],
  ['systemd', 'systemd-analyze'],
])

/** What `npm run bench` measures us against; never installed by `npm test`, but for strongSwan. */
export const benchPackages = new Map([
  ...strongSwan,
  ['openvpn', 'openvpn'],
  ['fastd', 'fastd'],
  ['tinc', 'tincd'],
  ['nebula', 'nebula'],
  ['socat', 'socat'],
])

/** @param {string} program */
const isThere = (program) => (program.startsWith('/') ? existsSync(program) : isOnPath(program))

/** What `npm run bench -- dns` measures with and against; never installed by `npm test`. */
export const dnsBenchPackages = new Map([
  ['dnsperf', 'dnsperf'],
  ['dnsmasq-base', 'dnsmasq'],
  ['unbound', 'unbound'],
  ['knot-resolver', 'kresd'],
  ['pdns-recursor', 'pdns_recursor'],
])

/** What `npm run bench -- metadata` asks with; never installed by `npm test`. */
export const metadataBenchPackages = new Map([
  ['wrk', 'wrk'],
  ['dnsperf', 'dnsperf'],
])

/** Packages whose program is not there. */
export const missingPackages = (group = testPackages) =>
  [...group].filter(([, program]) => !isThere(program)).map(([name]) => name)

const policy = '/usr/sbin/policy-rc.d'

/**
 * Installs; the names that are still missing afterwards.
 * @param {string[]} names
 */
export function installPackages(names) {
  if (!isOnPath('apt-get')) return names
  const guard = !existsSync(policy)
  if (guard) writeFileSync(policy, '#!/bin/sh\nexit 101\n', { mode: 0o755 })
  try {
    apt(['update'])
    const available = names.filter(isAvailable)
    say(`drover: installing ${available.join(' ')} …`)
    if (available.length > 0) apt(['install', '-y', '--no-install-recommends', ...available])
  } finally {
    if (guard) rmSync(policy, { force: true })
  }
  const groups = [testPackages, vmPackages, benchPackages, dnsBenchPackages, metadataBenchPackages]
  return groups.flatMap((group) => missingPackages(group)).filter((name) => names.includes(name))
}

/** @param {string} name */
const isAvailable = (name) =>
  /Candidate: (?!\(none\))/.test(spawnSync('apt-cache', ['policy', name], { encoding: 'utf8' }).stdout ?? '')

/** @param {string[]} args */
function apt(args) {
  const { status, stdout, stderr } = spawnSync('apt-get', ['-q', '-o', 'DPkg::Lock::Timeout=300', ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    encoding: 'utf8',
    env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
  })
  if (status !== 0) say(`${stdout}${stderr}`.split('\n').slice(-15).join('\n'))
}
