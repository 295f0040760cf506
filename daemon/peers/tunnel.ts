/**
 * The tunnel as the daemon holds it: an engine that outlives it (a process of ours, or the kernel's), a backend that
 * is kept at the peers of the newest snapshot, and what both say for the status.
 */
import type { Environment } from '../../model/environment.ts'
import { reasonOf } from '../../model/errors.ts'
import { type Clock, type Log, type Meter, sleep } from '../../model/ports.ts'
import type { HostId } from '../../model/records.ts'
import { type Millis, seconds } from '../../model/time.ts'
import type { PresharedKeys } from '../../pki/preshared.ts'
import type { PeerState, Vitals } from '../../status/vitals.ts'
import type { Backend, BackendReport, Peer } from '../../tunnel/backend.ts'
import type { EngineChoice } from '../../tunnel/engine-choice.ts'
import { type EngineFacts, offloads } from '../../tunnel/engine-facts.ts'
import type { Keeper } from '../../tunnel/keeper.ts'
import { peersFor } from '../../tunnel/peers.ts'
import { Latest } from '../latest.ts'

export interface TunnelDeps {
  readonly log: Log
  readonly meter: Meter
  readonly clock: Clock
}

export interface TunnelParts extends TunnelDeps {
  readonly keeper: Keeper
  /** Takes away what another engine left under the interface's name; repeated until it works. */
  readonly makeWay: () => Promise<void>
  readonly backend: Backend
  readonly self: HostId
  readonly presharedKeys: PresharedKeys
}

export interface TunnelPlace {
  readonly interface: string
  readonly mtu: number
  readonly choice: EngineChoice
}

export interface TunnelEvents {
  /** The device has come. */
  readonly up: () => void
  /** What this host can publish of its engine has changed. */
  readonly changed: () => void
}

/** Traffic that breaks off shows in two of them (tunnel/traffic.ts). */
const reportEvery = seconds(1)
const wayEvery = seconds(1)

export class Tunnel {
  readonly #parts: TunnelParts
  readonly #place: TunnelPlace
  readonly #peers: Latest<readonly Peer[]>
  readonly #stop = new AbortController()
  #reports: readonly PeerState[] = []
  #facts: EngineFacts | undefined
  /** Undefined until the engine has said. */
  #capabilities: readonly string[] | undefined
  /** Why the engine does not have the newest settings; empty when it has. */
  #problem = ''

  constructor(parts: TunnelParts, place: TunnelPlace) {
    this.#parts = parts
    this.#place = place
    this.#peers = new Latest((peers) => this.#apply(peers), {
      clock: parts.clock,
      onFailure: (error) => this.#refused(reasonOf(error)),
    })
  }

  /** Keeps the engine there until `close`. */
  async run(events: TunnelEvents): Promise<void> {
    const { interface: name, choice } = this.#place
    const reporting = this.#report(events)
    await this.#clearWay()
    await this.#parts.keeper.run(() => {
      this.#parts.log.info('tunnel is up', { interface: name, engine: choice.engine })
      this.#peers.again()
      events.up()
    })
    await reporting
  }

  observe(environment: Environment): void {
    this.#peers.offerData(peersFor(environment, this.#parts.self, this.#parts.presharedKeys))
  }

  state(): Vitals['tunnel'] {
    const { interface: name, mtu, choice } = this.#place
    return {
      interface: name,
      engine: choice.engine,
      wanted: choice.wanted,
      reason: choice.reason,
      running: this.#parts.keeper.running,
      mtu,
      problem: this.#problem,
      facts: this.#facts ?? null,
    }
  }

  /** What this host says of its engine in its record; undefined while that is not known. */
  get capabilities(): readonly string[] | undefined {
    return this.#capabilities
  }

  get engine(): EngineChoice['engine'] {
    return this.#place.choice.engine
  }

  peers(): readonly PeerState[] {
    return this.#reports
  }

  /** The engine goes on. */
  close(): void {
    this.#stop.abort()
    this.#parts.keeper.close()
  }

  /** Why there is no engine; empty when there is one. */
  trouble(why: string): void {
    if (why !== '' && this.#problem !== why) this.#parts.log.warn('the tunnel cannot be set up', { why })
    this.#problem = why
  }

  async #clearWay(): Promise<void> {
    for (let why = 'not yet'; why !== '' && !this.#stop.signal.aborted; ) {
      why = await this.#parts.makeWay().then(() => '', reasonOf)
      this.trouble(why)
      if (why !== '') await this.#sleep(wayEvery)
    }
  }

  async #apply(peers: readonly Peer[]): Promise<void> {
    await this.#parts.backend.apply(peers)
    this.#problem = ''
  }

  /** An engine that is not up yet refuses as well; said once for each reason while it runs. */
  #refused(why: string): void {
    if (!this.#parts.keeper.running) return
    if (this.#problem !== why) this.#parts.log.warn('the tunnel refuses its settings', { why })
    this.#problem = why
  }

  async #report({ changed }: TunnelEvents): Promise<void> {
    const { engine } = this.#place.choice
    for (const one of ['kernel', 'userspace'])
      this.#parts.meter.gauge('drover_tunnel_engine', one === engine ? 1 : 0, { engine: one })
    while (!this.#stop.signal.aborted) {
      if (this.#take(await this.#parts.backend.status().catch(() => undefined))) changed()
      await this.#sleep(reportEvery)
    }
  }

  /** What the engine said last; one that is away says nothing. Answers whether it can something else now. */
  #take(report: BackendReport | undefined): boolean {
    this.#reports = report?.peers ?? []
    this.#facts = report?.facts
    if (report === undefined) return false
    for (const name of offloads) {
      const state = this.#facts?.offloads[name]
      if (state !== undefined)
        this.#parts.meter.gauge('drover_tunnel_offload', state === 'on' ? 1 : 0, { offload: name })
    }
    const before = this.#capabilities
    this.#capabilities = this.#facts?.capabilities ?? []
    return before?.join() !== this.#capabilities.join()
  }

  #sleep(delay: Millis): Promise<void> {
    return sleep(this.#parts.clock, delay, this.#stop.signal).catch(() => undefined)
  }
}
