/**
 * `npm run lab -- soak KIND`: many rounds of cut.ts or killed.ts in a lab of its own, judged and kept as figures.
 */
import { keep, machine, markdown, percentile } from '../bench/table.ts'
import { cutBounds, cutRounds } from './cut.ts'
import { killedBound, killedRounds } from './killed.ts'
import { Lab } from './lab.ts'
import { placeOf } from './layout.ts'
import { sweep } from './sweep.ts'

type Say = (line: string) => void

interface Row {
  readonly what: string
  /** Milliseconds, of each round. */
  readonly values: readonly number[]
  readonly bound: number
}

interface Kind {
  readonly title: string
  /** Of its lab, which kinds do not share: one ends what it finds there. And of what is kept. */
  readonly name: string
  readonly hosts: number
  readonly rounds: (lab: Lab, times: number, say: Say) => Promise<readonly Row[]>
}

const cut: Kind = {
  title: 'A host cut off for 30 s',
  name: 'soak-cut',
  hosts: 2,
  rounds: async (lab, times, say) => {
    const rounds = await cutRounds(lab, { times, say })
    return [
      { what: 'gone after the cut', values: rounds.map(({ left }) => left), bound: cutBounds.left },
      { what: 'back after the heal', values: rounds.map(({ back }) => back), bound: cutBounds.back },
    ]
  },
}

const kill: Kind = {
  title: 'A daemon killed with -9 and started again',
  name: 'soak-kill',
  hosts: 1,
  rounds: async (lab, times, say) => {
    const values = await killedRounds(lab.host(1), { times, say })
    return [{ what: 'DNS answers again', values, bound: killedBound }]
  },
}

export const soaks: Readonly<Record<string, Kind>> = { cut, kill }

/** The exit code: 1 when some round took longer than it may. */
export async function soakOf({ title, name, hosts, rounds }: Kind, times: number, say: Say): Promise<number> {
  try {
    const lab = await Lab.up({ name, hosts, store: 'etcd', say })
    const rows = await rounds(lab, times, say)
    const late = ({ values, bound }: Row): number => values.filter((value) => value > bound).length
    const table = markdown(
      ['seconds', 'median', 'worst', 'bound', 'rounds over it'],
      rows.map((row) => [
        row.what,
        ...[percentile(row.values, 0.5), percentile(row.values, 1), row.bound].map(seconds),
        `${late(row)}`,
      ]),
    )
    const head = `# ${title}, ${times} times`
    const text = `${head}\n\n${machine()}; ${new Date().toISOString()}.\n\n${table}\n`
    say(`\n${text}\nkept in ${keep(name, text)}`)
    return rows.every((row) => late(row) === 0) ? 0 : 1
  } finally {
    await sweep(placeOf(name))
  }
}

const seconds = (value: number): string => (value / 1000).toFixed(1)
