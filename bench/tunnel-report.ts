import { origin, targetTable } from './report.ts'
import { markdown, percentile } from './table.ts'
import { type Figure, figures, type Round } from './tunnel-figures.ts'
import type { Pair, Role } from './tunnel-pair.ts'

export type Measured = ReadonlyMap<Pair, readonly Round[]>

export interface Conditions {
  readonly seconds: number
  readonly rounds: number
  readonly congestion: string
  readonly busy: number
}

type Of = (role: Role, figure: Figure) => number

/** What it is, its figure, the bound, and whether it may be at most or must be at least that. */
type Target = readonly [what: string, value: (of: Of) => number, sign: '≥' | '≤', bound: number]

const over =
  (figure: Figure, one: Role, other: Role) =>
  (of: Of): number =>
    of(one, figure) / of(other, figure)

const streams =
  (role: Role, back: '' | ', back') =>
  (of: Of): number =>
    of(role, `TCP, 8 streams${back}`) / of(role, `TCP, 1 stream${back}`)

const against = (figure: Figure, sign: '≥' | '≤', bound: number): Target => [
  `${figure}: ours / newest wireguard-go`,
  over(figure, 'ours', 'newest'),
  sign,
  bound,
]

const targets: readonly Target[] = [
  against('TCP, 1 stream', '≥', 1.4),
  against('TCP, 1 stream, back', '≥', 1.4),
  ["TCP, 1 stream: ours / bookworm's wireguard-go", over('TCP, 1 stream', 'ours', 'installed'), '≥', 8],
  ['TCP, 1 stream: ours / kernel-libipsec', over('TCP, 1 stream', 'ours', 'ipsec'), '≥', 7],
  ['TCP: our 8 streams / our 1', streams('ours', ''), '≥', 1],
  ['TCP, back: our 8 streams / our 1', streams('ours', ', back'), '≥', 1],
  ['TCP, 1 stream: marks / newest wireguard-go', over('TCP, 1 stream', 'marks', 'newest'), '≥', 1.8],
  ['TCP, 1 stream: marks / plain veth', over('TCP, 1 stream', 'marks', 'plain'), '≥', 0.3],
  ['moonshot: marks / newest wireguard-go', over('TCP, 1 stream', 'marks', 'newest'), '≥', 2.5],
  ['moonshot: marks / plain veth', over('TCP, 1 stream', 'marks', 'plain'), '≥', 0.45],
  against('UDP, 1,200 bytes, no loss', '≥', 1.5),
  against('UDP, 64 bytes, no loss', '≥', 1.5),
  against('RTT idle, median', '≤', 1),
  against('RTT idle, p99', '≤', 1),
  against('RTT loaded, median', '≤', 1),
  against('RTT loaded, p99', '≤', 1),
  against('CPU per GB', '≤', 1),
]

export async function reportOf(measured: Measured, options: Conditions): Promise<string> {
  const { seconds, rounds, congestion, busy } = options
  const pairs = [...measured.keys()]
  const middle = (pair: Pair | undefined, figure: Figure): number => {
    const values = (pair === undefined ? [] : (measured.get(pair) ?? [])).map((round) => round[figure])
    return percentile(values.filter((value) => value !== undefined).filter(Number.isFinite), 0.5)
  }
  const of: Of = (role, figure) =>
    middle(
      pairs.find(({ contestant }) => contestant.role === role),
      figure,
    )
  const taken = figures.filter(([figure]) => pairs.some((pair) => Number.isFinite(middle(pair, figure))))
  const ours = pairs.at(-1)
  const rows = (cell: (pair: Pair, figure: Figure) => number): readonly (readonly string[])[] =>
    taken.map(([figure, unit]) => [`${figure}, ${unit}`, ...pairs.map((pair) => written(cell(pair, figure)))])
  const head = ['', ...pairs.map(({ contestant }) => contestant.name)]
  return [
    '# Tunnel: two namespaces of one machine, wire of MTU 1500',
    `${await origin()}; ${rounds} rounds in turn, ${seconds} s each; medians; TCP by ${congestion}.${busy > 0 ? ` Beside ${busy} programs that only compute.` : ''}`,
    markdown(
      head,
      rows((pair, figure) => middle(pair, figure)),
    ),
    `${ours?.contestant.name ?? 'ours'} divided by each:`,
    markdown(
      head,
      rows((pair, figure) => middle(ours, figure) / middle(pair, figure)),
    ),
    targetTable(
      targets.map(([what, value, sign, bound]) => ({ what, figure: value(of), bound, most: sign === '≤' })),
      written,
    ),
    notes,
    '',
  ].join('\n\n')
}

const notes = [
  'UDP: sizes of payloads, each datagram on its own, sent and counted by `bench/datagrams.ts` in batches of 64.',
  '*No loss*: the highest rate of which less than 0.1 % is lost; *no limit*: what arrives of a sender that knows',
  'none. RTT: ping every 2 ms, 2,000 of them; loaded: beside one TCP stream. CPU: of both engines, over one stream',
  "there and one back. Memory: the larger engine's. Engines, generators and the kernel share the machine's cores.",
  'The packet thread of drover gives itself nice -10, the others run as they are started.',
].join('\n')

const written = (value: number): string =>
  Number.isFinite(value) ? (value >= 100 ? value.toFixed(0) : value.toFixed(2)) : '–'
