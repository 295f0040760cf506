/**
 * IPsec as the daemon holds it: a charon that outlives it, a backend that is kept at the peers of the newest snapshot,
 * and what both say: to the choice of backends, to the host's record, and to the status.
 */
import type { Environment } from '../../model/environment.ts'
import { errorTable } from '../../model/error-table.ts'
import { type DroverError, reasonOf } from '../../model/errors.ts'
import { type Clock, type Log, sleep } from '../../model/ports.ts'
import type { HostId, HostRecord } from '../../model/records.ts'
import { type Millis, seconds } from '../../model/time.ts'
import type { IpsecLinks } from '../../network/ipsec-plan.ts'
import { type Finding, warningIn } from '../../status/finding.ts'
import type { IpsecVitals, PeerState } from '../../status/vitals.ts'
import type { Backend, Peer } from '../../tunnel/backend.ts'
import type { BackendWish, IpsecState } from '../../tunnel/choice.ts'
import { type Esp, hasIpsec } from '../../tunnel/ipsec/connections.ts'
import { ifIdsOf, xfrmInterfaceOf } from '../../tunnel/ipsec/if-id.ts'
import type { Keeper } from '../../tunnel/keeper.ts'
import { peersFor } from '../../tunnel/peers.ts'
import { Latest } from '../latest.ts'

export interface IpsecTunnelDeps {
  readonly keeper: Keeper
  readonly backend: Backend
  /** The device that charon encrypts for; undefined where it has none. */
  readonly device: () => string | undefined
  readonly clock: Clock
  readonly log: Log
}

export interface IpsecPlace {
  readonly self: HostId
  readonly port: number
  readonly esp: Esp
  readonly wish: BackendWish
}

export interface IpsecEvents {
  /** Its interfaces may have come. */
  readonly up: () => void
  /** Whether this host has IPsec, or what it can publish of it, has changed. */
  readonly changed: () => void
}

/** They take strongSwan 6.0.2 and Linux 6.13, and a backend that keeps several SAs per peer: ours keeps one. */
const perCpu = false

/** The largest packet that `kernel-libipsec` reads. */
export const userspaceMtu = 1400

const reportEvery = seconds(1)
/** SAs in the kernel go on without charon, and it is back within seconds: no reason to leave them, or to say so. */
const patience = seconds(30)

export class IpsecTunnel {
  readonly #deps: IpsecTunnelDeps
  readonly #place: IpsecPlace
  readonly #peers: Latest<readonly Peer[]>
  readonly #stop = new AbortController()
  #reports: readonly PeerState[] = []
  #faults: readonly DroverError[] = []
  #trouble: DroverError | undefined
  #hasRun = false
  /** Stays while charon is away: what leads into it is left by those who choose. */
  #device: string | undefined
  #awaySince: Millis

  constructor(deps: IpsecTunnelDeps, place: IpsecPlace) {
    this.#deps = deps
    this.#place = place
    this.#awaySince = deps.clock.boot()
    this.#peers = new Latest((peers) => deps.backend.apply(peers), {
      clock: deps.clock,
      onFailure: (error) => deps.log.debug('charon was not told of its peers', { why: reasonOf(error) }),
    })
  }

  /** Keeps charon there until `close`. */
  async run({ up, changed }: IpsecEvents): Promise<void> {
    const { keeper, log } = this.#deps
    const reporting = this.#report(changed)
    await keeper.run(() => {
      log.info('charon is up', { backend: 'ipsec', engine: this.#place.esp })
      this.#hasRun = true
      const before = this.#device
      this.#device = this.#deps.device()
      if (this.#device !== before) changed()
      this.#peers.again()
      up()
    })
    await reporting
  }

  observe(environment: Environment): void {
    this.#peers.offerData(peersFor(environment, this.#place.self).filter(hasIpsec))
  }

  /** Why charon does not start; undefined when it may. */
  trouble(fault: DroverError | undefined): void {
    if (fault !== undefined && fault.message !== this.#trouble?.message)
      this.#deps.log.warn('charon cannot be started', { why: fault.message })
    this.#trouble = fault
  }

  get state(): IpsecState {
    const { keeper, clock } = this.#deps
    if (keeper.running) return { is: this.#place.esp }
    if (this.#trouble !== undefined) return { is: 'none', why: errorTable[this.#trouble.code].says }
    if (clock.boot() - this.#awaySince < patience) return { is: this.#place.esp }
    return { is: 'none', why: 'charon does not answer' }
  }

  /** The interfaces by which it leads to the peers that have it, too. */
  links(environment: Environment): Pick<IpsecLinks, 'links' | 'device'> {
    const { esp, self } = this.#place
    if (this.state.is === 'none') return { links: new Map(), device: undefined }
    if (esp === 'userspace') {
      // An earlier daemon's charon has one already, and carries.
      this.#device ??= this.#deps.device()
      return { links: new Map(), device: this.#device }
    }
    const peers = peersFor(environment, self).filter(hasIpsec)
    const numbers = ifIdsOf(
      environment.settings.name,
      peers.map(({ host }) => host),
    )
    return {
      device: undefined,
      links: new Map([...numbers].map(([host, ifId]) => [host, { name: xfrmInterfaceOf(ifId), ifId }])),
    }
  }

  /** What the host's record says; `before`: what it said last. A charon that has never answered is not told of. */
  record(before: HostRecord['ipsec']): HostRecord['ipsec'] {
    if (this.state.is === 'none') return undefined
    const { port, esp } = this.#place
    return this.#hasRun || before?.esp === esp ? { port, esp } : undefined
  }

  peers(): readonly PeerState[] {
    return this.#reports
  }

  vitals(): IpsecVitals {
    const { is } = this.state
    const why = this.state.is === 'none' ? this.state.why : ''
    return { esp: is === 'none' ? null : is, running: this.#deps.keeper.running, reason: why, perCpu }
  }

  /** What keeps it from working. Where nobody asked for it, a charon that is not installed is not missed. */
  problems(nameOf: (host: HostId) => string): readonly Finding[] {
    const trouble = this.#trouble
    const isMissed = trouble?.code !== 'IPSEC_MISSING' || this.#place.wish === 'ipsec'
    return [...(trouble !== undefined && isMissed ? [trouble] : []), ...this.#faults].map(
      ({ message, fields, remedy }) => {
        const peer = typeof fields.peer === 'string' ? ` to ${nameOf(fields.peer as HostId)}` : ''
        return warningIn('tunnel', `IPsec${peer}: ${message}`, `${remedy}; WireGuard carries meanwhile`)
      },
    )
  }

  /** Charon goes on. */
  async close(): Promise<void> {
    this.#stop.abort()
    this.#deps.keeper.close()
    await this.#peers.close()
    await this.#deps.backend.close()
  }

  async #report(changed: () => void): Promise<void> {
    const { backend, keeper, clock } = this.#deps
    for (let said = ''; !this.#stop.signal.aborted; ) {
      if (keeper.running) this.#awaySince = clock.boot()
      const report = keeper.running ? await backend.status().catch(() => undefined) : undefined
      this.#reports = report?.peers ?? []
      this.#faults = report?.problems ?? []
      const now = JSON.stringify([this.state, this.#hasRun])
      if (said !== now) changed()
      said = now
      await sleep(clock, reportEvery, this.#stop.signal).catch(() => undefined)
    }
  }
}
