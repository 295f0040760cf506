/**
 * Links, addresses, routes, rules and neighbours by iproute2: `ip -json` reads, `ip -batch` writes, one process each.
 * IPv4 only. A batch stops at its first failing line and names it; the lines before it have happened.
 */
import { DroverError, reasonOf } from '../model/errors.ts'
import { type Cidr, type Ipv4, parseIpv4 } from '../model/ip.ts'
import { commandFailed, type Runner } from './run.ts'

export interface LinkAddress {
  readonly address: Ipv4
  readonly bits: number
  readonly label: string
}

export interface Link {
  readonly name: string
  /** `wireguard`, `tun`, `veth`, `xfrm` and so on; empty for hardware. */
  readonly kind: string
  /** Which SAs and policies an XFRM interface stands for; undefined for others. */
  readonly ifId: number | undefined
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

/** Which packets are routed by which table. */
export interface RoutingRule {
  readonly priority: number
  /** Mark of the packets; undefined where it does not matter. */
  readonly mark: number | undefined
  /** A name or number of /etc/iproute2/rt_tables. */
  readonly table: string
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
  /** Of the main table, or another one, which need not be there. */
  routes(within?: Within, table?: number): Promise<readonly Route[]>
  rules(within?: Within): Promise<readonly RoutingRule[]>
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
  linkinfo?: { info_kind?: string; info_data?: { if_id?: string | number } }
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

interface RawRule {
  priority: number
  fwmark?: string
  table?: string
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

  async routes(within: Within = {}, table?: number): Promise<readonly Route[]> {
    const which = table === undefined ? [] : ['table', String(table)]
    const routes = this.#read<RawRoute>(['-4', 'route', 'show', ...which], within)
    return (await routes.catch(unlessNoTable)).map(routeOf)
  }

  async rules(within: Within = {}): Promise<readonly RoutingRule[]> {
    return (await this.#read<RawRule>(['-4', 'rule', 'show'], within)).map(ruleOf)
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

/** A table comes with its first route. */
function unlessNoTable(thrown: unknown): readonly RawRoute[] {
  if (/FIB table does not exist/.test(reasonOf(thrown))) return []
  throw thrown
}

const linkOf = (raw: RawLink): Link => ({
  name: raw.ifname,
  kind: raw.linkinfo?.info_kind ?? '',
  ifId: raw.linkinfo?.info_data?.if_id === undefined ? undefined : Number(raw.linkinfo.info_data.if_id),
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

const ruleOf = (raw: RawRule): RoutingRule => ({
  priority: raw.priority,
  mark: raw.fwmark === undefined ? undefined : Number(raw.fwmark),
  table: raw.table ?? '',
})

function neighbourOf(raw: RawNeighbour): readonly Neighbour[] {
  const address = parseIpv4(raw.dst)
  if (address === undefined) return []
  const permanent = raw.state?.includes('PERMANENT') === true
  return [{ address, device: raw.dev, mac: raw.lladdr ?? '', permanent }]
}
