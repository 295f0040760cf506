/**
 * What reports of several measurements have in common: where figures come from, medians of rounds, and the targets with
 * what was measured.
 */
import { run } from '../lab/command.ts'
import { root } from '../lab/layout.ts'
import { machine, markdown, percentile } from './table.ts'

/** The figures of one round, by name; those that a round does not have are left out. */
export type Figures = Readonly<Record<string, number>>

export interface Target {
  readonly what: string
  readonly figure: number
  readonly bound: number
  /** Whether the bound is the most that is allowed, not the least. */
  readonly most: boolean
}

/** The machine, the commit and the time. */
export async function origin(): Promise<string> {
  const commit = await run(['git', '-C', root, 'rev-parse', '--short', 'HEAD'])
  return `${machine()}; commit ${commit.stdout.trim()}; ${new Date().toISOString()}`
}

export const written = (value: number): string => {
  if (!Number.isFinite(value)) return '–'
  return value >= 100 || Number.isInteger(value) ? value.toFixed(0) : value.toPrecision(3)
}

export function mediansOf(rounds: readonly Figures[]): Figures {
  const names = [...new Set(rounds.flatMap((round) => Object.keys(round)))]
  return Object.fromEntries(names.map((name) => [name, percentile(valuesOf(rounds, name), 0.5)]))
}

/** Those that are numbers. */
export const valuesOf = (rounds: readonly Figures[], name: string): readonly number[] =>
  rounds.map((round) => round[name] ?? Number.NaN).filter(Number.isFinite)

export const targetTable = (targets: readonly Target[], cell = written): string =>
  markdown(
    ['target', 'bound', 'measured', 'met'],
    targets.map(({ what, figure, bound, most }) => {
      const met = most ? figure <= bound : figure >= bound
      const verdict = Number.isFinite(figure) ? (met ? 'yes' : 'no') : 'not measured'
      return [what, `${most ? '≤' : '≥'} ${bound}`, cell(figure), verdict]
    }),
  )
