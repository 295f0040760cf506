/**
 * Starts and stops what `compose.ts` made, in the order that loses nothing: the walls before the first route,
 * the servers once their address is there, containers last. Stopping leaves everything in the kernel.
 */
import type { DnsThread } from '../dns/thread.ts'
import { belongingOf } from '../docker/labels.ts'
import type { EngineState } from '../docker/watch.ts'
import type { Environment } from '../model/environment.ts'
import { DroverError } from '../model/errors.ts'
import { formatIpv4, type Ipv4 } from '../model/ip.ts'
import type { HostRecord } from '../model/records.ts'
import { seconds } from '../model/time.ts'
import { type AdminActions, type AdminServer, startAdmin } from '../status/server.ts'
import type { Store } from '../store/store.ts'
import { adminActions } from './admin-actions.ts'
import { type ControlParts, composeControl, type Ledgers, openLedgers, storeOf } from './compose.ts'
import type { Config } from './config/resolve.ts'
import type { Control } from './control.ts'
import type { DaemonParts } from './daemon-parts.ts'
import { serverPlaces } from './diagnosis/vitals.ts'
import { serversAddress } from './dns-options.ts'
import type { ServerSockets } from './handover/handover.ts'
import { holdsAddress, machineFacts, machineSize } from './machine.ts'
import type { Membership } from './membership/membership.ts'
import { HostNetwork } from './peers/host-network.ts'
import { PeerPaths } from './peers/peer-paths.ts'
import { hostRecordOf } from './records/host-record.ts'
import { Servers } from './servers.ts'
import { storeMove } from './store-move.ts'

/** How long an engine that does not answer may keep names from being answered. */
const enginePatience = seconds(1)

interface Opened {
  readonly found: ControlParts['found']
  readonly store: Store
}

