/**
 * Tries one thing after the other without giving up on those before: the first good outcome wins and ends the
 * others. One that fails starts the next at once.
 */
import type { Clock } from '../../model/ports.ts'
import type { Millis } from '../../model/time.ts'

export interface Trial<T> {
  /** How long the trial before it is waited for. */
  readonly after: Millis
  run(signal: AbortSignal): Promise<T>
}

export interface HedgeOptions<T> {
  readonly deadline: Millis
  readonly isGood: (value: T) => boolean
}

/** The first good value; else the last one that came; else undefined, at the latest at the deadline. */
export function hedge<T>(
  clock: Clock,
  trials: readonly Trial<T>[],
  { deadline, isGood }: HedgeOptions<T>,
): Promise<T | undefined> {
  return new Promise((resolve) => {
    const stop = new AbortController()
    let next = 0
    let open = 0
    let last: T | undefined
    let timer = clock.after(deadline, () => end(last))
    const overall = timer
    const end = (value: T | undefined): void => {
      overall.cancel()
      timer.cancel()
      stop.abort()
      resolve(value)
    }
    const failed = (): void => {
      open -= 1
      if (stop.signal.aborted) return
      if (next < trials.length) start()
      else if (open === 0) end(last)
    }
    const start = (): void => {
      const trial = trials[next]
      if (trial === undefined) return
      next += 1
      open += 1
      trial.run(stop.signal).then((value) => {
        if (isGood(value)) return end(value)
        last = value
        failed()
      }, failed)
      if (timer !== overall) timer.cancel()
      const following = trials[next]
      if (following !== undefined) timer = clock.after(following.after, start)
    }
    if (trials.length === 0) end(undefined)
    else start()
  })
}
