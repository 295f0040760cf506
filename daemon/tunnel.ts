/**
 * The tunnel as the daemon holds it: a process that outlives it, a backend that is kept at the peers of the
 * newest snapshot, and what both say for the status.
 */
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import type { Environment } from '../model/environment.ts'
import { reasonOf } from '../model/errors.ts'
import { type Clock, type Log, type Meter, sleep } from '../model/ports.ts'
import type { HostId } from '../model/records.ts'
import { seconds } from '../model/time.ts'
import type { HostIdentity } from '../pki/identity.ts'
import type { PeerState, Vitals } from '../status/status.ts'
import type { Backend, Peer } from '../tunnel/backend.ts'
import { peersFor } from '../tunnel/peers.ts'
import { TunnelProcess } from '../tunnel/tunnel-process.ts'
import { UapiClient } from '../tunnel/uapi-client.ts'
import { WireguardBackend } from '../tunnel/wireguard-backend.ts'
import type { Config } from './config/resolve.ts'
import { Latest } from './latest.ts'

export interface TunnelDeps {
  readonly log: Log
  readonly meter: Meter
  readonly clock: Clock
}

interface TunnelParts extends TunnelDeps {
  readonly process: TunnelProcess
  readonly backend: Backend
  readonly self: HostId
}

export interface TunnelPlace {
  readonly interface: string
  readonly mtu: number
  readonly socket: string
}

const engine = 'userspace'
const reportEvery = seconds(2)
const removalDeadline = seconds(5)

export class Tunnel {
  readonly #parts: TunnelParts
  readonly #place: TunnelPlace
  readonly #peers: Latest<readonly Peer[]>
  readonly #stop = new AbortController()
  #reports: readonly PeerState[] = []
  /** Of the peers that were offered last. */
  #signature = ''
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

  /** Keeps the process up until `close`; calls `onUp` whenever its device has come. */
  async run(onUp: () => void): Promise<void> {
    const reporting = this.#report()
    await this.#parts.process.run(() => {
      this.#parts.log.info('tunnel is up', { interface: this.#place.interface })
      this.#peers.again()
      onUp()
    })
    await reporting
  }

  observe(environment: Environment): void {
    const peers = peersFor(environment, this.#parts.self)
    const signature = JSON.stringify(peers)
    if (signature === this.#signature) return
    this.#signature = signature
    this.#peers.offer(peers)
  }

  state(): Vitals['tunnel'] {
    const { interface: name, mtu } = this.#place
    return { interface: name, engine, running: this.#parts.process.running, mtu, problem: this.#problem }
  }

  peers(): readonly PeerState[] {
    return this.#reports
  }

  /** The process goes on. */
  close(): void {
    this.#stop.abort()
    this.#parts.process.close()
  }

  async #apply(peers: readonly Peer[]): Promise<void> {
    await this.#parts.backend.apply(peers)
    this.#problem = ''
  }

  /** A process that is not up yet refuses as well; said once for each reason while it runs. */
  #refused(why: string): void {
    if (this.#parts.process.running && this.#problem !== why)
      this.#parts.log.warn('the tunnel refuses its settings', { why })
    this.#problem = why
  }

  /** What the engine said last; an engine that is away says nothing. */
  async #report(): Promise<void> {
    while (!this.#stop.signal.aborted) {
      this.#reports = await this.#parts.backend.status().catch(() => [])
      await sleep(this.#parts.clock, reportEvery, this.#stop.signal).catch(() => undefined)
    }
  }
}

export interface TunnelIdentity {
  readonly identity: HostIdentity
  /** The process is systemd's: we only wait for it. */
  readonly external: boolean
}

export function composeTunnel(
  deps: TunnelDeps,
  config: Config,
  { identity, external }: TunnelIdentity,
): Tunnel {
  const { interface: name, port, sockets, mtu } = config.tunnel
  const socket = tunnelSocket(config)
  const client = new UapiClient(socket)
  const program = [process.execPath, join(import.meta.dirname, '../cli/wireguard.ts'), '-f', name]
  const environment = {
    ...process.env,
    NOTIFY_SOCKET: undefined,
    DROVER_TUNNEL_SOCKETS: sockets,
    DROVER_TUNNEL_STATE: join(config.state, `${name}.state`),
    DROVER_TUNNEL_PERSIST: '1',
    DROVER_TUNNEL_MTU: String(mtu),
  }
  const runner = new TunnelProcess(
    { ...deps, client },
    { command: external ? [] : program, environment, logFile: join(config.state, 'tunnel.log') },
  )
  const backend = new WireguardBackend(client, { privateKey: identity.wireguardPrivate, port })
  return new Tunnel(
    { ...deps, process: runner, backend, self: identity.id },
    { interface: name, mtu, socket },
  )
}

const tunnelSocket = (config: Config): string =>
  join(config.tunnel.sockets, `${config.tunnel.interface}.sock`)

/** Ends a tunnel process, whoever started it: it ends when its socket is removed. */
export async function endTunnel(config: Config, clock: Clock): Promise<void> {
  const client = new UapiClient(tunnelSocket(config))
  const give = new AbortController()
  const held = await client.hold(give.signal).catch(() => undefined)
  rmSync(tunnelSocket(config), { force: true })
  if (held !== undefined) await Promise.race([held.ended, sleep(clock, removalDeadline)])
  give.abort()
}
