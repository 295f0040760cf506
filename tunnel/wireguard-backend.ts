/**
 * WireGuard as a backend: keeps an engine that speaks UAPI at the peers that it was told last. Reads what the
 * engine has before it changes anything, so that applying twice, or after a restart of either side, is the same.
 */
import type { HostId } from '../model/records.ts'
import type { Backend, BackendReport, Peer } from './backend.ts'
import { changesTo, endpointText, type OwnSide, readState } from './uapi-peers.ts'

/** An engine as UAPI shows it: a process behind its socket (uapi-client.ts), or the kernel (kernel-engine.ts). */
export interface EngineSocket {
  get(): Promise<string>
  set(lines: readonly string[]): Promise<void>
}

export class WireguardBackend implements Backend {
  /** Outer IPv6 header, UDP header, transport header and tag (paper 5.4.6); padding stays within the MTU. */
  readonly overhead = 40 + 8 + 16 + 16
  readonly #engine: EngineSocket
  readonly #own: OwnSide
  readonly #name: string
  readonly #applied = new Map<string, string>()
  #hosts: ReadonlyMap<string, HostId> = new Map()
  #last: Promise<void> = Promise.resolve()

  /** `name`: which engine it is, for the reports. */
  constructor(engine: EngineSocket, own: OwnSide, name: 'kernel' | 'userspace' = 'userspace') {
    this.#engine = engine
    this.#own = own
    this.#name = name
  }

  /** One after the other; rejects with TUNNEL_UNAVAILABLE while the engine does not answer. */
  apply(peers: readonly Peer[]): Promise<void> {
    const turn = this.#last.then(() => this.#converge(peers))
    this.#last = turn.catch(() => undefined)
    return turn
  }

  async status(): Promise<BackendReport> {
    const { peers, facts } = readState(await this.#engine.get())
    const reports = peers.flatMap(({ publicKey, presharedKey, endpoint, lastHandshake, received, sent }) => {
      const host = this.#hosts.get(publicKey)
      if (host === undefined) return []
      const facts = { endpoint, lastHandshake, received, sent, preshared: presharedKey !== '' }
      return [{ host, backend: 'wireguard', engine: this.#name, ...facts }]
    })
    return { peers: reports, facts }
  }

  /** Waits for what is under way. The engine goes on with its peers. */
  close(): Promise<void> {
    return this.#last
  }

  async #converge(peers: readonly Peer[]): Promise<void> {
    this.#hosts = new Map(peers.map(({ publicKey, host }) => [publicKey, host]))
    const lines = changesTo(this.#own, peers, readState(await this.#engine.get()), this.#applied)
    if (lines.length > 0) await this.#engine.set(lines)
    this.#applied.clear()
    for (const peer of peers) this.#applied.set(peer.publicKey, endpointText(peer))
  }
}
