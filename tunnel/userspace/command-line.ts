/**
 * What a tunnel is told when it starts: arguments as wireguard-go takes them, variables as wireguard-go and Drover
 * name them. Pure.
 */
import { DroverError } from '../../model/errors.ts'
import { type Inherited, inherited } from './handover.ts'
import { type Switch, switches } from './orders.ts'

export interface TunnelArguments {
  readonly interface: string
  readonly foreground: boolean
  /** Asks whoever serves the interface to give it to a successor. */
  readonly replace: boolean
  /** What a successor was given by its predecessor. */
  readonly inherited: Inherited | undefined
  /** Path of the UAPI socket. */
  readonly socket: string
  readonly logLevel: 'silent' | 'error' | 'verbose'
  readonly tunFd: number | undefined
  readonly uapiFd: number | undefined
  /** Where key and peers are kept over a restart. */
  readonly state: string | undefined
  readonly persistent: boolean
  /** Waits while the kernel's WireGuard has the interface. */
  readonly standby: boolean
  /** Undefined for WireGuard's usual 1420 on a new device. */
  readonly mtu: number
  readonly without: readonly Switch[]
}

type Variables = Readonly<Record<string, string | undefined>>

const usage = (detail: string): DroverError => new DroverError('USAGE', detail)

/**
 * Variables: LOG_LEVEL, WG_TUN_FD, WG_UAPI_FD as wireguard-go; DROVER_TUNNEL_SOCKETS (folder of the socket),
 * DROVER_TUNNEL_STATE (file), DROVER_TUNNEL_PERSIST=1, DROVER_TUNNEL_STANDBY=1, DROVER_TUNNEL_MTU,
 * DROVER_TUNNEL_WITHOUT (a comma list of the switches in orders.ts). `release` is the kernel's.
 */
export function readArguments(argv: readonly string[], env: Variables, release: string): TunnelArguments {
  const { flags, names } = sorted(argv)
  const [name = '', ...more] = names
  if (more.length > 0 || !/^[a-zA-Z0-9_=+.%-]{1,15}$/.test(name) || name.startsWith('-'))
    throw usage('drover tunnel [-f | --replace] NAME, where NAME is an interface of at most 15 characters')
  return {
    interface: name,
    foreground: flags.has('-f') || flags.has('--foreground'),
    replace: flags.has('--replace'),
    inherited: inheritedIn(env),
    socket: `${env.DROVER_TUNNEL_SOCKETS || '/var/run/wireguard'}/${name}.sock`,
    logLevel: levelOf(env.LOG_LEVEL),
    tunFd: numberIn(env, 'WG_TUN_FD', 65_535),
    uapiFd: numberIn(env, 'WG_UAPI_FD', 65_535),
    state: env.DROVER_TUNNEL_STATE || undefined,
    persistent: env.DROVER_TUNNEL_PERSIST === '1',
    standby: env.DROVER_TUNNEL_STANDBY === '1',
    mtu: numberIn(env, 'DROVER_TUNNEL_MTU', 65_000) ?? 1420,
    without: switchesIn(env.DROVER_TUNNEL_WITHOUT, release),
  }
}

const known = ['-f', '--foreground', '--replace']

function sorted(argv: readonly string[]) {
  const flags = new Set(argv.filter((word) => known.includes(word)))
  return { flags, names: argv.filter((word) => !flags.has(word)) }
}

function inheritedIn({ DROVER_TUNNEL_SUCCEEDS: text }: Variables): Inherited | undefined {
  if (text === undefined || text === '') return undefined
  const found = inherited(text)
  if (found === undefined) throw usage('DROVER_TUNNEL_SUCCEEDS is set by a tunnel process for its successor')
  return found
}

function numberIn(env: Variables, name: string, limit: number): number | undefined {
  const text = env[name]
  if (text === undefined || text === '') return undefined
  if (!/^\d{1,6}$/.test(text) || Number(text) > limit) throw usage(`${name} must be a number up to ${limit}`)
  return Number(text)
}

function levelOf(text = 'error'): TunnelArguments['logLevel'] {
  if (text === 'verbose' || text === 'debug') return 'verbose'
  return text === 'silent' ? 'silent' : 'error'
}

/** The tail of GSO runs is for the kernels that corrupt runs of equal segments: 7.0 to 7.1.4. */
function switchesIn(without = '', release: string): readonly Switch[] {
  const names = without.split(',').filter((name) => name !== '')
  const off = switches.filter((name) => names.includes(name))
  if (off.length !== names.length) throw usage(`DROVER_TUNNEL_WITHOUT knows ${switches.join(', ')}`)
  const affected = /^7\.(0(\D|$)|1(\.[0-4])?(\D*$|-|\+))/.test(release)
  return affected || off.includes('gso-tail') ? off : [...off, 'gso-tail']
}
