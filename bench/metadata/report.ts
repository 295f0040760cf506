/**
 * The figures of a run as tables, the targets with what was measured, and what the original was recorded with.
 */
import { type Figures, mediansOf, origin, targetTable, valuesOf, written } from '../report.ts'
import { markdown } from '../table.ts'

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

export async function reportOf(
  rounds: readonly Figures[],
  { seconds }: { readonly seconds: number },
): Promise<string> {
  const figures = mediansOf(rounds)
  return [
    '# Metadata',
    `${await origin()}; ${rounds.length} rounds, ${seconds} s each; medians.`,
    markdown(
      ['figure', 'median', 'least', 'most'],
      Object.entries(figures).map(([name, value]) => {
        const all = valuesOf(rounds, name)
        return [name, written(value), written(Math.min(...all)), written(Math.max(...all))]
      }),
    ),
    targetTable(targets.map(({ of, ...target }) => ({ ...target, figure: of(figures) }))),
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
