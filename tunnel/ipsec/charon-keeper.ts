/**
 * Keeps a charon of ours there and at its work: finds the one that runs or has one started (a process, or the unit of
 * systemd), calls whoever configures it, and lets the backend mend what broke. Charon outlives the daemon.
 */
import { reasonOf } from '../../model/errors.ts'
import { type Clock, type Log, sleep } from '../../model/ports.ts'
import { seconds } from '../../model/time.ts'
import type { Keeper } from '../keeper.ts'

export interface CharonKeeperDeps {
  /** Finds charon or starts it (tunnel-process.ts). */
  readonly charon: Keeper
  /** One look, and what mends it. */
  readonly tend: () => Promise<void>
  readonly clock: Clock
  readonly log: Log
}

const tendEvery = seconds(2)

export class CharonKeeper implements Keeper {
  readonly #deps: CharonKeeperDeps
  readonly #stop = new AbortController()

  constructor(deps: CharonKeeperDeps) {
    this.#deps = deps
  }

  get running(): boolean {
    return this.#deps.charon.running
  }

  async run(up: () => void): Promise<void> {
    await Promise.all([this.#deps.charon.run(up), this.#tend()])
  }

  close(): void {
    this.#stop.abort()
    this.#deps.charon.close()
  }

  async #tend(): Promise<void> {
    const { clock, log, tend } = this.#deps
    let said = ''
    while (!this.#stop.signal.aborted) {
      await sleep(clock, tendEvery, this.#stop.signal).catch(() => undefined)
      if (!this.running || this.#stop.signal.aborted) continue
      const why = await tend().then(() => '', reasonOf)
      if (why !== '' && why !== said) log.warn('charon cannot be tended', { why })
      said = why
    }
  }
}
