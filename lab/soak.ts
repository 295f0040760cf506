/**
 * `npm run lab -- soak cut`: many rounds of cut.ts in a lab of its own, judged and kept as figures.
 */
import { keep, machine, markdown, percentile } from '../bench/table.ts'
import { cutBounds, cutRounds, seconds } from './cut.ts'
import { Lab } from './lab.ts'
import { placeOf } from './layout.ts'
import { sweep } from './sweep.ts'

const name = 'soak'

/** The exit code: 1 when some round took longer than it may. */
export async function soakCut(times: number, say: (line: string) => void): Promise<number> {
  try {
    const lab = await Lab.up({ name, hosts: 2, store: 'etcd', say })
    const rounds = await cutRounds(lab, { times, say })
    const rows = (['left', 'back'] as const).map((what) => {
      const values = rounds.map((round) => round[what])
      const late = values.filter((value) => value > cutBounds[what]).length
      const cells = [percentile(values, 0.5), percentile(values, 1), cutBounds[what]].map(seconds)
      return {
        late,
        cells: [what === 'left' ? 'gone after the cut' : 'back after the heal', ...cells, `${late}`],
      }
    })
    const table = markdown(
      ['seconds', 'median', 'worst', 'bound', 'rounds over it'],
      rows.map(({ cells }) => cells),
    )
    const head = `# A host cut off for 30 s, ${times} times`
    const text = `${head}\n\n${machine()}; ${new Date().toISOString()}.\n\n${table}\n`
    say(`\n${text}\nkept in ${keep('soak-cut', text)}`)
    return rows.every(({ late }) => late === 0) ? 0 : 1
  } finally {
    await sweep(placeOf(name))
  }
}
