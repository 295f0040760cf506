/**
 * Whether charon is well, beyond that it runs: it answers, and the device that it encrypts for is there. A connection
 * that is held for as long as both are so; what does not get well by itself is ended, and whoever keeps charon starts
 * another. One that is slow is waited for. Who is silent before it was ever held is looked at in charon-place.ts.
 */
import { type Clock, type Log, sleep } from '../../model/ports.ts'
import { seconds } from '../../model/time.ts'
import type { CharonJudge } from './charon-judge.ts'
import { isSilence, type Vici } from './vici-client.ts'

export interface CharonWatchDeps {
  /** A connection that ends when charon is silent for `answerWithin`. */
  readonly connect: () => Promise<Vici>
  readonly judge: CharonJudge
  /** The device that charon encrypts for; undefined where the kernel does, or charon has none. */
  readonly device: () => string | undefined
  /** Ends charon. */
  readonly end: () => Promise<void>
  readonly clock: Clock
  readonly log: Log
}

const askEvery = seconds(1)

/** The way tunnel-process.ts looks at an engine: something that ends when charon does. */
export function watchCharon(deps: CharonWatchDeps) {
  return {
    async hold(signal: AbortSignal): Promise<{ readonly ended: Promise<void> }> {
      const vici = await deps.connect()
      deps.judge.heard()
      const stop = new AbortController()
      const give = (): void => vici.close()
      signal.addEventListener('abort', give, { once: true })
      if (signal.aborted) give()
      const watching = watch(vici, deps, { ended: stop.signal, given: signal })
      const ended = vici.ended.then(() => {
        signal.removeEventListener('abort', give)
        stop.abort()
        return watching
      })
      return { ended }
    },
  }
}

interface Signals {
  /** The connection has ended. */
  readonly ended: AbortSignal
  /** Nobody wants it held any more. */
  readonly given: AbortSignal
}

/** Until the connection ends. */
async function watch(vici: Vici, deps: CharonWatchDeps, { ended, given }: Signals): Promise<void> {
  const { clock, device, end, log } = deps
  for (let before = device(); !ended.aborted; ) {
    await sleep(clock, askEvery, ended).catch(() => undefined)
    const failure = await failureOf(vici.request('version'))
    if (failure !== undefined) {
      if (isSilence(failure) && (await hangs(deps, given))) {
        log.warn('charon does not answer any more; starting it again')
        await end()
      }
      return vici.close()
    }
    const now = device()
    if (before !== undefined && now === undefined) {
      log.warn('the device of IPsec was removed; starting charon again', { interface: before })
      await end()
      return vici.close()
    }
    before = now
  }
}

const failureOf = (asked: Promise<unknown>): Promise<unknown> =>
  asked.then(
    () => undefined,
    (error: unknown) => error,
  )

async function hangs({ judge, log }: CharonWatchDeps, given: AbortSignal): Promise<boolean> {
  let verdict = await judge.verdict()
  if (verdict === 'slow') log.info('charon is slow to answer; waiting for it')
  while (verdict === 'slow' && !given.aborted) verdict = await judge.verdict()
  return verdict === 'hung' && !given.aborted
}
