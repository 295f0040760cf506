/**
 * Gathers what the machine shows of this environment, for `drover doctor`: reads much, changes nothing, and needs
 * no daemon. What cannot be looked at becomes a finding of its own.
 */

import type { Proc } from '../../linux/proc.ts'
import type { Runner } from '../../linux/run.ts'
import { errorTable } from '../../model/error-table.ts'
import { DroverError, reasonOf } from '../../model/errors.ts'
import { attachmentsOf, pairOf } from '../../network/attachments.ts'
import { overlapText } from '../../network/overlap.ts'
import { rulesetOf } from '../../network/ruleset.ts'
import { authorityFile, loadAuthority } from '../../pki/authority.ts'
import { loadIdentity } from '../../pki/identity.ts'
import { readTrustFile } from '../../pki/trust-file.ts'
import { couldNotSee } from '../../status/checks/machine.ts'
import { countersOf } from '../../status/checks/xfrm.ts'
import type { Finding } from '../../status/finding.ts'
import type { MachineFacts, RuleTable, StateFolder } from '../../status/machine-facts.ts'
import { engineChoice } from '../../tunnel/engine-choice.ts'
import { charonProgram, obstacleTo } from '../../tunnel/ipsec/charon-place.ts'
import { espMissing } from '../../tunnel/ipsec/esp-probe.ts'
import type { Config } from '../config/resolve.ts'
import { serversAddress } from '../dns-options.ts'
import { readMembership } from '../membership/membership.ts'
import { overlapOn } from '../membership/occupied.ts'
import type { System } from '../system.ts'
import { heldPorts, isTunnel } from './held-ports.ts'

export interface MachineSources {
  readonly config: Config
  readonly system: System
  readonly proc: Proc
  readonly runner: Runner
  /** Whether the daemon answers. */
  readonly daemon: boolean
  /** A moment between two readings of counters; keeps the process. */
  readonly moment: () => Promise<unknown>
}

/** Program → Debian package. */
const programs = new Map([
  ['ip', 'iproute2'],
  ['nft', 'nftables'],
  ['iptables', 'iptables'],
  ['nsenter', 'util-linux'],
])

/** Looks, and notes what could not be seen. */
class Look {
  readonly unseen: Finding[] = []

  async at<T>(what: string, look: () => Promise<T> | T): Promise<T | undefined> {
    try {
      return await look()
    } catch (error) {
      this.unseen.push(couldNotSee(what, reasonOf(error)))
      return undefined
    }
  }
}

export async function machineFactsOf(sources: MachineSources): Promise<MachineFacts> {
  const { config, system, proc, daemon, moment } = sources
  const look = new Look()
  const counters = () => countersOf(proc.text('/proc/net/xfrm_stat') ?? '')
  const before = counters()
  const [membership, processes] = [membershipOf(config), proc.processes()]
  const moved = moment()
  const subnet = membership.is === 'member' ? membership.subnet : undefined
  const [docker, table, overlap, switches] = await Promise.all([
    look.at('iptables', () => dockerOf(sources)),
    subnet === undefined ? undefined : look.at('nftables', () => tableOf(sources, subnet)),
    subnet === undefined ? undefined : look.at('interfaces and routes', () => overlapFor(system, subnet)),
    look.at('kernel switches', () => forwardingOf(sources)),
  ])
  await moved
  return {
    daemon,
    unseen: look.unseen,
    missing: missingOn(proc),
    tun: proc.exists('/dev/net/tun'),
    kernelEngine: (await look.at('WireGuard', () => usesKernel(sources))) ?? false,
    membership,
    folder: await look.at('the state folder', () => folderOf(sources)),
    sockets: heldPorts(config, { proc, daemon }, processes),
    docker,
    table,
    overlap,
    forwarding: switches ?? new Map(),
    tracking: trackingOf(proc),
    xfrm: { before, after: counters() },
    tunnelProcesses: processes.filter((process) => isTunnel(process, config.tunnel.interface)),
    ipsec: await look.at('IPsec', () => ipsecOf(sources)),
  }
}

export const missingOn = (proc: Proc): MachineFacts['missing'] =>
  [...programs]
    .filter(([program]) => !proc.hasProgram(program))
    .map(([program, name]) => ({ program, package: name }))

