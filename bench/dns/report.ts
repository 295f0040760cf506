/**
 * The figures of a run as tables: medians, ours divided by each, the targets with what was measured.
 */
import { run } from '../../lab/command.ts'
import { root } from '../../lab/layout.ts'
import { machine, markdown, percentile } from '../table.ts'
import { type Round, targets } from './figures.ts'

export interface Run {
  readonly seconds: number
  readonly rounds: number
  readonly services: number
  readonly containers: number
  readonly domain: string
}

type Measured = ReadonlyMap<string, readonly Round[]>

const written = (value: number): string => {
  if (!Number.isFinite(value)) return '–'
  return value >= 100 || Number.isInteger(value) ? value.toFixed(0) : value.toPrecision(3)
}

function medianOf(rounds: readonly Round[]): Round {
  const names = [...new Set(rounds.flatMap((round) => Object.keys(round)))]
  const median = (name: string): number =>
    percentile(rounds.map((round) => round[name] ?? Number.NaN).filter(Number.isFinite), 0.5)
  return Object.fromEntries(names.map((name) => [name, median(name)]))
}

export async function reportOf(measured: Measured, given: Run): Promise<string> {
  const columns = [...measured].map(([name, rounds]) => ({ name, round: medianOf(rounds) }))
  const ours = columns.at(-1)?.round ?? {}
  const names = Object.keys(ours)
  const table = (cell: (name: string, round: Round) => number): string =>
    markdown(
      ['', ...columns.map(({ name }) => name)],
      names.map((name) => [name, ...columns.map(({ round }) => written(cell(name, round)))]),
    )
  const dnsmasq = columns.find(({ name }) => name.startsWith('dnsmasq'))?.round ?? {}
  const commit = await run(['git', '-C', root, 'rev-parse', '--short', 'HEAD'])
  return [
    `# DNS: ${given.services} services of ${given.containers} containers`,
    `${machine()}; commit ${commit.stdout.trim()}; ${new Date().toISOString()}; ${given.rounds} rounds in turn, ${given.seconds} s each; medians.`,
    table((name, round) => round[name] ?? Number.NaN),
    'Ours divided by each:',
    table((name, round) => (ours[name] ?? Number.NaN) / (round[name] ?? Number.NaN)),
    markdown(
      ['target', 'bound', 'measured', 'met'],
      targets.map(({ what, value, bound, most }) => {
        const figure = value(ours, dnsmasq)
        const met = most ? figure <= bound : figure >= bound
        const verdict = Number.isFinite(figure) ? (met ? 'yes' : 'no') : 'not measured'
        return [what, `${most ? '≤' : '≥'} ${bound}`, written(figure), verdict]
      }),
    ),
    notes,
    '',
  ].join('\n\n')
}

const notes = [
  'dnsperf asks from another namespace with one thread: 400 questions under way of 20 sockets, 2,000 of 100 at 50 k/s.',
  'Every server has one thread for answers. Processor time is the whole process of the server, kernel included.',
  '*Cached*: 1,000 names that an upstream beyond the server answers, all asked before. dnsmasq forks for TCP.',
].join('\n')
