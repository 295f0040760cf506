/**
 * The nftables table of an environment as text: strict sources, walls against clear text, the way to our
 * servers, masquerading, MSS. Sets carry what changes often, so that the rules rarely do. Pure.
 */
import { type Cidr, formatIpv4, type Ipv4 } from '../model/ip.ts'
import { uuidOf } from '../model/uuid.ts'
import { answering, type NetworkNames } from './names.ts'

/** Elements by set name, each as nft prints it. */
export type Elements = ReadonlyMap<string, readonly string[]>

export interface Servers {
  /** 169.254.169.250 in production; on every host's `lo`. */
  readonly address: Ipv4
  readonly dnsPort: number
  readonly metadataPort: number
}

export interface Ruleset {
  readonly table: string
  /** The chains, without the table around them. */
  readonly chains: string
  /** A chain of this name is in the table that has exactly these chains. */
  readonly version: string
  readonly rules: number
}

/** Sets and their types. `natural` ones follow the attachments, the others the host's plan. */
const setTypes = {
  subnet: 'type ipv4_addr; flags interval',
  /** Every interface that leads to peers. */
  tunnels: 'type ifname',
  /** Those of them that IPsec is behind. */
  ipsecs: 'type ifname',
  /** What a peer may send from, by the interface that is its own: WireGuard sees to that by itself. */
  owned: 'type ifname . ipv4_addr; flags interval',
  bridges: 'type ifname',
  /** Engine's addresses of containers of other environments: a primary one serves everybody but them. */
  others: 'type ipv4_addr',
  /** Engine's addresses of containers of this one that have no veth: one that is not primary serves nobody else. */
  guests: 'type ipv4_addr',
  veths: 'type ifname',
  allowed: 'type ifname . ipv4_addr',
  outward: 'type ipv4_addr',
} as const

export type SetName = keyof typeof setTypes

/**
 * Raw priority: before connection tracking and before any NAT, so that addresses are what was sent.
 * `dr*` are the veths of all environments: another environment's own table judges them.
 */
const source = (subnet: Cidr, server: string): readonly string[] => [
  'type filter hook prerouting priority raw; policy accept;',
  'iifname . ip saddr @allowed accept',
  'iifname @veths drop',
  'iifname @tunnels jump carried',
  `ip daddr ${server} iifname != "lo" iifname != "dr*" iifname != @bridges drop`,
  `ip saddr ${subnet} iifname != "lo" drop`,
]

const carried = (subnet: Cidr): readonly string[] => [
  `iifname != @ipsecs ip saddr ${subnet} ip daddr ${subnet} accept`,
  `iifname . ip saddr @owned ip daddr ${subnet} accept`,
  'drop',
]

/** An echo is answered by the backend that it was asked by, whichever carries the rest. */
const asked = 'iifname @tunnels icmp type echo-request fib daddr type local ct mark set'
const { ipsec, wireguard } = answering

/** Only addresses that are ours enter the overlay; nothing of ours leaves by any other way than ours. */
const forward = (subnet: Cidr): readonly string[] => [
  'type filter hook forward priority filter - 5; policy accept;',
  'meta nfproto ipv6 oifname @tunnels drop',
  'meta nfproto ipv6 oifname @veths drop',
  // the answer of a published port: its source becomes the host's managed address after this hook
  `oifname @tunnels ct direction reply ct original ip daddr ${subnet} accept`,
  `oifname @tunnels ip saddr != ${subnet} reject with icmp admin-prohibited`,
  'oifname @tunnels accept',
  'oifname @veths ct state established,related accept',
  `oifname @veths ip saddr != ${subnet} reject with icmp admin-prohibited`,
  'oifname @veths accept',
  `ip daddr ${subnet} reject with icmp host-unreachable`,
  `ip saddr ${subnet} ct status dnat accept`,
  'ip saddr @outward accept',
  `ip saddr ${subnet} reject with icmp host-unreachable`,
]

const output = (subnet: Cidr): readonly string[] => [
  'type filter hook output priority filter - 5; policy accept;',
  'oifname "lo" accept',
  'meta nfproto ipv6 oifname @tunnels drop',
  'meta nfproto ipv6 oifname @veths drop',
  'oifname @veths accept',
  `oifname @tunnels ip saddr ${subnet} accept`,
  'oifname @tunnels drop',
  `ip daddr ${subnet} reject with icmp host-unreachable`,
  `ip saddr ${subnet} ct status dnat accept`,
  `ip saddr ${subnet} drop`,
]

/** Who comes by Docker's bridges and belongs here. */
const bridged = (primary: boolean): string =>
  `iifname @bridges ip saddr ${primary ? '!= @others' : '@guests'}`

/**
 * The servers' own ports are those of one environment, but their address is on the machine, for every container to
 * reach: whoever did not come by our own ways is not answered, and does not reach the host's managed address.
 */
const guard = (
  subnet: Cidr,
  { address, dnsPort, metadataPort }: Servers,
  primary: boolean,
): readonly string[] => {
  const server = formatIpv4(address)
  return [
    'type filter hook input priority filter - 5; policy accept;',
    'iifname "lo" accept',
    'iifname @veths accept',
    'iifname @tunnels accept',
    `${bridged(primary)} ip daddr ${server} accept`,
    `ip daddr ${server} udp dport ${dnsPort} drop`,
    `ip daddr ${server} tcp dport { ${dnsPort}, ${metadataPort} } drop`,
    `ip daddr ${subnet} drop`,
  ]
}

