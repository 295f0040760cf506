/**
 * A host that is cut off for half a minute, again and again: how long its names stay in the answers of the others,
 * and how soon they are back once it is healed. Needs a lab of two hosts with etcd.
 */
import { setTimeout as pause } from 'node:timers/promises'
import { until } from './command.ts'
import * as faults from './faults.ts'
import type { LabHost } from './host.ts'
import type { Lab } from './lab.ts'
import { lookUp } from './look-up.ts'

export interface CutRound {
  /** Milliseconds from the cut until the name was gone. */
  readonly left: number
  /** Milliseconds from the heal until it was there again. */
  readonly back: number
}

export interface CutOptions {
  readonly times: number
  readonly say: (line: string) => void
}

/** What must come of it, in milliseconds. */
export const cutBounds = { left: 15_000, back: 3000 } as const

const duration = 30_000 // ms
const name = 'cut.soak.rancher.internal'

/** Starts a container of one service on each of two hosts, then cuts the second host off. */
export async function cutRounds(lab: Lab, { times, say }: CutOptions): Promise<readonly CutRound[]> {
  const [near, far] = [lab.host(1), lab.host(2)]
  for (const host of [near, far])
    await host.managed({ name: `cut-${host.place.name}`, stack: 'soak', service: 'cut' })
  const rounds: CutRound[] = []
  for (let round = 1; round <= times; round++) {
    await answers(near, 2)
    rounds.push(await cutOnce(lab, near, far))
    const { left, back } = rounds.at(-1) ?? { left: 0, back: 0 }
    say(`${round} of ${times}: gone after ${seconds(left)} s, back after ${seconds(back)} s`)
  }
  return rounds
}

const seconds = (value: number): string => (value / 1000).toFixed(1)

async function cutOnce(lab: Lab, near: LabHost, far: LabHost): Promise<CutRound> {
  const port = far.place.name
  const began = performance.now()
  await faults.cut(lab.place, port)
  try {
    const left = await answers(near, 1)
    await pause(Math.max(0, duration - (performance.now() - began)))
    const healed = performance.now()
    await faults.heal(lab.place, port)
    return { left: left - began, back: (await answers(near, 2)) - healed }
  } finally {
    await faults.heal(lab.place, port)
  }
}

/** Waits until the host answers the name with so many addresses; when it did. */
function answers(host: LabHost, count: number): Promise<number> {
  return until(
    `${count} addresses of ${name}`,
    async () => {
      const asked = performance.now()
      return (await lookUp(host, name)).length === count ? asked : undefined
    },
    { patience: 60_000, every: 50 },
  )
}
