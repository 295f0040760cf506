/**
 * Askers by number: equal numbers get equal answers. A number is never given to something else, so that what is
 * remembered by it cannot be mistaken.
 */
import type { Ipv4 } from '../../model/ip.ts'
import type { Asker } from '../zone/targets.ts'
import { everybody } from '../zone/views.ts'
import type { EngineNames } from './engine-names.ts'

const maxAddresses = 10_000

export class Perspectives {
  readonly #byAddress = new Map<Ipv4, number>()
  #byKey = new Map<string, number>()
  #next = 1
  #askers: ReadonlyMap<Ipv4, Asker> = new Map()
  #engine: EngineNames | undefined

  /** What addresses stand for from now on. */
  see(askers: ReadonlyMap<Ipv4, Asker> = new Map(), engine: EngineNames | undefined): void {
    this.#byAddress.clear()
    this.#askers = askers
    this.#engine = engine
  }

  of(address: Ipv4): number {
    const known = this.#byAddress.get(address)
    if (known !== undefined) return known
    if (this.#byAddress.size >= maxAddresses) this.#byAddress.clear()
    const number = this.#numberOf(address)
    this.#byAddress.set(address, number)
    return number
  }

  #numberOf(address: Ipv4): number {
    const asker = this.#askers.get(address)
    const scope = this.#engine?.scopeOf({ address, container: asker?.container }) ?? ''
    const key = `${scope} ${asker?.view ?? everybody}`
    const known = this.#byKey.get(key)
    if (known !== undefined) return known
    if (this.#byKey.size >= maxAddresses) this.#byKey = new Map()
    this.#byKey.set(key, this.#next)
    return this.#next++
  }
}
