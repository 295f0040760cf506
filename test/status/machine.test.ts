/**
 * What the machine shows, check by check: facts of a sound one give nothing, and each fault gives its line.
 */
import { type Test, test } from 'tap'
import { parseCidr } from '../../model/ip.ts'
import { couldNotSee } from '../../status/checks/machine.ts'
import { machineChecks } from '../../status/doctor.ts'
import { findingsOf } from '../../status/finding.ts'
import type { MachineFacts } from '../../status/machine-facts.ts'

const sound: MachineFacts = {
  daemon: true,
  unseen: [],
  missing: [],
  tun: true,
  kernelEngine: false,
  membership: { is: 'member', environment: 'default', subnet: parseCidr('10.42.0.0/16') ?? ('' as never) },
  folder: { path: '/var/lib/drover', open: [], free: 5000 },
  sockets: [{ key: 'dns.port', protocol: 'udp', port: 10053, holder: undefined }],
  docker: {
    version: '20.10.24',
    endpoint: 'unix:///var/run/docker.sock',
    backends: [
      { program: 'iptables-nft', docker: true, reached: true, rules: 1 },
      { program: 'iptables-legacy', docker: false, reached: false, rules: 0 },
    ],
  },
  table: {
    name: 'drover_default',
    found: true,
    version: true,
    rules: { found: 40, wanted: 40 },
    silenced: [],
  },
  overlap: undefined,
  forwarding: new Map([['net/ipv4/conf/drover0/forwarding', '1']]),
  tracking: { count: 10, limit: 1000 },
  xfrm: { before: new Map(), after: new Map() },
  tunnelProcesses: [{ pid: 7, memory: 90 }],
  ipsec: undefined,
}

function shows(t: Test, given: Partial<MachineFacts>, ...wanted: readonly RegExp[]): void {
  const found = findingsOf(machineChecks, { ...sound, ...given })
  t.match(
    found.map(({ severity, where, what, remedy }) => `${severity} ${where}: ${what}; ${remedy}`),
    wanted,
  )
  t.equal(found.length, wanted.length, found.map(({ what }) => what).join('\n'))
}

test('a sound machine', (t) => {
  shows(t, {})
  t.end()
})

test('programs, kernel, folder, ports', (t) => {
  const missing = [
    { program: 'nft', package: 'nftables' },
    { program: 'ip', package: 'iproute2' },
  ]
  shows(t, { missing }, /^error machine: this machine has no nft, ip; apt-get install nftables iproute2/)
  shows(t, { tun: false }, /^error machine: \/dev\/net\/tun is not there/)
  shows(t, { tun: false, kernelEngine: true })
  shows(
    t,
    { membership: { is: 'none', state: '/var/lib/drover' } },
    /^error configuration: .*has not joined.*drover init/,
  )
  const faults = [{ what: 'identity.json is damaged', remedy: 'restore it' }]
  shows(
    t,
    { membership: { is: 'unusable', faults } },
    /^error configuration: identity\.json is damaged; restore it/,
  )
  shows(
    t,
    { folder: { path: '/var/lib/drover', open: ['/var/lib/drover/identity.json'], free: 3 } },
    /identity\.json can be read by others, and holds keys; chmod 600/,
    /the disk of \/var\/lib\/drover has 3 MiB left/,
  )
  const holder = 'dnsmasq (process 12)'
  shows(
    t,
    { sockets: [{ key: 'dns.port', protocol: 'udp', port: 10053, holder }] },
    /UDP port 10053 \(dns\.port\) is held by dnsmasq \(process 12\)/,
  )
  shows(
    t,
    { forwarding: new Map([['net/ipv4/conf/dr1/forwarding', '0']]) },
    /net\.ipv4\.conf\.dr1\.forwarding is 0/,
  )
  shows(t, { tracking: { count: 950, limit: 1000 } }, /^warning network: the kernel tracks 950 connections/)
  shows(t, { tracking: { count: 1000, limit: 1000 } }, /^error network: .*nf_conntrack_max=2000/)
  shows(
    t,
    { unseen: [couldNotSee('nftables', 'no such program')] },
    /could not look at nftables: no such program/,
  )
  shows(
    t,
    {
      tunnelProcesses: [
        { pid: 7, memory: 500 },
        { pid: 8, memory: 90 },
      ],
    },
    /several tunnel processes want one interface: 7, 8/,
    /the tunnel process 7 takes 500 MiB/,
  )
  const ipsec = { what: 'the port of IPsec is taken: UDP 4500', remedy: 'stop what holds it' }
  shows(t, { ipsec }, /^warning tunnel: IPsec cannot be used here: the port .*; WireGuard carries meanwhile/)
  t.end()
})

test('firewall', (t) => {
  const table = sound.table ?? ({} as never)
  const docker = sound.docker ?? ({} as never)
  const [chain] = docker.backends
  shows(
    t,
    { table: { ...table, found: false } },
    /^error network: the nftables table drover_default is not there.*30 s/,
  )
  shows(t, { table: { ...table, found: false }, daemon: false }, /is not there.*start the daemon/)
  shows(t, { table: { ...table, version: false } }, /^warning network: .* another version/)
  shows(t, { table: { ...table, rules: { found: 39, wanted: 40 } } }, /has 39 rules and should have 40/)
  shows(t, { table: { ...table, silenced: ['abc'] } }, /does not let container abc send/)
  shows(t, { docker: { ...docker, version: undefined } })
  shows(t, { docker: { ...docker, version: undefined }, daemon: false }, /^error docker: .* does not answer/)
  shows(t, { docker: { ...docker, backends: [] } }, /has no chains in iptables/)
  if (chain === undefined) throw new TypeError('no chain')
  shows(
    t,
    { docker: { ...docker, backends: [{ ...chain, rules: 0 }] } },
    /DOCKER-USER \(iptables-nft\) has no rule/,
  )
  shows(
    t,
    { docker: { ...docker, backends: [{ ...chain, reached: false }] } },
    /FORWARD .* does not lead to DOCKER-USER/,
  )
  const text = '10.42.0.0/16 overlaps Docker network shop (10.42.8.0/24)'
  shows(
    t,
    { overlap: { subnet: '10.42.0.0/16' as never, text } },
    /meets another network: .* Docker network shop/,
  )
  t.end()
})
