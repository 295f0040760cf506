/**
 * Whom to forward for: containers that were started with `--dns` have resolvers of their own, everybody else the
 * host's. Each list has its own cache, health and questions under way: what one resolver says never reaches
 * somebody who asks another (split horizons).
 */
import { isIpAddress } from '../../model/ip.ts'
import type { Name } from '../codec/name.ts'
import type { View } from '../zone/targets.ts'
import type { Forwarder } from './forwarder.ts'
import type { Upstream, UpstreamStatus } from './upstreams.ts'

const dnsPort = 53

export interface ForwardersDeps {
  /** One that knows no upstream yet. */
  readonly make: () => Forwarder
  /** Addresses that lead back to us. */
  readonly own: readonly string[]
}

export class Forwarders {
  /** The host's. */
  readonly host: Forwarder
  readonly #deps: ForwardersDeps
  readonly #lists = new Map<string, Forwarder>()

  constructor(host: Forwarder, deps: ForwardersDeps) {
    this.host = host
    this.#deps = deps
  }

  /** For an asker with these resolvers; for nobody's own, and for those that cannot be asked from here, the host's. */
  of(resolvers: readonly string[]): Forwarder {
    if (resolvers.length === 0) return this.host
    const list = askableOf(resolvers, this.#deps.own)
    if (list.length === 0) return this.host
    const key = list.map(({ address }) => address).join()
    const known = this.#lists.get(key)
    if (known !== undefined) return known
    const forwarder = this.#deps.make()
    forwarder.use(list)
    forwarder.probeLoops()
    this.#lists.set(key, forwarder)
    return forwarder
  }

  /** Lists that nobody has any more are forgotten. */
  keep(views: Iterable<View>): void {
    if (this.#lists.size === 0) return
    const wanted = new Set<string>()
    for (const { upstreams } of views) {
      const key = askableOf(upstreams, this.#deps.own)
        .map(({ address }) => address)
        .join()
      wanted.add(key)
    }
    for (const key of this.#lists.keys()) if (!wanted.has(key)) this.#lists.delete(key)
  }

  get cached(): number {
    return this.#all.reduce((sum, { cached }) => sum + cached, 0)
  }

  /** Of each upstream once. */
  status(): readonly UpstreamStatus[] {
    const statuses = this.#all.flatMap((forwarder) => forwarder.status())
    return [...new Map(statuses.map((one) => [`${one.address} ${one.port}`, one])).values()]
  }

  /** Whether a question is one of ours that came back. */
  cameBack(name: Name): boolean {
    return this.#all.some((forwarder) => forwarder.cameBack(name))
  }

  get #all(): readonly Forwarder[] {
    return [...this.#lists.values(), this.host]
  }
}

/** Those of a container's resolvers that can be asked from here; its loopback is not ours, and `own` are we. */
export const askableOf = (resolvers: readonly string[], own: readonly string[]): readonly Upstream[] =>
  [...new Set(resolvers)]
    .filter((address) => isIpAddress(address) && !own.includes(address) && !/^(127\.|::1$)/.test(address))
    .map((address) => ({ address, port: dnsPort }))
