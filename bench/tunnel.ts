/**
 * Userspace tunnels side by side: plain veth, wireguard-go as Debian stable has it and as Debian's archive has it
 * newest, and ours, each between two namespaces of its own, measured in turn (A B A B), medians and ratios.
 * Figures depend on the machine and on what else it does; ratios less so.
 */
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { run } from '../lab/command.ts'
import { node, root } from '../lab/layout.ts'
import { DroverError } from '../model/errors.ts'
import { isRoot, NetnsWorld, type TestNetns, until } from '../test/support/netns.ts'
import { keep, machine, markdown, percentile } from './table.ts'
import { type Contestant, cpuSeconds, memory, type Pair, pairOf, removeSockets } from './tunnel-pair.ts'
import { installedWireguardGo, newestWireguardGo } from './wireguard-go.ts'

/** What is measured, and its unit. */
const figures = [
  ['TCP, 1 stream', 'Gb/s'],
  ['TCP, 1 stream, back', 'Gb/s'],
  ['TCP, 8 streams', 'Gb/s'],
  ['TCP, 8 streams, back', 'Gb/s'],
  ['UDP, 1,200 bytes', 'kpps'],
  ['RTT idle, median', 'µs'],
  ['RTT idle, p99', 'µs'],
  ['RTT loaded, median', 'µs'],
  ['RTT loaded, p99', 'µs'],
  ['CPU per GB', 's'],
  ['memory', 'MiB'],
] as const
type Figure = (typeof figures)[number][0]
type Round = Partial<Record<Figure, number>>

export const tunnelUsage =
  'npm run bench -- tunnel [--seconds 3] [--rounds 3] [--only drover,2026] [--against FOLDER]'

export async function benchTunnel(args: readonly string[]): Promise<void> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      seconds: { type: 'string', default: '3' },
      rounds: { type: 'string', default: '3' },
      only: { type: 'string', default: '' },
      against: { type: 'string' },
    },
  })
  if (!isRoot) throw new DroverError('NOT_ROOT', 'network namespaces')
  const [seconds, rounds] = [Number(values.seconds), Number(values.rounds)]
  if (!(seconds >= 1 && rounds >= 1)) throw new DroverError('USAGE', tunnelUsage)
  const names = values.only.split(',')
  const wanted = (await contestants(values.against)).filter(({ name }) =>
    names.some((one) => name.includes(one)),
  )
  const world = await NetnsWorld.open()
  try {
    const pairs: Pair[] = []
    for (const contestant of wanted) pairs.push(await pairOf(world, contestant))
    const measured = await measureAll(world, pairs, { seconds, rounds })
    const text = await report(measured, { seconds, rounds })
    say(`\n${text}`)
    say(`kept in ${keep('tunnel', text)}`)
  } finally {
    await world.close()
    removeSockets()
  }
}

const say = (line: string): void => void process.stdout.write(`${line}\n`)

async function contestants(against: string | undefined): Promise<readonly Contestant[]> {
  const drover = (folder: string): readonly string[] => [node, join(folder, 'cli', 'wireguard.ts'), '-f']
  const [installed, newest] = [await installedWireguardGo(), await newestWireguardGo()]
  if (installed === undefined) say('wireguard-go is not installed and is left out')
  if (newest === undefined) say('the newest wireguard-go cannot be fetched from the archive and is left out')
  const programs = [installed, newest].filter((one) => one !== undefined)
  return [
    { name: 'plain veth', command: undefined },
    ...programs.map(({ path, version }) => ({ name: `wireguard-go ${version}`, command: [path, '-f'] })),
    ...(against === undefined ? [] : [{ name: `drover in ${against}`, command: drover(against) }]),
    { name: 'drover', command: drover(root) },
  ]
}

interface Length {
  readonly seconds: number
  readonly rounds: number
}
type Measured = ReadonlyMap<Pair, readonly Round[]>

async function measureAll(world: NetnsWorld, pairs: readonly Pair[], length: Length): Promise<Measured> {
  const measured = new Map<Pair, Round[]>(pairs.map((pair) => [pair, []]))
  // The first seconds warm up the compilers of both sides and TCP's memory of the path.
  for (const pair of pairs) await iperf(world, pair, 1, [])
  for (let number = 1; number <= length.rounds; number++) {
    for (const pair of pairs) {
      const round = await measure(world, pair, length.seconds)
      measured.get(pair)?.push(round)
      const speed = round['TCP, 1 stream']?.toFixed(2)
      say(`round ${number}, ${pair.contestant.name}: ${speed} Gb/s`)
    }
  }
  return measured
}

