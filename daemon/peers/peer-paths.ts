/**
 * The ways to the peers: which backend each is reached by, who answers, and packets of which size pass. Probes find
 * out, the host's network follows, status tells.
 */
import type { Pinger } from '../../linux/icmp.ts'
import type { PathHints } from '../../linux/route-mtu.ts'
import type { Environment, Reachability } from '../../model/environment.ts'
import type { Cidr, Ipv4 } from '../../model/ip.ts'
import type { Clock, Log, Meter } from '../../model/ports.ts'
import type { HostId } from '../../model/records.ts'
import type { Millis } from '../../model/time.ts'
import { routesOf } from '../../network/host-plan.ts'
import { type IpsecLinks, linkTo, noIpsec } from '../../network/ipsec-plan.ts'
import type { PeerState } from '../../status/vitals.ts'
import type { BackendName, BackendWish, IpsecState } from '../../tunnel/choice.ts'
import type { Tasks } from '../tasks.ts'
import { BackendChooser, type Chosen } from './backend-chooser.ts'
import { PathProber } from './path-prober.ts'
import { Prober } from './prober.ts'

/** What the choice needs to know of IPsec on this host. */
export interface IpsecSide {
  readonly state: IpsecState
  /** The interfaces by which it leads to the peers that have it. */
  links(environment: Environment): Pick<IpsecLinks, 'links' | 'device'>
}

export interface PeerPathsDeps {
  readonly pinger: Pick<Pinger, 'probe'>
  readonly hints: PathHints
  readonly clock: Clock
  readonly log: Log
  readonly meter: Meter
  readonly ipsec: IpsecSide
  readonly environment: () => Environment | undefined
  /** What each backend reported last; the same array until it reports again. */
  readonly reports: () => readonly (readonly PeerState[])[]
  readonly onReachability: (reachability: ReadonlyMap<HostId, Reachability>) => void
  readonly onPathMtus: (mtus: ReadonlyMap<HostId, number>) => void
  /** Some peer is reached by another interface now. */
  readonly onSwitch: () => void
}

export interface PeerPathsOptions {
  /** WireGuard's device. */
  readonly interface: string
  readonly mtu: number
  readonly wish: BackendWish
}

export class PeerPaths {
  readonly #deps: PeerPathsDeps
  readonly #options: PeerPathsOptions
  readonly #chooser: BackendChooser
  readonly #prober: Prober
  readonly #pathProber: PathProber
  /** Destination → interface, as an earlier daemon left the routes. */
  #found: ReadonlyMap<string, string> = new Map()
  #links: Pick<IpsecLinks, 'links' | 'device'> = noIpsec
  #reported: { readonly parts: readonly unknown[]; readonly all: readonly PeerState[] } | undefined

  constructor(deps: PeerPathsDeps, options: PeerPathsOptions) {
    const { clock, log, meter } = deps
    this.#deps = deps
    this.#options = options
    this.#chooser = new BackendChooser(
      {
        clock,
        log,
        meter,
        interfaceTo: (host, backend) => this.#interfaceTo(host, backend),
        found: (environment, host) => this.#foundFor(environment, host),
        onChange: deps.onSwitch,
      },
      { wish: options.wish },
    )
    const ways = () => this.#chooser.ways()
    this.#prober = new Prober({
      echo: {
        probe: (asked, { timeout, onAnswers }) =>
          deps.pinger.probe(asked, { ...this.#probeOptions(timeout), onAnswers }),
      },
      clock,
      log,
      meter,
      ways,
      environment: deps.environment,
      onHeard: (answers) => this.#chooser.heard(answers),
      onResult: deps.onReachability,
    })
    this.#pathProber = new PathProber(
      {
        echo: { probe: (asked, { timeout }) => deps.pinger.probe(asked, this.#probeOptions(timeout)) },
        hints: deps.hints,
        clock,
        log,
        meter,
        ways,
        peers: () => this.reports(),
        onChange: deps.onPathMtus,
      },
      { mtu: options.mtu },
    )
  }

  /** The routes that were there before this daemon: what they use goes on. */
  adopt(routes: readonly { readonly to: Cidr | 'default'; readonly device: string | undefined }[]): void {
    this.#found = new Map(routes.map(({ to, device }) => [to, device ?? '']))
  }

  /** To be told before the host's network is. */
  observe(environment: Environment): void {
    const { ipsec } = this.#deps
    this.#links = ipsec.links(environment)
    this.#chooser.observe(environment, ipsec.state)
  }

  start(tasks: Tasks): void {
    tasks.run('probes', this.#prober.run())
    tasks.run('path MTU probes', this.#pathProber.run())
  }

  close(): void {
    this.#prober.close()
    this.#pathProber.close()
  }

  /** What the host's network needs to know of IPsec. */
  get ipsecLinks(): IpsecLinks {
    const chosen = [...this.chosen].filter(([, { backend }]) => backend === 'ipsec')
    return { ...this.#links, chosen: new Set(chosen.map(([host]) => host)) }
  }

  get chosen(): ReadonlyMap<HostId, Chosen> {
    return this.#chooser.chosen
  }

  get lastSeen(): ReadonlyMap<HostId, number> {
    return this.#prober.lastSeen
  }

  get mtus(): ReadonlyMap<HostId, number> {
    return this.#pathProber.mtus
  }

  /** Of all backends; the same array until one of them reports again. */
  reports(): readonly PeerState[] {
    const parts = this.#deps.reports()
    const before = this.#reported
    if (before !== undefined && parts.every((part, at) => part === before.parts[at])) return before.all
    this.#reported = { parts, all: parts.flat() }
    return this.#reported.all
  }

  #interfaceTo(host: HostId, backend: BackendName): string | undefined {
    return backend === 'wireguard' ? this.#options.interface : linkTo(this.#links, host)
  }

  #foundFor(environment: Environment, host: HostId): BackendName | undefined {
    const devices = routesOf(environment)
      .filter((route) => route.host === host)
      .map(({ to }) => this.#found.get(to))
    const byIpsec = linkTo(this.#links, host)
    if (byIpsec !== undefined && devices.includes(byIpsec)) return 'ipsec'
    return devices.includes(this.#options.interface) ? 'wireguard' : undefined
  }

  #probeOptions(timeout: Millis): { readonly timeout: Millis; readonly source?: Ipv4 } {
    const environment = this.#deps.environment()
    const managed = environment?.hosts.get(environment.self)?.record.managed
    return managed == null ? { timeout } : { timeout, source: managed }
  }
}
