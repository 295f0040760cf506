/**
 * Userspace tunnels side by side, each between two namespaces of its own, measured in turn (A B A B), medians,
 * ratios and targets. Figures depend on the machine and on what else it does; ratios less so.
 */
import { readFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { DroverError, reasonOf } from '../model/errors.ts'
import { benchPackages, installPackages, missingPackages } from '../setup/packages.mjs'
import { isRoot } from '../test/support/netns.ts'
import { iperf } from './iperf.ts'
import { contestants } from './peers/contestants.ts'
import { inScene, type Scene } from './scene.ts'
import { keep } from './table.ts'
import { groups, type Measure, measureRound, type Round } from './tunnel-figures.ts'
import { type Contestant, type Pair, pairOf } from './tunnel-pair.ts'
import { type Measured, reportOf } from './tunnel-report.ts'

export const tunnelUsage =
  'npm run bench -- tunnel [--seconds 3] [--rounds 3] [--only drover,2026] [--figures tcp,udp,rtt] [--congestion cubic] [--busy 0] [--against FOLDER]'

interface Options extends Measure {
  readonly rounds: number
  /** Parts of the names of those that take part. */
  readonly only: readonly string[]
  readonly against: string | undefined
  /** The congestion control of TCP, in the kernel's name. */
  readonly congestion: string
  /** Programs beside it that do nothing but compute. */
  readonly busy: number
}

export async function benchTunnel(args: readonly string[]): Promise<void> {
  const options = optionsIn(args)
  if (isRoot) install()
  const text = await inScene(async (scene) => {
    const all = await contestants(options.against, say)
    const wanted = all.filter(({ name }) => options.only.some((part) => name.includes(part)))
    const { congestion } = options
    const pairs = (await started(scene, wanted)).map((pair) => ({ ...pair, congestion }))
    compute(scene, pairs, options.busy)
    const measured = await measureAll(scene, pairs, options)
    return await reportOf(measured, options)
  })
  say(`\n${text}`)
  say(`kept in ${keep('tunnel', text)}`)
}

const say = (line: string): void => void process.stdout.write(`${line}\n`)

function optionsIn(args: readonly string[]): Options {
  const { values } = parseArgs({
    args: [...args],
    options: {
      seconds: { type: 'string', default: '3' },
      rounds: { type: 'string', default: '3' },
      only: { type: 'string', default: '' },
      figures: { type: 'string', default: groups.join(',') },
      congestion: { type: 'string', default: settingOf('tcp_congestion_control') },
      busy: { type: 'string', default: '0' },
      against: { type: 'string' },
    },
  })
  const [seconds, rounds, busy] = [Number(values.seconds), Number(values.rounds), Number(values.busy)]
  const chosen = values.figures.split(',')
  if (!(seconds >= 1 && rounds >= 1 && busy >= 0)) throw new DroverError('USAGE', tunnelUsage)
  const taken = groups.filter((group) => chosen.includes(group))
  if (taken.length !== chosen.length) throw new DroverError('USAGE', tunnelUsage)
  const { congestion, against } = values
  const available = settingOf('tcp_available_congestion_control')
  if (!available.split(' ').includes(congestion))
    throw new DroverError('USAGE', `--congestion ${congestion}: this kernel has ${available}`)
  return { seconds, rounds, only: values.only.split(','), congestion, against, busy, groups: taken, say }
}

const settingOf = (name: string): string => readFileSync(`/proc/sys/net/ipv4/${name}`, 'utf8').trim()

/** The other tunnels; what cannot be had is said where it would start. */
function install(): void {
  const missing = missingPackages(benchPackages)
  if (missing.length > 0) installPackages(missing)
}

async function started(scene: Scene, wanted: readonly Contestant[]): Promise<readonly Pair[]> {
  const pairs: Pair[] = []
  for (const contestant of wanted) {
    // A second try, in new namespaces: the machine may be busy with something else.
    const pair = await pairOf(scene, contestant).catch(() =>
      pairOf(scene, contestant).catch(leftOut(contestant)),
    )
    if (pair !== undefined) pairs.push(pair)
  }
  return pairs
}

const leftOut =
  ({ name }: Contestant) =>
  (error: unknown): undefined =>
    say(`left out: ${name}: ${reasonOf(error)}`) as undefined

/** They end with the scene. */
function compute({ world }: Scene, [pair]: readonly Pair[], busy: number): void {
  for (let number = 0; pair !== undefined && number < busy; number++)
    world.spawn(pair.one, ['sh', '-c', 'while :; do :; done'])
}

async function measureAll({ world }: Scene, pairs: readonly Pair[], options: Options): Promise<Measured> {
  const measured = new Map<Pair, Round[]>(pairs.map((pair) => [pair, []]))
  // The first seconds warm up the compilers of both sides and TCP's memory of the path.
  for (const pair of pairs) await iperf(world, pair, '-t 1')
  for (let number = 1; number <= options.rounds; number++) {
    for (const pair of pairs) {
      const round = await measureRound(world, pair, options)
      measured.get(pair)?.push(round)
      say(`round ${number}, ${pair.contestant.name}: ${spoken(round)}`)
    }
  }
  return measured
}

const spoken = (round: Round): string =>
  [
    ['TCP', round['TCP, 1 stream'], 'Gb/s'],
    ['UDP', round['UDP, 1,200 bytes, no loss'], 'kpps'],
    ['RTT', round['RTT idle, median'], 'µs'],
  ]
    .flatMap(([what, value, unit]) =>
      typeof value === 'number' ? [`${what} ${value.toFixed(2)} ${unit}`] : [],
    )
    .join(', ')
