/**
 * By which backend each peer is reached: holds what the probes have shown and what was decided by it
 * (tunnel/choice.ts), and says so when a decision changes. Routes, probes and status follow.
 */
import type { Environment } from '../../model/environment.ts'
import type { Ipv4 } from '../../model/ip.ts'
import type { Clock, Log, Meter } from '../../model/ports.ts'
import type { HostId } from '../../model/records.ts'
import {
  type BackendName,
  type BackendWish,
  backendNames,
  type Choice,
  choose,
  type Evidence,
  evidenceAfter,
  type IpsecState,
  isSilent,
  type Preference,
  preferenceFor,
} from '../../tunnel/choice.ts'

/** One backend to one peer. */
export interface Way {
  readonly host: HostId
  readonly name: string
  /** The peer's own address in the environment. */
  readonly address: Ipv4
  readonly backend: BackendName
  /** The interface that leads there. */
  readonly interface: string
  /** Whether its last probe was answered. */
  readonly answers: boolean
  /** None was for so long that it is no bad luck. */
  readonly silent: boolean
}

export interface Chosen {
  readonly backend: BackendName
  /** One sentence. */
  readonly reason: string
}

export interface BackendChooserDeps {
  readonly clock: Clock
  readonly log: Log
  readonly meter: Meter
  /** Undefined where a backend has no interface to a peer. */
  readonly interfaceTo: (host: HostId, backend: BackendName) => string | undefined
  /** Which backend an earlier daemon's routes use. */
  readonly found: (environment: Environment, host: HostId) => BackendName | undefined
  /** Another backend carries the packets to some peer. */
  readonly onChange: () => void
}

interface Peer {
  readonly name: string
  readonly managed: Ipv4 | null
  readonly preference: Preference
  readonly evidence: Partial<Record<BackendName, Evidence>>
  readonly choice: Choice
}

export class BackendChooser {
  readonly #deps: BackendChooserDeps
  readonly #wish: BackendWish
  #peers: ReadonlyMap<HostId, Peer> = new Map()

  constructor(deps: BackendChooserDeps, options: { readonly wish: BackendWish }) {
    this.#deps = deps
    this.#wish = options.wish
  }

  /** The peers that there are now, and whether this host has IPsec. */
  observe(environment: Environment, own: IpsecState): void {
    const peers = new Map<HostId, Peer>()
    for (const { record } of environment.hosts.values()) {
      const { id, name, managed } = record
      if (id === environment.self) continue
      const preference = preferenceFor(this.#wish, own, record)
      const before = this.#peers.get(id)
      const evidence = before?.evidence ?? {}
      const start = before?.choice.standing ?? this.#deps.found(environment, id)
      const choice = choose(preference, evidence, start, this.#deps.clock.boot())
      peers.set(id, { name, managed, preference, evidence, choice })
    }
    this.#take(peers)
  }

  /** What became of probes. */
  heard(answers: ReadonlyMap<Way, boolean>): void {
    const now = this.#deps.clock.boot()
    const peers = new Map(this.#peers)
    for (const [{ host, backend }, answered] of answers) {
      const peer = peers.get(host)
      if (peer === undefined) continue
      const after = evidenceAfter(peer.evidence[backend], answered, now)
      peers.set(host, { ...peer, evidence: { ...peer.evidence, [backend]: after } })
    }
    for (const host of new Set([...answers.keys()].map((way) => way.host))) {
      const peer = peers.get(host)
      if (peer === undefined) continue
      const choice = choose(peer.preference, peer.evidence, peer.choice.standing, now)
      peers.set(host, { ...peer, choice })
    }
    this.#take(peers)
  }

  get chosen(): ReadonlyMap<HostId, Chosen> {
    return new Map([...this.#peers].map(([host, { choice }]) => [host, chosenOf(choice)]))
  }

  /** Every usable backend to every peer that has an address. */
  ways(): readonly Way[] {
    return [...this.#peers].flatMap(([host, { name, managed, preference, evidence }]) =>
      managed === null
        ? []
        : preference.order.flatMap((backend) => {
            const device = this.#deps.interfaceTo(host, backend)
            if (device === undefined) return []
            return [
              { host, name, address: managed, backend, interface: device, ...this.#state(evidence[backend]) },
            ]
          }),
    )
  }

  #state(evidence: Evidence | undefined): Pick<Way, 'answers' | 'silent'> {
    const silent = evidence !== undefined && isSilent(evidence, this.#deps.clock.boot())
    return { answers: evidence?.unanswered === 0, silent }
  }

  #take(peers: ReadonlyMap<HostId, Peer>): void {
    const { log, meter, onChange } = this.#deps
    const before = this.#peers
    this.#peers = peers
    let changed = peers.size !== before.size
    for (const [host, { name, choice }] of peers) {
      const { backend, reason } = chosenOf(choice)
      const old = before.get(host)?.choice.standing.backend
      if (old === backend) continue
      changed = true
      for (const one of backendNames)
        meter.gauge('drover_peer_backend', one === backend ? 1 : 0, { peer: name, backend: one })
      if (old === undefined) continue
      meter.count('drover_backend_switches_total', 1, { peer: name })
      log.info('another backend carries the packets to a peer', { peer: name, backend, why: reason })
    }
    if (changed) onChange()
  }
}

const chosenOf = ({ standing, reason }: Choice): Chosen => ({ backend: standing.backend, reason })
