/**
 * What a daemon does for the trust of the environment as long as it is bound to one store: the door, certificates,
 * removals, the CA itself, and the settings that it stands for.
 */
import type { Update } from '../../store/store.ts'
import type { Tasks } from '../tasks.ts'
import type { Door } from './door.ts'
import type { Promotion } from './promotion.ts'
import type { Removal } from './removal.ts'
import type { Renewal } from './renewal.ts'
import type { SettingsKeeper } from './settings-keeper.ts'
import type { Succession } from './succession.ts'
import type { Tampering } from './tampering.ts'

export interface TrustDutiesParts {
  readonly door: Door
  readonly renewal: Renewal
  readonly removal: Removal
  readonly succession: Succession
  readonly promotion: Promotion
  readonly settings: SettingsKeeper
  readonly tampering: Tampering
}

export class TrustDuties {
  readonly door: Door
  readonly renewal: Renewal
  readonly removal: Removal
  readonly succession: Succession
  readonly promotion: Promotion
  readonly #settings: SettingsKeeper
  readonly #tampering: Tampering

  constructor({ door, renewal, removal, succession, promotion, settings, tampering }: TrustDutiesParts) {
    this.door = door
    this.renewal = renewal
    this.removal = removal
    this.succession = succession
    this.promotion = promotion
    this.#settings = settings
    this.#tampering = tampering
  }

  /** Who tried what in the store, besides its records. */
  get attempts(): Tampering['attempts'] {
    return this.#tampering.attempts
  }

  run(tasks: Tasks): void {
    tasks.run('door', this.door.run())
    tasks.run('renewal', this.renewal.run())
    tasks.run('succession', this.succession.run())
  }

  /** An update that has just come: whom to believe comes before what they say. */
  arrived(update: Update): void {
    this.succession.observe(update)
  }

  /** The same, once its records are judged. */
  updated(update: Update): void {
    this.renewal.observe(update)
    this.removal.observe(update)
    this.promotion.observe(update)
    this.#settings.observe(update)
    this.#tampering.observe(update)
  }

  /** Of what this host has written, although nothing else can have ended it. */
  takenOut(key: string): void {
    this.#tampering.takenOut(key)
  }

  /** A minute has passed. */
  again(): void {
    this.removal.again()
    this.#tampering.again()
  }

  async close(): Promise<void> {
    this.renewal.close()
    await this.door.close()
    await this.removal.settled()
    await this.#settings.settled()
    await this.succession.close()
  }
}