export class Lifecycle {
  readonly #deps: DaemonParts
  readonly #config: Config
  readonly #stop = new AbortController()
  readonly #stopped = new Promise<void>((resolve) => {
    this.#stop.signal.onabort = () => resolve()
  })
  readonly #ledgers: Ledgers
  readonly #network: HostNetwork
  readonly #paths: PeerPaths
  readonly #size = machineSize()
  readonly #hostname = machineFacts().hostname
  readonly #started
  #membership: Membership
  #control: Control | undefined
  readonly #servers: Servers
  readonly #networkUp = Promise.withResolvers<void>()
  readonly #engineHeard = Promise.withResolvers<void>()
  #serving = false
  #retired: Promise<void> | undefined
  #admin: AdminServer | undefined
  #engine: EngineState | undefined
  #engineVersion = ''
  #starting: Promise<void> | undefined
  #moving = false

  constructor(deps: DaemonParts, config: Config, membership: Membership) {
    const { system, log, meter } = deps
    this.#deps = deps
    this.#config = config
    this.#membership = membership
    this.#started = system.clock.now()
    this.#ledgers = openLedgers(config.state)
    this.#servers = new Servers({ clock: system.clock, log, meter }, config)
    const { applier, pinger, routeMtu: hints, clock } = system
    const links = () => this.#paths.ipsecLinks
    this.#network = new HostNetwork(
      { applier, clock, log, meter, ipsec: links, belongingOf, onApplied: () => this.#applied() },
      {
        names: system.names,
        environment: config.environment,
        tunnel: { name: config.tunnel.interface, mtu: config.tunnel.mtu },
        servers: { address: serversAddress, dnsPort: config.dns.port, metadataPort: config.metadata.port },
      },
    )
    this.#paths = new PeerPaths(
      {
        ...{ pinger, hints, clock, log, meter, ipsec: deps.ipsec },
        environment: () => this.#control?.environment,
        reports: () => [deps.tunnel.peers(), deps.ipsec.peers()],
        onReachability: (reachability) => this.#control?.probed(reachability),
        onPathMtus: (mtus) => this.#network.pathMtus(mtus),
        onSwitch: () => this.#network.refresh(),
      },
      { interface: config.tunnel.interface, mtu: config.tunnel.mtu, wish: config.tunnel.backend },
    )
  }

  /**
   * Resolves when containers of this host are served, or when it was stopped before. `inherited`: of a predecessor;
   * `early`: loaded before, and maybe answering already.
   */
  start(inherited?: ServerSockets, early?: DnsThread): Promise<void> {
    this.#starting = this.#start(inherited, early)
    return this.#starting
  }

  async #start(inherited: ServerSockets | undefined, early: DnsThread | undefined): Promise<void> {
    const { tasks, system, tunnel, ipsec, log } = this.#deps
    // What others take their time for goes first.
    this.#servers.prepare(this.#membership.settings.domain, inherited, early)
    const watched = system.engineWatch.run((state) => this.#heard(state), this.#stop.signal)
    tasks.run('engine watch', watched)
    const [routes, opened] = await Promise.all([system.ip.routes(), this.#open()])
    this.#paths.adopt(routes)
    this.#bind(opened)
    tasks.run(
      'tunnel',
      tunnel.run({ up: () => this.#network.again(), changed: () => this.#control?.publish() }),
    )
    tasks.run('ipsec', ipsec.run({ up: () => this.#network.again(), changed: () => this.#ipsecChanged() }))
    const serving = this.#serve(inherited)
    // Its failure is awaited below.
    serving.catch(() => undefined)
    this.#admin = await startAdmin(this.#actions(), this.#config.admin)
    await serving
    if (!this.#serving) return
    this.#paths.start(tasks)
    log.info('listening', {
      ...serverPlaces(this.#config),
      admin: this.#config.admin,
      engine: system.engineName,
    })
  }

  /** For a successor; undefined while names or metadata are not answered. */
  sockets(): ServerSockets | undefined {
    return this.#serving ? this.#servers.sockets() : undefined
  }

  /** Lets go of all but the servers, which answer what was last known. */
  retire(): Promise<void> {
    this.#retired ??= this.#retire()
    return this.#retired
  }

  async #retire(): Promise<void> {
    this.#stop.abort()
    // What is being made now is closed as well.
    await this.#starting?.catch(() => undefined)
    this.#paths.close()
    await this.#admin?.close()
    await this.#control?.close()
    await this.#network.close()
    this.#deps.tunnel.close()
    await this.#deps.ipsec.close()
    this.#ledgers.journal.close()
    this.#ledgers.snapshots.close()
  }

  /** Ends the daemon; the kernel and the tunnel process go on. */
  async stop(): Promise<void> {
    await this.retire()
    await this.#servers.close()
  }

  /** What a control needs that takes its time. */
  async #open(): Promise<Opened> {
    const { system, log } = this.#deps
    const opening = storeOf(this.#membership.store, this.#config, { clock: system.clock, log })
    const [found, store] = await Promise.all([system.applier.attached(), opening])
    return { found, store }
  }

  #bind({ found, store }: Opened): void {
    const { system, log, meter, tasks, identity, trust } = this.#deps
    this.#control = composeControl(
      {
        system,
        log,
        meter,
        tasks,
        identity,
        trust,
        found,
        ledgers: this.#ledgers,
        config: this.#config,
        started: this.#started,
        hostRecord: (managed) => this.#hostRecord(managed),
        onEnvironment: (environment) => this.#project(environment),
      },
      this.#membership,
      store,
    )
    if (this.#engine !== undefined) this.#control.engine(this.#engine)
    this.#control.start()
  }

  #hostRecord(managed: Ipv4 | undefined): HostRecord {
    const { identity, trust, system } = this.#deps
    const before = this.#control?.environment?.hosts.get(identity.id)?.record
    const facts = {
      managed,
      certificate: trust.keeper.certificate,
      authority: trust.holder.authority?.certificate.fingerprint,
      tunnel: this.#tunnelFacts(before),
      ipsec: this.#deps.ipsec.record(before?.ipsec),
      hostname: this.#hostname,
      size: this.#size,
      engine: this.#engineVersion,
      createdAt: before?.createdAt ?? this.#started,
    }
    return hostRecordOf(identity, this.#config, facts, system.clock.now())
  }

  /** Until the engine has said what it can, it can what it could: a restart changes nothing for the peers. */
  #tunnelFacts(before: HostRecord | undefined) {
    const { engine, capabilities } = this.#deps.tunnel
    const same = before?.wireguardEngine === engine ? before.capabilities : []
    return { wireguardEngine: engine, capabilities: [...(capabilities ?? same)] }
  }

  /** One snapshot in, many projections out. */
  #project(environment: Environment): void {
    this.#paths.observe(environment)
    this.#network.observe(environment)
    this.#deps.tunnel.observe(environment)
    this.#deps.ipsec.observe(environment)
    this.#servers.show(environment)
  }

  /** Whether this host has IPsec: the peers are told, and ways begin or end. */
  #ipsecChanged(): void {
    this.#control?.publish()
    const environment = this.#control?.environment
    if (environment !== undefined) this.#paths.observe(environment)
    this.#network.refresh()
  }

  /** Docker's names are among those that are answered from the first question on. */
  #engineKnown(): Promise<void> {
    const patience = this.#deps.system.clock.after(enginePatience, this.#engineHeard.resolve)
    return this.#engineHeard.promise.finally(() => patience.cancel())
  }

  /** Before the first container is given our address; given up when the daemon is stopped. */
  async #serve(inherited: ServerSockets | undefined): Promise<void> {
    const networkUp = Promise.race([this.#networkUp.promise, this.#stopped])
    await Promise.race([this.#engineKnown(), this.#stopped])
    // A daemon that was killed leaves its network as it was: names need not wait until that has been looked through.
    if (!holdsAddress(formatIpv4(serversAddress))) await networkUp
    if (this.#stop.signal.aborted) return
    const shown = { environment: this.#control?.environment, networks: this.#engine?.networks ?? [] }
    await this.#servers.start(shown, inherited)
    await networkUp
    if (this.#stop.signal.aborted) return
    this.#serving = true
    const environment = this.#control?.environment
    if (environment !== undefined) this.#project(environment)
    if (this.#engine !== undefined) this.#engineChanged(this.#engine, false)
  }

  /** The host's network is as it should be; whether the containers' is, the kernel tells. */
  #applied(): void {
    this.#networkUp.resolve()
    this.#deps.tasks.run('attachments', this.#verifyAttachments())
  }

  async #verifyAttachments(): Promise<void> {
    try {
      const found = await this.#deps.system.applier.attached()
      const complete = found.filter((attachment) => attachment.complete)
      this.#control?.attached(new Map(complete.map(({ inode, address }) => [inode, address])))
    } catch (err) {
      this.#deps.log.debug('attachments could not be read', { err })
    }
  }

  #heard(state: EngineState): void {
    const was = this.#engine?.connected === true
    this.#engine = state
    this.#engineHeard.resolve()
    if (this.#serving) this.#engineChanged(state, was)
  }

  #engineChanged(state: EngineState, was: boolean): void {
    this.#deps.meter.gauge('drover_engine_connected', state.connected ? 1 : 0)
    if (state.connected && !was) {
      this.#deps.tasks.run('engine version', this.#learnEngine())
      this.#network.again()
    }
    this.#control?.engine(state)
    this.#servers.showNetworks(state.networks)
    this.#network.engine(state)
  }

  async #learnEngine(): Promise<void> {
    const { system, log } = this.#deps
    try {
      this.#engineVersion = (await system.engine.version()).version
      this.#control?.publish()
    } catch (err) {
      log.debug('the version of the engine is not known yet', { err })
    }
  }

  #actions(): AdminActions {
    return adminActions({
      parts: this.#deps,
      config: this.#config,
      started: this.#started,
      servers: this.#servers,
      paths: this.#paths,
      network: this.#network,
      ledgers: this.#ledgers,
      now: () => ({
        control: this.#control,
        store: this.#membership.store,
        engine: { connected: this.#engine?.connected === true, version: this.#engineVersion },
        serving: this.#serving,
      }),
      moveStore: (url) => this.#moveStore(url),
    })
  }

  /** Whatever fails leaves this host where it was. */
  async #moveStore(url: string): Promise<{ readonly keys: number }> {
    const { system, log } = this.#deps
    if (this.#moving) throw new DroverError('NOT_NOW', 'the store is being moved already')
    const move = await storeMove({ clock: system.clock, log }, this.#config, this.#membership, url)
    this.#moving = true
    try {
      await this.#control?.close()
      const { membership, keys } = await move.run()
      this.#membership = membership
      return { keys }
    } finally {
      await move.close()
      const control = this.#open()
        .then((opened) => this.#bind(opened))
        .finally(() => {
          this.#moving = false
        })
      // Without a control there is nothing to serve from: that ends the process, and systemd starts it again.
      this.#deps.tasks.run('control after a move', control)
      await control.catch(() => undefined)
    }
  }
}