/** What `drover init` or `join` left, whole or not. */
function membershipOf({ state, environment, ca }: Config): MachineFacts['membership'] {
  const faults: { what: string; remedy: string }[] = []
  const whole = <T>(read: () => T): T | undefined => {
    try {
      return read()
    } catch (error) {
      if (!(error instanceof DroverError)) throw error
      faults.push({ what: error.message, remedy: error.remedy })
      return undefined
    }
  }
  const member = whole(() => readMembership(state))
  const [identity, trust] = [whole(() => loadIdentity(state)), whole(() => readTrustFile(state))]
  whole(() => loadAuthority(state, ca.passphrase))
  if (member !== undefined && identity === undefined && faults.length === 0)
    faults.push(lack('IDENTITY_DAMAGED', `${state}/identity.json is missing`))
  if (member !== undefined && trust === undefined && faults.length === 0)
    faults.push(lack('CERTIFICATE_MISSING', `${state}/trust.json is missing`))
  if (member !== undefined && member.environment !== environment)
    faults.push({
      what: `the configuration names the environment ${environment}, and ${state} belongs to ${member.environment}`,
      remedy: 'set `environment` to what the folder belongs to, or `state` to another folder',
    })
  if (faults.length > 0) return { is: 'unusable', faults }
  return member === undefined
    ? { is: 'none', state }
    : { is: 'member', environment: member.environment, subnet: member.settings.subnet }
}

const lack = (code: keyof typeof errorTable, what: string) => ({ what, remedy: errorTable[code].remedy })

const usesKernel = ({ config, system }: MachineSources): boolean =>
  engineChoice(config.tunnel.engine, () => system.wireguard.available()).engine === 'kernel'

function folderOf({ config: { state }, proc }: MachineSources): StateFolder | undefined {
  if (!proc.exists(state)) return undefined
  const secret = [`${state}/identity.json`, authorityFile(state), `${state}/membership.json`]
  return { path: state, open: secret.filter((path) => proc.isOpen(path)), free: proc.freeSpace(state) }
}

/** A kernel without ESP, or a machine without strongSwan, is no fault: WireGuard carries. */
async function ipsecOf({ config, daemon, runner }: MachineSources): Promise<MachineFacts['ipsec']> {
  const { state, run, tunnel } = config
  if (daemon || tunnel.backend === 'wireguard' || charonProgram() === undefined) return undefined
  if ((await espMissing(runner)) !== '') return undefined
  const place = { folder: `${state}/ipsec`, socket: `${run}/charon.vici`, port: tunnel.ipsecPort }
  const fault = await obstacleTo(place, runner)
  return fault === undefined ? undefined : { what: fault.message, remedy: fault.remedy }
}

async function dockerOf({ system }: MachineSources): Promise<MachineFacts['docker']> {
  const [version, backends] = await Promise.all([
    system.engine.version().then(
      (engine) => engine.version,
      () => undefined,
    ),
    system.iptables.look(system.names.comment),
  ])
  return { version, endpoint: system.engineName, backends }
}

async function tableOf({ config, system }: MachineSources, subnet: RuleSubnet): Promise<RuleTable> {
  const { names, nft, ip } = system
  const servers = { address: serversAddress, dnsPort: config.dns.port, metadataPort: config.metadata.port }
  const wanted = rulesetOf(names, subnet, servers)
  const [table, links] = await Promise.all([nft.table('inet', names.table), ip.links()])
  const allowed = new Set(table?.sets.get('allowed') ?? [])
  return {
    name: names.table,
    found: table !== undefined,
    version: table?.chains.includes(wanted.version) === true,
    rules: { found: table?.rules ?? 0, wanted: wanted.rules },
    silenced: attachmentsOf(names, links)
      .filter((attachment) => !allowed.has(pairOf(attachment)))
      .map(({ container }) => container.slice(0, 12)),
  }
}

type RuleSubnet = Parameters<typeof rulesetOf>[1]

async function overlapFor(system: System, subnet: RuleSubnet): Promise<MachineFacts['overlap']> {
  const overlap = await overlapOn(subnet, system)
  return overlap === undefined
    ? undefined
    : { subnet, text: overlapText(subnet, { ...overlap, free: undefined }) }
}

/** The tunnel's switch and those of the veths, as far as the links are there. */
async function forwardingOf({ config, system }: MachineSources): Promise<MachineFacts['forwarding']> {
  const links = await system.ip.links()
  const veths = attachmentsOf(system.names, links).map(({ link }) => link)
  const tunnel = links.filter(({ name }) => name === config.tunnel.interface).map(({ name }) => name)
  const paths = [...tunnel, ...veths].map((name) => `net/ipv4/conf/${name}/forwarding`)
  const values = await Promise.all(
    // A container may have gone meanwhile, and its switch with it.
    paths.map(async (path) => [path, await system.sysctl.read(path).catch(() => '1')] as const),
  )
  return new Map(values)
}

function trackingOf(proc: Proc): MachineFacts['tracking'] {
  const [count, limit] = ['count', 'max'].map((name) =>
    Number(proc.text(`/proc/sys/net/netfilter/nf_conntrack_${name}`) ?? Number.NaN),
  )
  return count === undefined || limit === undefined || Number.isNaN(count + limit) || limit === 0
    ? undefined
    : { count, limit }
}
