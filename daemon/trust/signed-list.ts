/**
 * A list in the store that the CA has signed: what stands there is opened and kept on disk. One that does not verify
 * is counted and changes nothing; one that the disk refuses is heard again later.
 */
import { reasonOf } from '../../model/errors.ts'
import type { Log, Meter } from '../../model/ports.ts'
import type { Decoded } from '../../model/records.ts'
import type { Update } from '../../store/store.ts'
import { valueAt } from '../records/value-at.ts'

export interface SignedListDeps<List> {
  readonly open: (value: Uint8Array) => Decoded<List>
  /** Puts it on disk, where it is newer; throws where the disk refuses. */
  readonly keep: (list: List, value: Uint8Array) => void
  /** What stands now; undefined where nothing does that counts. */
  readonly onHeard: (list: List | undefined) => void
  readonly log: Log
  readonly meter: Meter
}

export interface SignedListOptions {
  readonly key: string
  /** What it is in the metric of rejected records. */
  readonly kind: string
  /** What it is in the metric of failures. */
  readonly work: string
}

export class SignedList<List> {
  readonly #deps: SignedListDeps<List>
  readonly #options: SignedListOptions
  /** What the disk has refused. */
  #owed: Uint8Array | undefined

  constructor(deps: SignedListDeps<List>, options: SignedListOptions) {
    this.#deps = deps
    this.#options = options
  }

  /** What the watch says of the list. */
  observe(update: Update): void {
    if (update.is === 'stale') return
    const value = valueAt(this.#options.key, update)
    if (value === 'unchanged') return
    this.#hear(value)
  }

  /** Time has passed: what the disk refused is heard again. */
  again(): void {
    if (this.#owed !== undefined) this.#hear(this.#owed)
  }

  #hear(value: Uint8Array | undefined): void {
    this.#owed = undefined
    const opened = value === undefined ? undefined : this.#deps.open(value)
    if (opened?.is === 'bad') this.#refuse(opened.why)
    if (opened?.is === 'ok' && value !== undefined) this.#keep(opened.value, value)
    this.#deps.onHeard(opened?.is === 'ok' ? opened.value : undefined)
  }

  #keep(list: List, value: Uint8Array): void {
    try {
      this.#deps.keep(list, value)
    } catch (error) {
      this.#owed = value
      this.#deps.meter.count('drover_failures_total', 1, { what: this.#options.work })
      this.#deps.log.warn('a list of the CA could not be kept', {
        key: this.#options.key,
        why: reasonOf(error),
      })
    }
  }

  #refuse(why: string): void {
    this.#deps.meter.count('drover_records_rejected_total', 1, { why: this.#options.kind })
    this.#deps.log.warn('record in the store ignored', { key: this.#options.key, why })
  }
}
