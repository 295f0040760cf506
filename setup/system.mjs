/**
 * What Drover needs of the system, what of it is missing, and the exact command that brings it.
 * Finding out changes nothing; `repair` runs the commands.
 */
import { spawnSync } from 'node:child_process'
import { accessSync, constants, existsSync } from 'node:fs'
import { join } from 'node:path'

const folders = [...(process.env.PATH ?? '').split(':'), '/usr/sbin', '/sbin', '/usr/bin', '/bin']

/** @param {string} program */
export function isOnPath(program) {
  return folders.some((folder) => {
    try {
      accessSync(join(folder, program), constants.X_OK)
      return true
    } catch {
      return false
    }
  })
}

/** Program → Debian package. */
const needed = new Map([
  ['ip', 'iproute2'],
  ['nft', 'nftables'],
  ['iptables', 'iptables'],
  ['nsenter', 'util-linux'],
])

const tunDevice = ['mkdir -p /dev/net', 'mknod -m 0666 /dev/net/tun c 10 200']

/**
 * @typedef {{what: string, commands: string[]}} Lack
 * @returns {Lack[]}
 */
export function lacks() {
  const found = []
  const packages = [...needed].filter(([program]) => !isOnPath(program))
  if (packages.length > 0) {
    const names = packages.map(([program]) => program).join(', ')
    const install = `apt-get install -y --no-install-recommends ${packages.map(([, name]) => name).join(' ')}`
    found.push({ what: `needs ${names}`, commands: ['apt-get update', install] })
  }
  if (!existsSync('/dev/net/tun')) found.push({ what: 'needs /dev/net/tun', commands: tunDevice })
  return found
}

/**
 * Runs the commands of a lack; the command that failed, or undefined.
 * @param {Lack} lack
 */
export function repair({ commands }) {
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }
  return commands.find((line) => {
    const [command = '', ...args] = line.split(' ')
    return spawnSync(command, args, { stdio: ['ignore', 'inherit', 'inherit'], env }).status !== 0
  })
}

/** Kernels with modules load these on demand in most cases; where that fails they may be built in. */
export function loadModules() {
  if (isOnPath('modprobe')) spawnSync('modprobe', ['-q', '-a', 'tun', 'veth', 'nf_tables', 'nf_conntrack'])
}

/** One line when there is no Docker Engine at its usual place; the daemon picks it up when it appears. */
export function engineNote() {
  if (process.env.DOCKER_HOST !== undefined || existsSync('/var/run/docker.sock')) return undefined
  return 'no Docker Engine yet (/var/run/docker.sock); `apt-get install -y docker.io` brings one, and Drover picks it up when it appears'
}
