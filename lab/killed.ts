/**
 * A daemon that is killed and at once started again, as systemd does it, again and again: how long a host gives no
 * answer. Needs a lab of one host.
 */
import { until } from './command.ts'
import type { LabHost } from './host.ts'
import { lookUp } from './look-up.ts'

export interface KilledOptions {
  readonly times: number
  readonly say: (line: string) => void
}

/** What must come of it, in milliseconds. */
export const killedBound = 2000

const name = 'killed.soak.rancher.internal'

/** Milliseconds without an answer, of each round. */
export async function killedRounds(host: LabHost, { times, say }: KilledOptions): Promise<readonly number[]> {
  await host.managed({ name: 'killed', stack: 'soak', service: 'killed' })
  await answered(host)
  const rounds: number[] = []
  for (let round = 1; round <= times; round++) {
    const killed = performance.now()
    await host.kill('daemon', 'SIGKILL')
    host.launchDaemon()
    const silent = (await answered(host)) - killed
    rounds.push(silent)
    await host.daemonAnswers()
    say(`${round} of ${times}: answers again after ${(silent / 1000).toFixed(2)} s`)
  }
  return rounds
}

/** Waits until the host has answered the name with its address; when it had. Asks rarely: who asks takes processor time too. */
const answered = (host: LabHost): Promise<number> =>
  until(
    `an address of ${name}`,
    async () => ((await lookUp(host, name)).length === 1 ? performance.now() : undefined),
    { patience: 60_000, every: 50 },
  )
