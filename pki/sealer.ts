/**
 * Seals the records of one host with a counter that never goes back, not even after kill -9: numbers are
 * reserved on disk by the thousand before the first of them is used, so that a seal costs no fsync.
 */
import { DroverError } from '../model/errors.ts'
import type { Ledger, Sealer } from '../model/ports.ts'
import { sealRecord } from './envelope.ts'
import type { HostIdentity } from './identity.ts'

interface Deps {
  readonly identity: HostIdentity
  /** Holds the counter under the key `sealed`. */
  readonly ledger: Ledger
}

const ledgerKey = 'sealed'
const reserve = 1000

export class EnvelopeSealer implements Sealer {
  readonly #deps: Deps
  #next: number
  #reserved: number

  constructor(deps: Deps) {
    this.#deps = deps
    const text = deps.ledger.entries().get(ledgerKey) ?? '0'
    if (!/^\d{1,15}$/.test(text))
      throw new DroverError('STORE_CORRUPT', `the counter is ${JSON.stringify(text)}`)
    this.#reserved = Number(text)
    this.#next = this.#reserved + 1
  }

  seal(key: string, body: object): Uint8Array {
    if (this.#next > this.#reserved) this.#reserveMore()
    const counter = this.#next
    this.#next++
    return sealRecord(this.#deps.identity, key, body, counter)
  }

  /** Goes on after a number that this host is known to have used: its ledger may be lost. */
  raise(counter: number): void {
    if (counter < this.#next) return
    this.#next = counter + 1
    this.#reserved = counter
  }

  #reserveMore(): void {
    const reserved = this.#reserved + reserve
    this.#deps.ledger.write(new Map([[ledgerKey, String(reserved)]]))
    this.#reserved = reserved
  }
}