async function measure(world: NetnsWorld, pair: Pair, seconds: number): Promise<Round> {
  const cpu = cpuSeconds(pair)
  const single = await iperf(world, pair, seconds, [])
  const spent = cpuSeconds(pair) - cpu
  const back = await iperf(world, pair, seconds, ['-R'])
  const many = await iperf(world, pair, seconds, ['-P', '8'])
  const manyBack = await iperf(world, pair, seconds, ['-P', '8', '-R'])
  const udp = await iperf(world, pair, seconds, ['-u', '-b', '0', '-l', '1200'])
  const idle = await roundTrips(pair, 300)
  const load = iperf(world, pair, 2, [])
  const loaded = await roundTrips(pair, 300)
  await load
  const gigabits = (bytesPerSecond: number): number => (bytesPerSecond * 8) / 1e9
  return {
    'TCP, 1 stream': gigabits(single.rate),
    'TCP, 1 stream, back': gigabits(back.rate),
    'TCP, 8 streams': gigabits(many.rate),
    'TCP, 8 streams, back': gigabits(manyBack.rate),
    'UDP, 1,200 bytes': udp.rate / 1200 / 1000,
    'RTT idle, median': percentile(idle, 0.5),
    'RTT idle, p99': percentile(idle, 0.99),
    'RTT loaded, median': percentile(loaded, 0.5),
    'RTT loaded, p99': percentile(loaded, 0.99),
    ...(pair.engines.length === 0
      ? {}
      : { 'CPU per GB': (spent / single.bytes) * 1e9, memory: memory(pair) }),
  }
}

let lastPort = 5200

/** What arrived: bytes, and bytes per second. */
async function iperf(world: NetnsWorld, pair: Pair, seconds: number, more: readonly string[]) {
  const port = String(++lastPort)
  const server = world.spawn(pair.other, ['iperf3', '-s', '-1', '--forceflush', '-p', port])
  let said = ''
  server.stdout?.on('data', (chunk) => {
    said += String(chunk)
  })
  await until('iperf3 listening', () => said.includes('listening'))
  const words = ['iperf3', '-J', '-c', pair.target, '-p', port, '-t', String(seconds), ...more]
  const { end } = JSON.parse(await inside(pair.one, words)) as IperfReport
  const { bytes, seconds: took, lost_percent: lost = 0 } = end.sum_received ?? end.sum
  const arrived = end.sum_received === undefined ? bytes * (1 - lost / 100) : bytes
  return { bytes: arrived, rate: arrived / took }
}

interface IperfSum {
  readonly bytes: number
  readonly seconds: number
  readonly lost_percent?: number
}
interface IperfReport {
  readonly end: { readonly sum_received?: IperfSum; readonly sum: IperfSum }
}

async function roundTrips(pair: Pair, count: number): Promise<readonly number[]> {
  const words = ['ping', '-n', '-i', '0.005', '-c', String(count), '-W', '2', pair.target]
  const lines = (await inside(pair.one, words)).matchAll(/time=([\d.]+) ms/g)
  return Array.from(lines, ([, millis]) => Number(millis) * 1000)
}

async function inside(space: TestNetns, words: readonly string[]): Promise<string> {
  return (await run(words, { namespace: space.name })).stdout
}

async function report(measured: Measured, { seconds, rounds }: Length): Promise<string> {
  const pairs = [...measured.keys()]
  const middle = (pair: Pair, figure: Figure): number => {
    const values = (measured.get(pair) ?? []).map((round) => round[figure] ?? Number.NaN)
    return percentile(values.filter(Number.isFinite), 0.5)
  }
  const ours = pairs.at(-1)
  const rows = figures.map(([figure, unit]) => [
    `${figure}, ${unit}`,
    ...pairs.map((pair) => written(middle(pair, figure))),
  ])
  const ratios = figures.map(([figure]) => [
    figure,
    ...pairs.map((pair) => (ours === undefined ? '' : written(middle(ours, figure) / middle(pair, figure)))),
  ])
  const commit = await run(['git', '-C', root, 'rev-parse', '--short', 'HEAD'])
  const names = pairs.map(({ contestant }) => contestant.name)
  return [
    '# Tunnel: two namespaces of one machine, wire of MTU 1500',
    `${machine()}; commit ${commit.stdout.trim()}; ${new Date().toISOString()}; ${rounds} rounds in turn, ${seconds} s each; medians.`,
    markdown(['', ...names], rows),
    'Ours divided by each:',
    markdown(['', ...names], ratios),
    'UDP is what arrives while the sender sends without limit. CPU is that of both engines during one stream.',
    '',
  ].join('\n\n')
}

const written = (value: number): string =>
  Number.isFinite(value) ? (value >= 100 ? value.toFixed(0) : value.toFixed(2)) : '–'