const servers = ({ address, dnsPort, metadataPort }: Servers): readonly string[] => {
  const server = formatIpv4(address)
  return [
    `ip daddr ${server} udp dport 53 dnat ip to ${server}:${dnsPort}`,
    `ip daddr ${server} tcp dport 53 dnat ip to ${server}:${dnsPort}`,
    `ip daddr ${server} tcp dport 80 dnat ip to ${server}:${metadataPort}`,
  ]
}

/** A managed container that uses a published port would be answered from an address that is not ours. */
const masquerading = (subnet: Cidr): readonly string[] => [
  'type nat hook postrouting priority srcnat - 5; policy accept;',
  `oifname != "lo" ip saddr ${subnet} ip daddr != ${subnet} ct status dnat masquerade`,
  `oifname != "lo" ip saddr @outward ip daddr != ${subnet} masquerade`,
]

function chainsOf(subnet: Cidr, own: Servers, primary: boolean): ReadonlyMap<string, readonly string[]> {
  // Of two that would take a packet the primary one does.
  const turn = primary ? 5 : 4
  return new Map([
    ['servers', servers(own)],
    ['carried', carried(subnet)],
    ['source', source(subnet, formatIpv4(own.address))],
    [
      'asked',
      [
        'type filter hook prerouting priority mangle; policy accept;',
        `iifname != @ipsecs ${asked} ${wireguard.mark}`,
        `iifname @ipsecs ${asked} ${ipsec.mark}`,
      ],
    ],
    [
      'answering',
      [
        'type route hook output priority mangle; policy accept;',
        `icmp type echo-reply ct mark { ${wireguard.mark}, ${ipsec.mark} } meta mark set ct mark`,
      ],
    ],
    [
      'mss',
      [
        'type filter hook forward priority mangle; policy accept;',
        'oifname @tunnels tcp flags & (syn | rst) == syn tcp option maxseg size set rt mtu',
      ],
    ],
    ['forward', forward(subnet)],
    ['output', output(subnet)],
    ['guard', guard(subnet, own, primary)],
    [
      'arriving',
      [
        `type nat hook prerouting priority dstnat - ${turn}; policy accept;`,
        'iifname @veths jump servers',
        `${bridged(primary)} jump servers`,
      ],
    ],
    // before Docker's -100
    ['departing', [`type nat hook output priority -${100 + turn}; policy accept;`, 'jump servers']],
    ['masquerading', masquerading(subnet)],
  ])
}

export function rulesetOf(
  { table, primary }: Pick<NetworkNames, 'table' | 'primary'>,
  subnet: Cidr,
  own: Servers,
): Ruleset {
  const chains = [...chainsOf(subnet, own, primary)]
  const text = chains.map(([name, lines]) => `  chain ${name} {\n    ${lines.join('\n    ')}\n  }`).join('\n')
  const rules = chains.flatMap(([, lines]) => lines.filter((line) => !line.startsWith('type '))).length
  const version = `version_${uuidOf('ruleset', text).replaceAll('-', '').slice(0, 12)}`
  return { table, chains: text, version, rules }
}

/** Replaces the whole table, elements included, in one transaction: no moment without walls. */
export function tableText({ table, chains, version }: Ruleset, elements: Elements): string {
  const sets = Object.entries(setTypes).map(([name, type]) => {
    const members = elements.get(name) ?? []
    const list = members.length === 0 ? '' : `; elements = { ${members.map(quoted).join(', ')} }`
    return `  set ${name} { ${type}${list}; }`
  })
  return [
    `add table inet ${table}`,
    `delete table inet ${table}`,
    `table inet ${table} {`,
    ...sets,
    `  chain ${version} { }`,
    chains,
    '}',
    '',
  ].join('\n')
}

/** Removes the table, whether it is there or not. */
export const withoutTable = (table: string): string => `add table inet ${table}\ndelete table inet ${table}\n`

export const addElements = (table: string, set: SetName, members: readonly string[]): string =>
  members.length === 0 ? '' : `add element inet ${table} ${set} { ${members.map(quoted).join(', ')} }\n`

/** Deletes elements that may be gone already: nft refuses to delete what is not there, so they are added first. */
export const removeElements = (table: string, set: SetName, members: readonly string[]): string =>
  members.length === 0
    ? ''
    : addElements(table, set, members) +
      `delete element inet ${table} ${set} { ${members.map(quoted).join(', ')} }\n`

/** The commands that lead from the elements that are to those that should be. */
export function elementChanges(table: string, present: Elements, wanted: Elements): string {
  const names = Object.keys(setTypes) as SetName[]
  return names
    .map((name) => {
      const now = new Set(present.get(name) ?? [])
      const then = new Set(wanted.get(name) ?? [])
      const gone = [...now].filter((member) => !then.has(member))
      const fresh = [...then].filter((member) => !now.has(member))
      return removeElements(table, name, gone) + addElements(table, name, fresh)
    })
    .join('')
}

/** Interface names need quotes, addresses must not have them. */
const quoted = (member: string): string =>
  member
    .split(' . ')
    .map((part) => (/^[\d./]+$/.test(part) ? part : `"${part.replaceAll('"', '')}"`))
    .join(' . ')
