/**
 * The strongswan.conf of our own charon, and everything that charon is told as a swanctl.conf. Pure; stable text.
 * Nothing is included from /etc: what an operator sets there is for his charon, not for this one.
 */
import type { Esp } from './connections.ts'
import { isList, type ViciSection, type ViciValue } from './vici-message.ts'

export interface CharonPlace {
  /** UDP port of IKE and of ESP in UDP. */
  readonly port: number
  /** Path of its control socket. */
  readonly socket: string
  readonly esp: Esp
  /** Where it writes what it does; undefined for the journal. */
  readonly logFile: string | undefined
}

/** OpenSSL first: it has AES-NI, X25519 and Ed25519. */
const cryptoPlugins = ['random', 'nonce', 'openssl', 'pem', 'pkcs1', 'pkcs8', 'x509', 'pubkey', 'constraints']
const kdfPlugins = ['hmac', 'sha2', 'kdf', 'aes', 'gcm']

/** Without these nothing of ours can be negotiated; `kernel-libipsec` must come before `kernel-netlink`. */
export const pluginsFor = (esp: Esp): readonly string[] => [
  ...cryptoPlugins,
  ...kdfPlugins,
  ...(esp === 'userspace' ? ['kernel-libipsec'] : []),
  'kernel-netlink',
  'socket-default',
  'vici',
]

/** Charon's own packets, which must not go into its own device. */
const mark = '0x0d70'

/** Its routes are of use where nothing else has one for the address: after `main`, which holds ours. */
const routingTable = { number: 220, priority: 32_800 }

export function charonConf({ port, socket, esp, logFile }: CharonPlace): string {
  const settings: ViciSection = {
    load: pluginsFor(esp).join(' '),
    // Everything goes by one port, in UDP from the first packet: the other port is any that is free.
    port: '0',
    port_nat_t: String(port),
    threads: '16',
    install_routes: 'no',
    install_virtual_ip: 'no',
    routing_table: String(routingTable.number),
    routing_table_prio: String(routingTable.priority),
    // Gives up after 13 s, so that a path that is back is tried again soon.
    retransmit_tries: '4',
    retransmit_timeout: '1.0',
    retransmit_base: '1.5',
    ikesa_table_size: '512',
    ikesa_table_segments: '16',
    follow_redirects: 'no',
    plugins: {
      vici: { socket: `unix://${socket}` },
      'kernel-netlink': { fwmark: `!${mark}` },
      'socket-default': { fwmark: mark },
      'kernel-libipsec': { allow_peer_ts: 'yes' },
    },
    journal: { default: logFile === undefined ? '1' : '-1' },
    ...(logFile === undefined ? {} : { filelog: { log: logTo(logFile) } }),
  }
  return render({
    'charon-systemd': settings,
    swanctl: { load: 'random openssl pem pkcs1 pkcs8 x509 pubkey' },
  })
}

/** A packet that nothing fits is told at level 1, each: not for us. */
const logTo = (path: string): ViciSection => ({
  path,
  time_format: '%F %T',
  flush_line: 'yes',
  append: 'no',
  default: '1',
  esp: '0',
})

export interface SwanctlFiles {
  /** Host id → its connection. */
  readonly connections: ReadonlyMap<string, ViciSection>
  /** Names of files in the folder `private`. */
  readonly keys: readonly string[]
  /** Authority → name of the file in the folder `x509ca`. */
  readonly authorities: ReadonlyMap<string, string>
}

/** Everything as `swanctl --load-all` takes it; the host's certificate lies in the folder `x509`. */
export function swanctlConf({ connections, keys, authorities }: SwanctlFiles): string {
  return render({
    connections: Object.fromEntries(connections),
    secrets: Object.fromEntries(keys.map((file, at) => [`private-${at}`, { file }])),
    authorities: Object.fromEntries([...authorities].map(([name, cacert]) => [name, { cacert }])),
  })
}

const render = (section: ViciSection): string =>
  Object.entries(section)
    .map(([name, value]) => `${lines(name, value, '').join('\n')}\n`)
    .join('')

function lines(name: string, value: ViciValue, indent: string): readonly string[] {
  if (typeof value === 'string') return [`${indent}${name} = ${quoted(value)}`]
  if (isList(value)) return [`${indent}${name} = ${quoted(value.join(', '))}`]
  const inner = Object.entries(value).flatMap(([key, one]) => lines(key, one, `${indent}  `))
  return [`${indent}${name} {`, ...inner, `${indent}}`]
}

/** What has a meaning of its own in strongswan.conf(5) goes into quotes. */
const quoted = (value: string): string =>
  /^[A-Za-z0-9_./:%!,\- ]*$/.test(value) ? value : `"${value.replace(/[\\"]/g, '\\$&')}"`
