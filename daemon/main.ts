/**
 * What the subcommands `init`, `join`, `ca`, `daemon` and `store move` do. First everything is parsed, checked and built; only
 * below the line `effects` can the machine change.
 */

import { flushCompileCache } from 'node:module'
import type { DnsThread } from '../dns/thread.ts'
import { DroverError } from '../model/errors.ts'
import type { Clock, Log } from '../model/ports.ts'
import { seconds } from '../model/time.ts'
import { loadIdentity, loadOrCreateIdentity } from '../pki/identity.ts'
import { parseToken } from '../pki/token.ts'
import { isServed } from '../status/server.ts'
import { engineChoice } from '../tunnel/engine-choice.ts'
import { storeOf } from './compose.ts'
import type { ConfigSources } from './config/load.ts'
import { configOf } from './config/machine-config.ts'
import type { Config } from './config/resolve.ts'
import { LogTail } from './diagnosis/log-tail.ts'
import { Handover, type Successor } from './handover/predecessor.ts'
import { predecessorOf } from './handover/successor.ts'
import { Lifecycle } from './lifecycle.ts'
import { createLog } from './log.ts'
import { loopHolders } from './loop-holders.ts'
import { createEnvironment, enterEnvironment, type Machine, storeAnswers } from './membership/enter.ts'
import { leave } from './membership/leave.ts'
import { type Membership, readMembership } from './membership/membership.ts'
import { refuseNeighbours } from './membership/occupied.ts'
import { withAccess } from './membership/store-access.ts'
import { PrometheusMeter } from './meter.ts'
import { espChoice, ipsecPart, withMtuOf } from './peers/ipsec-part.ts'
import { composeTunnel } from './peers/tunnel-engines.ts'
import { portsOf } from './servers.ts'
import { serviceManager } from './service-manager.ts'
import { copyInto } from './store-move.ts'
import { type System, systemOf } from './system.ts'
import { Tasks } from './tasks.ts'
import { type CaView, caView, exportCa, importCa, issueServer } from './trust/ca.ts'
import type { CaState } from './trust/trust-admin.ts'
import { trustParts } from './trust/trust-parts.ts'
import { version } from './version.ts'

export interface InitFlags {
  readonly name?: string
  readonly subnet?: string
  readonly domain?: string
  readonly store?: string
}

export interface DaemonFlags {
  readonly check?: boolean
  readonly leave?: boolean
  readonly init?: boolean
  readonly subnet?: string
  readonly tunnelProcess?: string
}

/** The running daemon, as the CLI reaches it. */
export interface AdminCaller {
  get<T>(path: string): Promise<T>
  post<T>(path: string, body: object): Promise<T>
}

/** A line for the operator. */
export async function runInit(sources: ConfigSources, flags: InitFlags): Promise<string> {
  const machine = machineOf(inEnvironment(sources, flags.name))
  const { environment, settings, store } = await createEnvironment(machine, flags)
  const { join } = machine.config
  const others =
    store === 'embedded'
      ? 'for more hosts: `drover store move etcd://HOST:2379`, then `drover token create`'
      : `for more hosts: \`drover token create\` here once the daemon runs, and open TCP ${join.port} on this host for them`
  return [
    `created the environment ${environment} (${settings.subnet}) in ${store}; this host holds the key of its CA`,
    nextStep(machine.config),
    others,
  ].join('\n')
}

/** A line for the operator. */
export async function runJoin(sources: ConfigSources, text: string): Promise<string> {
  const token = parseToken(text.trim())
  const machine = machineOf(inEnvironment(sources, token.environment))
  const membership = await enterEnvironment(machine, token)
  const away = await storeAnswers(machine, membership)
  const { environment, settings, store } = membership
  return [
    `joined the environment ${environment} (${settings.subnet}) in ${store}; the certificate renews itself`,
    ...(away === undefined ? [] : [`the store does not answer yet: ${away}`]),
    nextStep(machine.config),
  ].join('\n')
}

function nextStep({ environment, tunnel }: Config): string {
  const start =
    environment === 'default'
      ? 'systemctl start drover, or npm start'
      : `systemctl start drover-tunnel@${tunnel.interface} drover@${environment}, or npm start -- --environment ${environment}`
  return `next: open UDP ${tunnel.port} to the other hosts, and start the daemon (${start})`
}

const inEnvironment = (sources: ConfigSources, name: string | undefined): ConfigSources =>
  name === undefined ? sources : { ...sources, flags: new Map(sources.flags).set('environment', name) }

