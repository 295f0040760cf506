/**
 * The figures of a run as tables, the targets with what was measured, and what the original was recorded with.
 */
import { run } from '../../lab/command.ts'
import { root } from '../../lab/layout.ts'
import { machine, markdown, percentile } from '../table.ts'
import type { Figures } from './figures.ts'

interface Target {
  readonly what: string
  readonly of: (figures: Figures) => number
  readonly bound: number
  readonly most: boolean
}

const share = (one: string, other: string) => (figures: Figures) =>
  (figures[one] ?? Number.NaN) / (figures[other] ?? Number.NaN)
const own = (name: string) => (figures: Figures) => figures[name] ?? Number.NaN

/** Recorded of rancher-metadata 0.10.4 on this kind of machine: listings of 1,000 containers a second, MB at 5,000. */
const original = { listings: 61, memory: 413 }

const targets: readonly Target[] = [
  {
    what: 'scalar: answers/s, drover / node:http',
    of: share('scalar: drover, answers/s', 'scalar: node, answers/s'),
    bound: 0.9,
    most: false,
  },
  {
    what: `listing of 1,000 containers: answers/s, drover / the ${original.listings} of the original`,
    of: (figures) => own('listing: drover, answers/s')(figures) / original.listings,
    bound: 20,
    most: false,
  },
  {
    what: 'one change in 5,000 containers visible, median ms',
    of: own('change: visible, median ms'),
    bound: 20,
    most: true,
  },
  {
    what: `memory with 5,000 containers / the ${original.memory} MB of the original`,
    of: (figures) => (own('memory: 5,000 containers, MiB')(figures) * 1.048576) / original.memory,
    bound: 0.5,
    most: true,
  },
  { what: '10,000 long polls, MiB', of: own('polls: drover, MiB'), bound: 200, most: true },
  {
    what: '10,000 long polls, MiB, drover / node:http',
    of: share('polls: drover, MiB', 'polls: node, MiB'),
    bound: 1.2,
    most: true,
  },
  {
    what: '10,000 long polls, all answered after ms',
    of: own('polls: drover, all answered after ms'),
    bound: 1000,
    most: true,
  },
]

const written = (value: number): string => {
  if (!Number.isFinite(value)) return '–'
  return value >= 100 || Number.isInteger(value) ? value.toFixed(0) : value.toPrecision(3)
}

function medians(rounds: readonly Figures[]): Figures {
  const names = [...new Set(rounds.flatMap((round) => Object.keys(round)))]
  const median = (name: string): number =>
    percentile(rounds.map((round) => round[name] ?? Number.NaN).filter(Number.isFinite), 0.5)
  return Object.fromEntries(names.map((name) => [name, median(name)]))
}

export async function reportOf(
  rounds: readonly Figures[],
  { seconds }: { readonly seconds: number },
): Promise<string> {
  const figures = medians(rounds)
  const commit = await run(['git', '-C', root, 'rev-parse', '--short', 'HEAD'])
  return [
    '# Metadata',
    `${machine()}; commit ${commit.stdout.trim()}; ${new Date().toISOString()}; ${rounds.length} rounds, ${seconds} s each; medians.`,
    markdown(
      ['figure', 'median', 'least', 'most'],
      Object.entries(figures).map(([name, value]) => {
        const all = rounds.map((round) => round[name] ?? Number.NaN).filter(Number.isFinite)
        return [name, written(value), written(Math.min(...all)), written(Math.max(...all))]
      }),
    ),
    markdown(
      ['target', 'bound', 'measured', 'met'],
      targets.map(({ what, of, bound, most }) => {
        const figure = of(figures)
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
  'wrk asks over loopback with one thread and 16 connections, as it did the original; the rest asks from another namespace. *node* and *fastify* answer a constant of the same size;',
  'for polls *node* holds `node:http` requests and answers them all at once. Ours is the daemon’s metadata service',
  'with its thread, beside the resolver where DNS is asked. Memory of polls is what the process grew by. The original (rancher-metadata 0.10.4, Go) is',
  'not run here; recorded of it on this kind of machine: scalar 47,600 answers/s on more than one core, 61 listings/s of',
  '1,000 containers, 413 MB and 460–1,300 ms for a change with 5,000.',
].join('\n')
