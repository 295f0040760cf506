/**
 * The figures of a run as tables: medians, ours divided by each, the targets with what was measured.
 */
import { type Figures, mediansOf, origin, targetTable, written } from '../report.ts'
import { markdown } from '../table.ts'
import { targets } from './figures.ts'

export interface Run {
  readonly seconds: number
  readonly rounds: number
  readonly services: number
  readonly containers: number
  readonly domain: string
}

type Measured = ReadonlyMap<string, readonly Figures[]>

export async function reportOf(measured: Measured, given: Run): Promise<string> {
  const columns = [...measured].map(([name, rounds]) => ({ name, round: mediansOf(rounds) }))
  const ours = columns.at(-1)?.round ?? {}
  const names = Object.keys(ours)
  const table = (cell: (name: string, round: Figures) => number): string =>
    markdown(
      ['', ...columns.map(({ name }) => name)],
      names.map((name) => [name, ...columns.map(({ round }) => written(cell(name, round)))]),
    )
  const dnsmasq = columns.find(({ name }) => name.startsWith('dnsmasq'))?.round ?? {}
  return [
    `# DNS: ${given.services} services of ${given.containers} containers`,
    `${await origin()}; ${given.rounds} rounds in turn, ${given.seconds} s each; medians.`,
    table((name, round) => round[name] ?? Number.NaN),
    'Ours divided by each:',
    table((name, round) => (ours[name] ?? Number.NaN) / (round[name] ?? Number.NaN)),
    targetTable(targets.map(({ value, ...target }) => ({ ...target, figure: value(ours, dnsmasq) }))),
    notes,
    '',
  ].join('\n\n')
}

const notes = [
  'dnsperf asks from another namespace with one thread: 400 questions under way of 20 sockets, 2,000 of 100 at 50 k/s.',
  'Every server has one thread for answers. Processor time is the whole process of the server, kernel included.',
  '*Cached*: 1,000 names that an upstream beyond the server answers, all asked before. dnsmasq forks for TCP.',
].join('\n')
