/**
 * Of a charon that is silent: whether it hangs or is only slow. One that is asked and wants a processor or a disk most
 * of the time is about to answer, on a machine that is overloaded or emulated; one that wants neither never will. It is
 * asked once more meanwhile, over a new connection: that the caller was not answered may have been the caller's fault.
 */
import { type Clock, sleep } from '../../model/ports.ts'
import { type Millis, millis, seconds } from '../../model/time.ts'

/** What the processes of a charon do at one moment; `gone`: there are none. */
export type Activity = 'busy' | 'idle' | 'gone'
export type Verdict = 'answers' | 'slow' | 'hung' | 'gone'

export interface CharonJudgeDeps {
  /** Resolves when charon answers; rejects once it was silent for `answerWithin`, or at once where it takes no caller. */
  readonly ask: () => Promise<unknown>
  readonly activity: () => Activity
  readonly clock: Clock
}

export interface CharonJudge {
  /** Charon was heard by somebody: what it took before counts no more. */
  heard(): void
  verdict(): Promise<Verdict>
}

/** How long charon may be silent to one who asks. */
export const answerWithin = seconds(2)
const lookEvery = millis(100)
const looks = answerWithin / lookEvery
/** One that runs in circles is busy, too. */
const longestSlow = seconds(60)

export function charonJudge(deps: CharonJudgeDeps): CharonJudge {
  let silentSince: Millis | undefined
  return {
    heard() {
      silentSince = undefined
    },
    async verdict() {
      const now = deps.clock.boot()
      silentSince ??= now
      const patient = now - silentSince < longestSlow
      const seen = await watched(deps)
      if (seen === 'answers') silentSince = undefined
      return seen === 'slow' && !patient ? 'hung' : seen
    },
  }
}

/** What is seen while charon is asked once. */
async function watched({ ask, activity, clock }: CharonJudgeDeps): Promise<Verdict> {
  let answered = false
  const asking = ask().then(
    () => {
      answered = true
    },
    () => undefined,
  )
  const seen: Activity[] = []
  while (!answered && seen.at(-1) !== 'gone' && seen.length < looks) {
    await sleep(clock, lookEvery)
    seen.push(activity())
  }
  await asking
  if (answered) return 'answers'
  if (seen.at(-1) === 'gone') return 'gone'
  return seen.filter((one) => one === 'busy').length * 2 >= looks ? 'slow' : 'hung'
}
