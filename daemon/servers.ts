/**
 * DNS and metadata of this host: started once their address is there, shown what is new, and given to a successor.
 */
import { type Dns, type DnsDeps, type PreparedDns, prepareDns } from '../dns/dns.ts'
import type { DnsThread } from '../dns/thread.ts'
import { type Metadata, startMetadata } from '../metadata/thread.ts'
import type { EngineNetwork } from '../model/engine.ts'
import type { Environment } from '../model/environment.ts'
import { formatIpv4 } from '../model/ip.ts'
import type { Config } from './config/resolve.ts'
import { dnsOptionsOf, serversAddress } from './dns-options.ts'
import type { ServerSockets } from './handover/handover.ts'

export interface Shown {
  readonly environment: Environment | undefined
  readonly networks: readonly EngineNetwork[]
}

export class Servers {
  readonly #deps: DnsDeps
  readonly #config: Pick<Config, 'dns' | 'metadata' | 'run'>
  #prepared: PreparedDns | undefined
  #dns: Dns | undefined
  #metadata: Metadata | undefined

  constructor(deps: DnsDeps, config: Pick<Config, 'dns' | 'metadata' | 'run'>) {
    this.#deps = deps
    this.#config = config
  }

  /** Undefined before the start. */
  get dns(): Dns | undefined {
    return this.#dns
  }

  /** Loads what answers, on the sockets of a predecessor where they fit, while the rest of the daemon starts. */
  prepare(domain: string, sockets: ServerSockets | undefined, early: DnsThread | undefined): void {
    const options = { ...dnsOptionsOf(this.#config, domain), inherited: sockets?.dns }
    this.#prepared = prepareDns(this.#deps, options, early)
  }

  /** DNS answers of `shown` from the first question on. */
  async start({ environment, networks }: Shown, sockets: ServerSockets | undefined): Promise<void> {
    this.#dns = await this.#prepared?.start(environment, networks)
    const options = { ...this.#config.metadata, inherited: sockets?.metadata }
    this.#metadata = await startMetadata(this.#deps, { address: formatIpv4(serversAddress), ...options })
  }

  show(environment: Environment): void {
    this.#dns?.apply(environment)
    this.#metadata?.apply(environment)
  }

  showNetworks(networks: readonly EngineNetwork[]): void {
    this.#dns?.applyNetworks(networks)
  }

  /** Has the metadata service's counters brought up to date. */
  async count(): Promise<void> {
    await this.#metadata?.stats()
  }

  /** For a successor to inherit; undefined unless both answer. */
  sockets(): ServerSockets | undefined {
    const dns = this.#dns?.sockets()
    const metadata = this.#metadata?.socket()
    if (dns === undefined || metadata === undefined) return undefined
    return { ports: portsOf(this.#config), dns, metadata }
  }

  async close(): Promise<void> {
    await Promise.all([this.#prepared?.close(), this.#metadata?.close()])
  }
}

/** What sockets must be bound to for one to go on with those of the other. */
export const portsOf = ({ dns, metadata }: Pick<Config, 'dns' | 'metadata'>): string =>
  `${dns.port} ${metadata.port}`
