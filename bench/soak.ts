/**
 * Full load through one pair of our engines, both directions at once, for minutes: throughput per minute, the
 * memory of both engines every second, and what went wrong. Says what was; asserts nothing.
 */
import { parseArgs } from 'node:util'
import { residentMemory } from '../lab/command.ts'
import { root } from '../lab/layout.ts'
import { DroverError, reasonOf } from '../model/errors.ts'
import type { NetnsWorld, TestNetns } from '../test/support/netns.ts'
import { iperf } from './iperf.ts'
import { drover } from './peers/contestants.ts'
import { type WireguardRunning, wireguard } from './peers/wireguard.ts'
import { origin } from './report.ts'
import { inScene } from './scene.ts'
import { keep, markdown } from './table.ts'
import { type Pair, pairOf } from './tunnel-pair.ts'

export const soakUsage = 'npm run bench -- soak [--minutes 10]'

/** Resident memory of both engines, in KiB. */
type Sample = readonly [number, number]

interface Minute {
  readonly there: number
  readonly back: number
  readonly error: string
  readonly samples: readonly Sample[]
}

export async function benchSoak(args: readonly string[]): Promise<void> {
  const { values } = parseArgs({ args: [...args], options: { minutes: { type: 'string', default: '10' } } })
  const minutes = Number(values.minutes)
  if (!(minutes > 0)) throw new DroverError('USAGE', soakUsage)
  const text = await inScene(async ({ world, ...scene }) => {
    const pair = await pairOf({ ...scene, world }, wireguard({ name: 'drover', command: drover(root) }))
    const passed: Minute[] = []
    for (let left = minutes; left > 0; left--) {
      const minute = await pass(world, pair, Math.min(1, left) * 60)
      passed.push(minute)
      say(`minute ${passed.length}: ${cellsOf(minute).join(' · ')}`)
    }
    return await reportOf(pair, passed, minutes)
  })
  say(`\n${text}`)
  say(`kept in ${keep('soak', text)}`)
}

const say = (line: string): void => void process.stdout.write(`${line}\n`)

async function pass(world: NetnsWorld, pair: Pair, seconds: number): Promise<Minute> {
  const samples: Sample[] = []
  const sample = (): void => {
    const [one = 0, two = 0] = pair.pids.map(residentMemory)
    samples.push([one, two])
  }
  sample()
  const timer = setInterval(sample, 1000)
  const how = `-t ${Math.max(1, Math.round(seconds))} -P 4`
  const [there, back] = await Promise.allSettled([iperf(world, pair, how), iperf(world, pair, `${how} -R`)])
  clearInterval(timer)
  sample()
  const speed = (result: typeof there): number => (result.status === 'fulfilled' ? result.value.gigabits : 0)
  const error = [there, back].flatMap((each) => (each.status === 'rejected' ? [reasonOf(each.reason)] : []))
  return { there: speed(there), back: speed(back), error: error.join('; '), samples }
}

const mebi = (kibi: number | undefined): string => ((kibi ?? 0) / 1024).toFixed(1)

const cellsOf = ({ there, back, error, samples }: Minute): readonly string[] => [
  there.toFixed(2),
  back.toFixed(2),
  mebi(samples.at(-1)?.[0]),
  mebi(samples.at(-1)?.[1]),
  error === '' ? 'none' : error,
]

async function reportOf(
  pair: Pair & WireguardRunning,
  passed: readonly Minute[],
  minutes: number,
): Promise<string> {
  const samples = passed.flatMap((minute) => minute.samples)
  const memory = pair.devices.map((_, index) => {
    const values = samples.map((sample) => sample[index] ?? 0)
    return [index === 0 ? 'one' : 'two', mebi(values[0]), mebi(values.at(-1)), mebi(Math.max(...values))]
  })
  return [
    `# Soak: ${minutes} minutes of four TCP streams there and four back`,
    await origin(),
    markdown(
      ['minute', 'there, Gb/s', 'back, Gb/s', 'memory of one, MiB', 'of two', 'errors'],
      passed.map((minute, index) => [String(index + 1), ...cellsOf(minute)]),
    ),
    markdown(['resident memory, MiB', 'first', 'last', 'max'], memory),
    markdown(
      ['dropped by the kernel', 'received', 'sent'],
      [await dropsOf(pair.one, pair.devices[0]), await dropsOf(pair.two, pair.devices[1])],
    ),
    '',
  ].join('\n\n')
}

/** Packets that the interface of an engine lost. */
async function dropsOf(space: TestNetns, device: string): Promise<readonly string[]> {
  interface Counts {
    readonly dropped: number
  }
  interface Link {
    readonly stats64: { readonly rx: Counts; readonly tx: Counts }
  }
  const [link] = JSON.parse(await space.sh(`ip -j -s link show dev ${device}`)) as readonly Link[]
  return [device, String(link?.stats64.rx.dropped), String(link?.stats64.tx.dropped)]
}
