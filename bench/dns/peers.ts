/**
 * Who takes part in the DNS benchmark, each with the same names and the same upstream: dnsmasq, unbound,
 * knot-resolver and pdns-recursor of Debian, with one thread each as ours has, and ours.
 */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { run } from '../../lab/command.ts'
import { node, root } from '../../lab/layout.ts'
import { domain } from './names.ts'

export interface Place {
  /** Where to listen, port 53. */
  readonly address: string
  /** The resolver to forward to, port 53. */
  readonly upstream: string
  readonly folder: string
}

export interface Peer {
  readonly name: string
  /** Writes its configuration; the command that runs it in the foreground. */
  prepare(place: Place, names: ReadonlyMap<string, readonly string[]>): readonly string[]
}

const hostsFile = (names: ReadonlyMap<string, readonly string[]>): string =>
  [...names].flatMap(([name, addresses]) => addresses.map((address) => `${address} ${name}\n`)).join('')

function written(folder: string, name: string, text: string): string {
  const file = join(folder, name)
  mkdirSync(folder, { recursive: true })
  writeFileSync(file, text)
  return file
}

const plainDnsmasq = (address: string): readonly string[] => [
  'dnsmasq',
  '--keep-in-foreground',
  '--conf-file=/dev/null',
  '--pid-file=',
  '--user=root',
  '--no-resolv',
  '--no-hosts',
  '--bind-interfaces',
  `--listen-address=${address}`,
]

/** The world: every name under example.com has an address. */
export const world = (address: string): readonly string[] => [
  ...plainDnsmasq(address),
  '--address=/example.com/192.0.2.1',
  '--local-ttl=3600',
]

const dnsmasq: Peer = {
  name: 'dnsmasq',
  prepare: ({ address, upstream, folder }, names) => [
    ...plainDnsmasq(address),
    `--addn-hosts=${written(folder, 'hosts', hostsFile(names))}`,
    `--local=/${domain}/`,
    '--local-ttl=1',
    '--cache-size=10000',
    `--server=${upstream}`,
    '--dns-forward-max=1000',
  ],
}

const unbound: Peer = {
  name: 'unbound',
  prepare: ({ address, upstream, folder }, names) => {
    const data = [...names].flatMap(([name, addresses]) =>
      addresses.map((one) => `local-data: "${name}. 1 IN A ${one}"`),
    )
    const text = [
      'server:',
      `interface: ${address}`,
      'access-control: 0.0.0.0/0 allow',
      'do-daemonize: no',
      'chroot: ""',
      'username: ""',
      'pidfile: ""',
      'use-syslog: no',
      'verbosity: 0',
      'num-threads: 1',
      'incoming-num-tcp: 200',
      'so-rcvbuf: 4m',
      'module-config: "iterator"',
      `local-zone: "${domain}." static`,
      ...data,
      'remote-control:',
      'control-enable: no',
      'forward-zone:',
      'name: "."',
      `forward-addr: ${upstream}`,
      '',
    ]
    return ['unbound', '-d', '-c', written(folder, 'unbound.conf', text.join('\n'))]
  },
}

const knot: Peer = {
  name: 'knot-resolver',
  prepare: ({ address, upstream, folder }, names) => {
    const text = [
      `net.listen('${address}', 53, { kind = 'dns' })`,
      "log_level('crit')",
      'cache.size = 50 * MB',
      "modules = { 'hints > iterate' }",
      `hints.add_hosts('${written(folder, 'hosts', hostsFile(names))}')`,
      'hints.ttl(1)',
      "trust_anchors.remove('.')",
      `policy.add(policy.all(policy.FORWARD('${upstream}')))`,
      '',
    ]
    return ['kresd', '-n', '-c', written(folder, 'kresd.conf', text.join('\n')), folder]
  },
}

const powerdns: Peer = {
  name: 'pdns-recursor',
  prepare: ({ address, upstream, folder }, names) => {
    const head = `@ 1 IN SOA ns hostmaster 1 60 10 86400 1\n@ 1 IN NS ns\nns 1 IN A ${address}\n`
    const lines = [...names].flatMap(([name, addresses]) =>
      addresses.map((one) => `${name}. 1 IN A ${one}\n`),
    )
    const zone = written(folder, 'zone', `$ORIGIN ${domain}.\n${head}${lines.join('')}`)
    const text = [
      `local-address=${address}`,
      'allow-from=0.0.0.0/0',
      'daemon=no',
      'disable-syslog=yes',
      'threads=1',
      'dnssec=off',
      'security-poll-suffix=',
      `socket-dir=${folder}`,
      `auth-zones=${domain}=${zone}`,
      `forward-zones-recurse=.=${upstream}`,
      'max-tcp-per-client=0',
      'max-tcp-clients=200',
      'loglevel=3',
      'quiet=yes',
      '',
    ]
    written(folder, 'recursor.conf', text.join('\n'))
    return ['pdns_recursor', `--config-dir=${folder}`]
  },
}

/** `folder` of another checkout, to compare with. */
export const drover = (folder = root, name = 'drover'): Peer => ({
  name,
  prepare: ({ address, upstream }, names) => {
    const containers = names.values().next().value?.length ?? 0
    const server = join(folder, 'bench', 'dns', 'server.ts')
    return [node, server, address, upstream, String(names.size), String(containers)]
  },
})

const debian: readonly (readonly [Peer, string])[] = [
  [dnsmasq, 'dnsmasq-base'],
  [unbound, 'unbound'],
  [knot, 'knot-resolver'],
  [powerdns, 'pdns-recursor'],
]

/** Ours comes last. Who is not installed is left out with one line. */
export async function peers(against: string | undefined, say: (line: string) => void): Promise<Peer[]> {
  const found: Peer[] = []
  for (const [peer, packageName] of debian) {
    const { stdout, code } = await run(['dpkg-query', '--show', packageName])
    const version = (stdout.trim().split('\t')[1] ?? '').replace(/^\d+:/, '').replace(/[+-].*$/, '')
    if (code === 0) found.push({ ...peer, name: `${peer.name} ${version}` })
    else say(`left out: ${packageName} is not installed`)
  }
  if (against !== undefined) found.push(drover(against, `drover in ${against}`))
  return [...found, drover()]
}
