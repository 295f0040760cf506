/**
 * What the admin socket shows and does, out of the parts of a running daemon.
 */
import type { Environment } from '../model/environment.ts'
import { DroverError } from '../model/errors.ts'
import type { Instant } from '../model/time.ts'
import type { AdminActions } from '../status/server.ts'
import { containersView, hostsView, statusOf } from '../status/status.ts'
import type { Vitals } from '../status/vitals.ts'
import type { Ledgers } from './compose.ts'
import type { Config } from './config/resolve.ts'
import type { Control } from './control.ts'
import type { DaemonParts } from './daemon-parts.ts'
import { daemonFactsOf, examined } from './diagnosis/daemon-facts.ts'
import { vitalsOf } from './diagnosis/vitals.ts'
import { dnsActions } from './dns-admin.ts'
import type { HostNetwork } from './peers/host-network.ts'
import type { PeerPaths } from './peers/peer-paths.ts'
import type { Servers } from './servers.ts'
import { serviceCommands, servicesView } from './services/service-admin.ts'
import { trustCommands, trustViews } from './trust/trust-admin.ts'

export interface AdminSources {
  readonly parts: DaemonParts
  readonly config: Config
  readonly started: Instant
  readonly servers: Servers
  readonly paths: PeerPaths
  readonly network: HostNetwork
  readonly ledgers: Ledgers
  /** What is different from one look to the next. */
  now(): Present
  moveStore(url: string): Promise<object>
}

interface Present {
  /** Undefined until the daemon has its store. */
  readonly control: Control | undefined
  /** The store's URL. */
  readonly store: string
  readonly engine: Pick<Vitals['docker'], 'connected' | 'version'>
  readonly serving: boolean
}

export function adminActions(sources: AdminSources): AdminActions {
  const { parts, servers } = sources
  const control = () => presentControl(sources)
  const view =
    <T>(render: (environment: Environment) => T) =>
    (): T | undefined => {
      const environment = sources.now().control?.environment
      return environment === undefined ? undefined : render(environment)
    }
  return {
    views: {
      status: view((environment) => statusOf(environment, vitals(sources))),
      ps: view(containersView),
      hosts: view((environment) => hostsView(environment, vitals(sources))),
      doctor: view((environment) => facts(sources, environment).then(examined)),
      ...trustViews(control, parts.trust),
      services: view((environment) => servicesView(control, environment)),
      log: () => parts.tail.lines(),
      process: () => ({ pid: parts.handover.pid, serving: sources.now().serving }),
    },
    metrics: async () => {
      await servers.count()
      return parts.meter.text()
    },
    commands: {
      'store/move': ({ url }) => sources.moveStore(String(url ?? '')),
      replace: ({ program }) => parts.handover.begin(Array.isArray(program) ? program.map(String) : []),
      ...trustCommands(control),
      ...serviceCommands(control),
    },
    ...dnsActions(() => servers.dns),
  }
}

function presentControl(sources: AdminSources): Control {
  const { control } = sources.now()
  if (control === undefined) throw new DroverError('STORE_UNAVAILABLE', 'the daemon is still starting')
  return control
}

function vitals({ parts, config, started, paths, ledgers, now }: AdminSources): Vitals {
  const { system, tunnel, ipsec, trust } = parts
  const { control, store, engine } = now()
  return vitalsOf({
    config,
    store,
    engine: { ...engine, endpoint: system.engineName },
    clock: system.clock,
    control,
    lastSeen: paths.lastSeen,
    chosen: paths.chosen,
    peers: paths.reports(),
    ipsec,
    pathMtus: paths.mtus,
    since: started,
    trust,
    tunnel,
    ledgers,
  })
}

function facts(sources: AdminSources, environment: Environment) {
  const { parts, servers, network } = sources
  return daemonFactsOf({
    environment,
    vitals: vitals(sources),
    control: presentControl(sources),
    upstreams: servers.dns?.stats().upstreams,
    meter: parts.meter,
    mended: network.mended,
    trust: parts.trust,
  })
}
