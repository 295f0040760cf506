/**
 * The names that Docker's own resolver gives on user-defined networks: an asker on such a network gets the other
 * endpoints of the networks it is on, by name, short id or alias, and by `name.network`.
 */
import type { EngineNetwork } from '../../model/engine.ts'
import { type Ipv4, parseIpv4 } from '../../model/ip.ts'
import type { ContainerId } from '../../model/records.ts'
import type { Name } from '../codec/name.ts'

interface NamedNetwork {
  readonly id: string
  readonly name: Name
  readonly names: ReadonlyMap<Name, readonly Ipv4[]>
}

export class EngineNames {
  readonly #byAddress = new Map<Ipv4, NamedNetwork[]>()
  readonly #byContainer = new Map<ContainerId, NamedNetwork[]>()

  constructor(networks: readonly EngineNetwork[]) {
    for (const network of networks) {
      const named = { id: network.id, name: network.name.toLowerCase(), names: namesOf(network) }
      for (const { container, address } of network.endpoints) {
        add(this.#byContainer, container, named)
        const parsed = parseIpv4(address)
        if (parsed !== undefined) add(this.#byAddress, parsed, named)
      }
    }
  }

  /** Addresses of a name for an asker; undefined when none of its networks knows the name. */
  lookup(
    name: Name,
    asker: { readonly address: Ipv4; readonly container: ContainerId | undefined },
  ): readonly Ipv4[] | undefined {
    for (const network of this.#networksOf(asker)) {
      const found = network.names.get(name) ?? network.names.get(withoutNetwork(name, network.name))
      if (found !== undefined) return found
    }
    return undefined
  }

  /** Equal for askers that get the same names. */
  scopeOf(asker: { readonly address: Ipv4; readonly container: ContainerId | undefined }): string {
    return this.#networksOf(asker)
      .map(({ id }) => id)
      .join()
  }

  #networksOf(asker: {
    readonly address: Ipv4
    readonly container: ContainerId | undefined
  }): readonly NamedNetwork[] {
    const { address, container } = asker
    return (container && this.#byContainer.get(container)) ?? this.#byAddress.get(address) ?? []
  }
}

const withoutNetwork = (name: Name, network: Name): Name =>
  name.endsWith(`.${network}`) ? name.slice(0, -network.length - 1) : name

function namesOf({ endpoints }: EngineNetwork): ReadonlyMap<Name, readonly Ipv4[]> {
  const names = new Map<Name, Ipv4[]>()
  for (const endpoint of endpoints) {
    const address = parseIpv4(endpoint.address)
    if (address === undefined) continue
    for (const name of new Set(endpoint.names.map((text) => text.toLowerCase()))) add(names, name, address)
  }
  return names
}

function add<Key, Value>(map: Map<Key, Value[]>, key: Key, value: Value): void {
  const found = map.get(key)
  if (found === undefined) map.set(key, [value])
  else found.push(value)
}
