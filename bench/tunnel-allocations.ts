/**
 * What the packet thread of our engine allocates: collections of garbage and growth of memory while a million
 * packets pass at a steady load, on the side that seals and on the side that opens; and the memory of an engine
 * that has handshakes with hundreds of peers besides, before and after load.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { residentMemory } from '../lab/command.ts'
import { node, root } from '../lab/layout.ts'
import { DroverError } from '../model/errors.ts'
import { DatagramRate } from './datagram-rate.ts'
import { gather } from './gather.ts'
import { iperf } from './iperf.ts'
import type { Observation } from './observe.ts'
import { uapiOf, type WireguardRunning, wireguard } from './peers/wireguard.ts'
import { origin } from './report.ts'
import { inScene, type Scene } from './scene.ts'
import { keep, markdown } from './table.ts'
import { type Pair, pairOf } from './tunnel-pair.ts'

export const allocationsUsage =
  'npm run bench -- tunnel-allocations [--packets 1000000] [--rate 30000] [--peers 500]'

interface Options {
  readonly packets: number
  /** UDP datagrams per second. */
  readonly rate: number
  readonly peers: number
}

type Observed = Observation & { readonly resident: number }
type OurPair = Pair & WireguardRunning

/** What a full TCP packet of an MTU of 1420 carries, with timestamps. */
const segment = 1420 - 20 - 32
const sides = ['seals', 'opens'] as const

export async function benchAllocations(args: readonly string[]): Promise<void> {
  const options = optionsIn(args)
  const text = await inScene(async (scene) => {
    const engine = [node, '--expose-gc', '--import', join(root, 'bench', 'observe.ts')]
    const command = [
      'env',
      `DROVER_BENCH_OBSERVE=${scene.folder}`,
      ...engine,
      join(root, 'cli', 'wireguard.ts'),
      '-f',
    ]
    const pair = await pairOf(scene, wireguard({ name: 'drover', command }))
    return await reportOf(scene, pair, options)
  })
  say(`\n${text}`)
  say(`kept in ${keep('tunnel-allocations', text)}`)
}

const say = (line: string): void => void process.stdout.write(`${line}\n`)

function optionsIn(args: readonly string[]): Options {
  const { values } = parseArgs({
    args: [...args],
    options: {
      packets: { type: 'string', default: '1000000' },
      rate: { type: 'string', default: '30000' },
      peers: { type: 'string', default: '500' },
    },
  })
  const options = { packets: Number(values.packets), rate: Number(values.rate), peers: Number(values.peers) }
  const whole = Object.values(options).every((value) => Number.isInteger(value) && value >= 1)
  if (!whole || options.peers > 10_000) throw new DroverError('USAGE', allocationsUsage)
  return options
}

async function reportOf(scene: Scene, pair: OurPair, options: Options): Promise<string> {
  const { world, folder } = scene
  const tcp = await observed(folder, pair, async (share) => {
    await iperf(world, pair, `-n ${Math.ceil(options.packets * segment * share)}`)
    return options.packets * share
  })
  const datagrams = new DatagramRate(world, pair)
  const udp = await observed(folder, pair, async (share) => {
    let counted = 0
    while (counted < options.packets * share) {
      const left = options.packets * share - counted
      counted += (await datagrams.trial(options.rate, 1200, (left * 1000) / options.rate + 50)).counted
    }
    return counted
  })
  datagrams.close()
  const crowd = await crowdOf(scene, options.peers)
  return [
    `# What ${options.packets.toLocaleString('en')} packets of a tunnel allocate`,
    await origin(),
    markdown(
      ['load', 'side', 'packets', 'scavenges', 'other GCs', 'heap, KiB', 'external, KiB', 'resident, MiB'],
      [...rowsOf('TCP, one stream', tcp), ...rowsOf(`UDP, ${options.rate} datagrams/s`, udp)],
    ),
    'In the packet thread, after a warm-up; heap and external after a full collection. Target: at most 10 scavenges, no growth.',
    markdown(['memory of one engine, MiB', 'resident'], crowd),
    'Target: at most 150 MB with 500 peers.',
    '',
  ].join('\n\n')
}

interface Passage {
  readonly packets: number
  readonly before: readonly Observed[]
  readonly after: readonly Observed[]
}

/** `load` carries a share of the packets; a fifth of them is the warm-up. */
async function observed(
  folder: string,
  pair: OurPair,
  load: (share: number) => Promise<number>,
): Promise<Passage> {
  await load(0.2)
  const before = await observations(folder, pair)
  const packets = await load(1)
  return { packets, before, after: await observations(folder, pair) }
}

/** Asking for the status makes the engines write what they counted since the last time. */
const observations = (folder: string, { devices, pids }: OurPair): Promise<readonly Observed[]> =>
  Promise.all(
    devices.map(async (device, index) => {
      await uapiOf(device).get()
      const pid = pids[index] ?? 0
      const written = JSON.parse(readFileSync(join(folder, `${pid}.json`), 'utf8')) as Observation
      return { ...written, resident: residentMemory(pid) }
    }),
  )

const rowsOf = (load: string, { packets, before, after }: Passage): readonly (readonly string[])[] =>
  sides.map((side, index) => {
    const [then, now] = [before[index], after[index]]
    if (then === undefined || now === undefined) return [load, side]
    const change = (one: number, other: number, unit: number): string =>
      `${(one / unit).toFixed(0)} → ${(other / unit).toFixed(0)}`
    return [
      load,
      side,
      packets.toFixed(0),
      String(now.scavenges),
      String(now.others),
      change(then.heap, now.heap, 1024),
      change(then.external, now.external, 1024),
      change(then.resident, now.resident, 1024),
    ]
  })

/** An engine of its own, as it is without observation, and so many peers that have handshakes with it. */
async function crowdOf(scene: Scene, peers: number): Promise<readonly (readonly string[])[]> {
  const command = [join(root, 'bin', 'drover-wireguard'), '-f']
  const pair = await pairOf(scene, wireguard({ name: 'drover among many', command }))
  const [device] = pair.devices
  const resident = (): string => (residentMemory(pair.pids[0] ?? 0) / 1024).toFixed(0)
  const rows = [['started, one peer', resident()]]
  const spawn = (argv: readonly string[]) => scene.world.spawn(pair.two, argv)
  const crowd = await gather({ device, peers, address: '192.168.77.2', spawn })
  rows.push([`${peers} peers more, all with handshakes`, resident()])
  await iperf(scene.world, pair, '-t 3')
  await iperf(scene.world, pair, '-t 3 -R')
  rows.push(['after six seconds of one TCP stream', resident()])
  crowd.close()
  return rows
}
