/**
 * Puts the settings of the environment back into a store that has lost them, where this host holds the CA: whoever
 * runs `drover init` there must see that the environment exists.
 */
import { reasonOf } from '../model/errors.ts'
import type { Keys } from '../model/keys.ts'
import type { Log, Sealer } from '../model/ports.ts'
import type { Settings } from '../model/records.ts'
import type { Store, Update } from '../store/store.ts'
import { valueAt } from './value-at.ts'

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
    if (valueAt(this.#keys.settings, update) === undefined)
      this.#writing = this.#writing.then(() => this.#write())
  }

  /** Resolves when nothing is being written. */
  settled(): Promise<void> {
    return this.#writing
  }

  async #write(): Promise<void> {
    const { store, sealer, log } = this.#deps
    const key = this.#keys.settings
    try {
      const value = sealer.seal(key, this.#settings)
      await store.transact([{ key, is: 'absent' }], [{ is: 'put', key, value }])
      log.warn('the store had lost the settings of the environment; they are written again')
    } catch (error) {
      log.debug('the settings of the environment wait', { why: reasonOf(error) })
    }
  }
}
