/**
 * Links, addresses, routes and neighbours by iproute2: `ip -json` reads, `ip -batch` writes, one process each.
 * IPv4 only. A batch stops at its first failing line and names it; the lines before it have happened.
 */
import { DroverError } from '../model/errors.ts'
import { type Cidr, type Ipv4, parseIpv4 } from '../model/ip.ts'
import { commandFailed, type Runner } from './run.ts'

export interface LinkAddress {
  readonly address: Ipv4
  readonly bits: number
  readonly label: string
}

export interface Link {
  readonly name: string
  /** `wireguard`, `tun`, `veth` and so on; empty for hardware. */
  readonly kind: string
  readonly index: number
  readonly up: boolean
  /** Both ends are up. */
  readonly carrier: boolean
  readonly mtu: number
  readonly mac: string
  readonly alias: string
  readonly addresses: readonly LinkAddress[]
}

export interface Route {
  readonly to: Cidr | 'default'
  /** `unicast`, `unreachable`, `blackhole` and so on. */
  readonly type: string
  readonly device: string | undefined
  readonly source: Ipv4 | undefined
  readonly metric: number
  /** A name or number of /etc/iproute2/rt_protos. */
  readonly protocol: string
  /** Undefined where the device's holds. */
  readonly mtu: number | undefined
}

export interface Neighbour {
  readonly address: Ipv4
  readonly device: string
  readonly mac: string
  readonly permanent: boolean
}

export interface Within {
  /** Path of a network namespace. */
  readonly netns?: string
}

export interface Ip {
  links(within?: Within): Promise<readonly Link[]>
  /** The main table. */
  routes(within?: Within): Promise<readonly Route[]>
  neighbours(within?: Within): Promise<readonly Neighbour[]>
  /** Runs lines such as `route replace 10.42.0.5/32 dev dr1`; no process at all for none. */
  batch(lines: readonly string[], within?: Within): Promise<void>
}

interface RawLink {
  ifname: string
  ifindex: number
  flags: string[]
  mtu: number
  address?: string
  ifalias?: string
  linkinfo?: { info_kind?: string }
  addr_info?: { family: string; local: string; prefixlen: number; label?: string }[]
}

interface RawRoute {
  type?: string
  dst: string
  dev?: string
  protocol?: string
  prefsrc?: string
  metric?: number
  metrics?: { mtu?: number }[]
}

interface RawNeighbour {
  dst: string
  dev: string
  lladdr?: string
  state?: string[]
}

export class CommandIp implements Ip {
  readonly #runner: Runner

  constructor(deps: { readonly runner: Runner }, _options: object) {
    this.#runner = deps.runner
  }

  async links(within: Within = {}): Promise<readonly Link[]> {
    // without `-d` addr shows no alias; without `addr` there are no addresses
    return (await this.#read<RawLink>(['-d', 'addr', 'show'], within)).map(linkOf)
  }

  async routes(within: Within = {}): Promise<readonly Route[]> {
    return (await this.#read<RawRoute>(['-4', 'route', 'show'], within)).map(routeOf)
  }

  async neighbours(within: Within = {}): Promise<readonly Neighbour[]> {
    return (await this.#read<RawNeighbour>(['-4', 'neigh', 'show', 'nud', 'all'], within)).flatMap(
      neighbourOf,
    )
  }

  async batch(lines: readonly string[], within: Within = {}): Promise<void> {
    if (lines.length === 0) return
    const odd = lines.find((line) => /[\x00-\x1f]/.test(line))
    if (odd !== undefined)
      throw new DroverError('COMMAND_FAILED', `ip: control character in ${JSON.stringify(odd)}`)
    const argv = ['ip', '-4', '-batch', '-']
    const output = await this.#runner.attempt(argv, { ...within, input: `${lines.join('\n')}\n` })
    if (output.status === 0) return
    const at = /Command failed -:(\d+)/.exec(output.stderr)?.[1]
    const line = at === undefined ? argv.join(' ') : `ip ${lines[Number(at) - 1] ?? ''}`
    throw commandFailed([line], output)
  }

  async #read<Raw>(what: readonly string[], within: Within): Promise<readonly Raw[]> {
    const text = await this.#runner.run(['ip', '-json', ...what], within)
    return text.trim() === '' ? [] : (JSON.parse(text) as Raw[])
  }
}

const linkOf = (raw: RawLink): Link => ({
  name: raw.ifname,
  kind: raw.linkinfo?.info_kind ?? '',
  index: raw.ifindex,
  up: raw.flags.includes('UP'),
  carrier: raw.flags.includes('LOWER_UP'),
  mtu: raw.mtu,
  mac: raw.address ?? '',
  alias: raw.ifalias ?? '',
  addresses: (raw.addr_info ?? []).flatMap((info) => {
    const address = info.family === 'inet' ? parseIpv4(info.local) : undefined
    return address === undefined ? [] : [{ address, bits: info.prefixlen, label: info.label ?? '' }]
  }),
})

const routeOf = (raw: RawRoute): Route => ({
  to: raw.dst === 'default' ? 'default' : ((raw.dst.includes('/') ? raw.dst : `${raw.dst}/32`) as Cidr),
  type: raw.type ?? 'unicast',
  device: raw.dev,
  source: raw.prefsrc === undefined ? undefined : parseIpv4(raw.prefsrc),
  metric: raw.metric ?? 0,
  protocol: raw.protocol ?? '',
  mtu: raw.metrics?.find(({ mtu }) => mtu !== undefined)?.mtu,
})

function neighbourOf(raw: RawNeighbour): readonly Neighbour[] {
  const address = parseIpv4(raw.dst)
  if (address === undefined) return []
  const permanent = raw.state?.includes('PERMANENT') === true
  return [{ address, device: raw.dev, mac: raw.lladdr ?? '', permanent }]
}
