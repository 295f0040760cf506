/**
 * Whether charon is well, beyond that it runs: it answers, and the device that it encrypts for is there. A connection
 * that is held for as long as both are so; what does not get well by itself is ended, and whoever keeps charon starts
 * another.
 */
import { type Clock, type Log, sleep } from '../../model/ports.ts'
import { seconds } from '../../model/time.ts'
import type { Vici } from './vici-client.ts'

export interface CharonWatchDeps {
  /** A connection that ends when charon is silent for `answerWithin`. */
  readonly connect: () => Promise<Vici>
  /** The device that charon encrypts for; undefined where the kernel does, or charon has none. */
  readonly device: () => string | undefined
  /** Ends charon. */
  readonly end: () => Promise<void>
  readonly clock: Clock
  readonly log: Log
}

const askEvery = seconds(1)
/** Three in a row, each over a new connection, until charon is taken for hung (tunnel-process.ts): within 10 s. */
export const answerWithin = seconds(2)

/** The way tunnel-process.ts looks at an engine: something that ends when charon does. */
export function watchCharon(deps: CharonWatchDeps) {
  return {
    async hold(signal: AbortSignal): Promise<{ readonly ended: Promise<void> }> {
      const vici = await deps.connect()
      const stop = new AbortController()
      const give = (): void => vici.close()
      signal.addEventListener('abort', give, { once: true })
      if (signal.aborted) give()
      const watching = watch(vici, deps, stop.signal)
      const ended = vici.ended.then(() => {
        signal.removeEventListener('abort', give)
        stop.abort()
        return watching
      })
      return { ended }
    },
  }
}

/** Until the connection ends. */
async function watch(vici: Vici, deps: CharonWatchDeps, ended: AbortSignal): Promise<void> {
  const { clock, device, end, log } = deps
  for (let before = device(); !ended.aborted; ) {
    await sleep(clock, askEvery, ended).catch(() => undefined)
    const answers = await vici.request('version').then(
      () => true,
      () => false,
    )
    if (!answers) return vici.close()
    const now = device()
    if (before !== undefined && now === undefined) {
      log.warn('the device of IPsec was removed; starting charon again', { interface: before })
      await end()
      return vici.close()
    }
    before = now
  }
}