function machineOf(sources: ConfigSources): Machine {
  const config = configOf(sources)
  const log = logOf(config)
  return { config, log, system: systemOf({ log, meter: new PrometheusMeter() }, config, process.env) }
}

/** Resolves with the exit code when the daemon ends. `early`: the DNS thread, where it was loaded before. */
export async function runDaemon(
  sources: ConfigSources,
  flags: DaemonFlags,
  early?: DnsThread,
): Promise<number> {
  const config = configOf(sources)
  const tail = new LogTail()
  const log = logOf(config, tail)
  const meter = new PrometheusMeter()
  const system = systemOf({ log, meter }, config, process.env)
  const member = readMembership(config.state)
  if (flags.check) return checked(config, member, { clock: system.clock, log })
  if (flags.tunnelProcess !== 'own' && flags.tunnelProcess !== 'external')
    throw new DroverError('USAGE', '--tunnel-process is own or external')
  if (process.getuid?.() !== 0) throw new DroverError('NOT_ROOT', 'drover daemon')
  if (member === undefined && flags.init !== true && flags.leave !== true)
    throw new DroverError('ENVIRONMENT_MISSING', config.state)
  if (
    flags.subnet !== undefined &&
    member !== undefined &&
    member.settings.subnet !== flags.subnet &&
    !flags.leave
  ) {
    throw new DroverError(
      'ENVIRONMENT_DIFFERS',
      `${member.environment} has the subnet ${member.settings.subnet}, not ${flags.subnet}`,
    )
  }
  if (member !== undefined && flags.leave !== true) await refuseNeighbours(member.settings.subnet, system)

  // effects
  if (flags.leave) return leaving(config, system, log, member)
  const predecessor = predecessorOf(process)
  const inherited = await predecessor?.ready(portsOf(config))
  if (await isServed(config.admin)) throw new DroverError('DAEMON_RUNNING', config.admin)
  const choice = engineChoice(config.tunnel.engine, () => system.wireguard.available())
  const esp = await espChoice(config.tunnel.backend, system.runner)
  const membership = member ?? (await createEnvironment({ config, system, log }, flags))
  const identity = loadOrCreateIdentity(config.state)
  const trust = trustParts(config, identity, { clock: system.clock, log })
  const tasks = new Tasks(log, () => process.exit(70))
  const external = flags.tunnelProcess === 'external'
  const fitting = withMtuOf(esp, config)
  const deps = { log, meter, clock: system.clock, runner: system.runner, trust: trust.keeper, system }
  const tunnel = composeTunnel(deps, fitting, { identity, choice, external })
  const { settings } = membership
  const ipsec = ipsecPart(deps, fitting, { choice: esp, identity, settings, external })
  const handover: Handover = new Handover(() => lifecycle.sockets(), {
    pid: process.pid,
    words: process.argv.slice(2),
    environment: process.env,
  })
  const lifecycle = new Lifecycle(
    { system, log, tail, meter, tasks, tunnel, ipsec, identity, trust, handover },
    withAccess(fitting, membership),
    withStore(membership, config),
  )
  log.info('drover starts', {
    version,
    host: config.host.name,
    environment: membership.environment,
    subnet: settings.subnet,
  })
  const starting = lifecycle.start(inherited, early).then(() => predecessor?.serving())
  return runUntilEnd({ lifecycle, clock: system.clock, log, starting, handover })
}

/** What `drover ca show` shows; more of it where the daemon runs. */
export async function runCaShow(sources: ConfigSources, daemon: AdminCaller): Promise<CaView> {
  const state = await daemon.get<CaState>('/v1/ca').catch(() => undefined)
  return caView(configOf(sources), state)
}

/** A line for the operator. */
export function runCaExport(sources: ConfigSources, file: string): string {
  const { encrypted, unnoted } = exportCa(configOf(sources), file)
  const done = encrypted
    ? `${file} holds the CA; its key has its passphrase`
    : `${file} holds the CA and its key in clear: keep it where nobody else can read it`
  return unnoted === undefined ? done : `${done}\n\`drover ca show\` does not know of it: ${unnoted}`
}

/** A line for the operator. */
export function runCaIssue(sources: ConfigSources, folder: string, addresses: readonly string[]): string {
  issueServer(configOf(sources), folder, addresses)
  return `${folder} holds ca.pem, server.pem and server-key.pem for ${addresses.join(', ')}, valid for a year`
}

/** A line for the operator. */
export function runCaImport(sources: ConfigSources, file: string): string {
  const { fingerprint } = importCa(configOf(sources), file)
  return `this host holds the key of the CA ${fingerprint} now\nnext: restart the daemon (systemctl restart drover)`
}

