/**
 * Puts the settings of the environment back into a store that has lost them or holds others, where this host holds the CA: whoever
 * runs `drover init` there must see that the environment exists.
 */
import { reasonOf } from '../../model/errors.ts'
import type { Keys } from '../../model/keys.ts'
import type { Log, Sealer } from '../../model/ports.ts'
import { decodeRecord, encodeRecord, type Settings, settingsSchema } from '../../model/records.ts'
import { openEnvelope } from '../../pki/envelope.ts'
import type { Store, Update } from '../../store/store.ts'
import { valueAt } from '../records/value-at.ts'

export interface SettingsKeeperDeps {
  readonly store: Store
  readonly sealer: Sealer
  readonly holds: () => boolean
  readonly log: Log
}

export class SettingsKeeper {
  readonly #deps: SettingsKeeperDeps
  readonly #keys: Keys
  readonly #settings: Settings
  #writing: Promise<void> = Promise.resolve()

  constructor(deps: SettingsKeeperDeps, keys: Keys, settings: Settings) {
    this.#deps = deps
    this.#keys = keys
    this.#settings = settings
  }

  observe(update: Update): void {
    if (update.is === 'stale' || !this.#deps.holds()) return
    const value = valueAt(this.#keys.settings, update)
    if (value !== 'unchanged' && !this.#isTheirs(value))
      this.#writing = this.#writing.then(() => this.#write())
  }

  /** Resolves when nothing is being written. */
  settled(): Promise<void> {
    return this.#writing
  }

  #isTheirs(value: Uint8Array | undefined): boolean {
    const opened = value === undefined ? undefined : openEnvelope(value)
    return opened?.is === 'ok' && says(opened.value.body, this.#settings)
  }

  async #write(): Promise<void> {
    const { store, sealer, log } = this.#deps
    const key = this.#keys.settings
    try {
      const value = sealer.seal(key, this.#settings)
      await store.transact([], [{ is: 'put', key, value }])
      log.warn('the store did not hold the settings of the environment; they are written again')
    } catch (error) {
      log.debug('the settings of the environment wait', { why: reasonOf(error) })
    }
  }
}

/** Whether the body of an envelope is what all hosts have agreed on, whoever of them wrote it. */
export function says(body: string, settings: Settings): boolean {
  const decoded = decodeRecord(settingsSchema, body)
  return decoded.is === 'ok' && encodeRecord(decoded.value) === encodeRecord(settings)
}