/** A line for the operator; the daemon does it when it runs, so that nothing changes under it. */
export async function runStoreMove(
  sources: ConfigSources,
  url: string,
  daemon: AdminCaller,
): Promise<string> {
  const config = configOf(sources)
  const done = (keys: number): string =>
    `moved ${keys} records to ${url}; \`drover token create\` lets other hosts in`
  try {
    const { keys } = await daemon.post<{ readonly keys: number }>('/v1/store/move', { url })
    return done(keys)
  } catch (error) {
    if (!(error instanceof DroverError && error.code === 'DAEMON_UNREACHABLE')) throw error
  }
  const membership = readMembership(config.state)
  if (membership === undefined) throw new DroverError('ENVIRONMENT_MISSING', config.state)
  const log = logOf(config)
  const { clock } = systemOf({ log, meter: new PrometheusMeter() }, config, process.env)
  const target = await storeOf(url, config, { clock, log })
  try {
    const { keys } = await copyInto(target, { deps: { clock, log }, config, membership, url })
    return done(keys)
  } finally {
    await target.close()
  }
}

const logOf = (config: Config, tail?: LogTail): Log => {
  const format = config.log.format === 'auto' ? (process.stdout.isTTY ? 'text' : 'json') : config.log.format
  return createLog({ level: config.log.level, format }, (line) => {
    tail?.add(line)
    process.stdout.write(line)
  })
}

/** What the operator wrote into the configuration wins over what `init` was told. */
const withStore = (membership: Membership, config: Config): Membership =>
  config.store.url === undefined ? membership : { ...membership, store: config.store.url }

async function checked(
  config: Config,
  member: Membership | undefined,
  deps: Parameters<typeof storeOf>[2],
): Promise<number> {
  const identity = member === undefined ? undefined : loadIdentity(config.state)
  if (identity !== undefined) trustParts(config, identity, deps)
  const url = (member === undefined ? config.store.url : withStore(member, config).store) ?? 'embedded'
  // An etcd is not asked before the first request: this reads its address and certificates.
  const reached = member === undefined ? config : withAccess(config, member)
  if (url !== 'embedded') await (await storeOf(url, reached, deps)).close()
  const where =
    member === undefined
      ? 'no member of an environment yet'
      : `${member.environment} in ${withStore(member, config).store}`
  process.stdout.write(`the configuration is valid; ${where}\n`)
  return 0
}

async function leaving(
  config: Config,
  system: System,
  log: Log,
  membership: Membership | undefined,
): Promise<number> {
  if (await isServed(config.admin)) throw new DroverError('DAEMON_RUNNING', config.admin)
  const identity = loadIdentity(config.state)
  const member =
    membership === undefined || identity === undefined
      ? undefined
      : {
          membership,
          self: identity.id,
          store: await storeOf(withStore(membership, config).store, withAccess(config, membership), {
            clock: system.clock,
            log,
          }),
        }
  await leave({ system, log, member }, config)
  return 0
}

interface Running {
  readonly lifecycle: Lifecycle
  readonly clock: Clock
  readonly log: Log
  readonly starting: Promise<void>
  readonly handover: Handover
}

/** Half of what systemd waits for before it kills, and several times what a stop takes. */
const longestStop = seconds(10)

/** Until a signal comes, or a successor has taken over. */
async function runUntilEnd({ lifecycle, clock, log, starting, handover }: Running): Promise<number> {
  const manager = serviceManager(process.env)
  const stopped = new Promise<undefined>((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => resolve(undefined))
  })
  const started = starting.then(() => {
    manager.ready('serving')
    // Node writes what it compiled when it ends; a daemon that is killed would load slowly each time.
    flushCompileCache()
  })
  const ending = Promise.race([stopped, handover.begun])
  let successor: Successor | undefined
  try {
    successor = await Promise.race([ending, started.then(() => ending)])
    if (successor === undefined) manager.stopping()
    else {
      log.info('a successor takes over', { pid: successor.pid })
      await lifecycle.retire()
      await successor.give()
      manager.succeeded(successor.pid)
    }
  } catch (error) {
    successor?.kill()
    throw error
  } finally {
    successor?.letGo()
    // A timer of this clock fires only while something else keeps the process, which ends when nothing does.
    clock.after(longestStop, () => {
      log.error('the daemon does not end by itself and is ended', { holders: loopHolders() })
      process.exit(70)
    })
    // Also after a start that failed: what it had opened would keep the process.
    await lifecycle.stop()
  }
  log.info('drover stops; containers stay connected')
  return 0
}
