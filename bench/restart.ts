/**
 * How long traffic stands still when a tunnel process is replaced or killed: two namespaces, a ping every 2 ms, and
 * the longest time between two replies around the event. A killed one is started again as the daemon does it.
 */
import type { ChildProcess } from 'node:child_process'
import { createInterface } from 'node:readline'
import { parseArgs } from 'node:util'
import { must } from '../lab/command.ts'
import { node, root } from '../lab/layout.ts'
import { DroverError } from '../model/errors.ts'
import { isRoot, until } from '../test/support/netns.ts'
import { MemoryLog, MemoryMeter } from '../test/support/ports.ts'
import { realClock } from '../test/support/real-clock.ts'
import { type Pair, pidOf, replaced, type Side, socketOf, TunnelWorld } from '../test/support/tunnel-pair.ts'
import { TunnelProcess } from '../tunnel/tunnel-process.ts'
import { UapiClient } from '../tunnel/uapi-client.ts'
import { gather } from './gather.ts'
import { keep, machine, markdown, percentile } from './table.ts'

export const restartUsage = 'npm run bench -- restart [--rounds 10] [--peers 500] [--settled 10000]'

/** Replies that must follow an event before the next. */
const calm = 100

export async function benchRestart(args: readonly string[]): Promise<void> {
  const options = optionsIn(args)
  if (!isRoot) throw new DroverError('NOT_ROOT', 'network namespaces')
  const world = await TunnelWorld.open()
  const endings: (() => unknown)[] = []
  const close = async (): Promise<void> => {
    for (const end of endings.splice(0)) await end()
    await world.close()
  }
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
    process.once(signal, () => void close().finally(() => process.exit(130)))
  try {
    const pair = await world.pair({ teardown: (end) => endings.push(end) }, 'r', ['drover', 'drover'])
    const text = await report(await measure(world, pair, options), options)
    process.stdout.write(`\n${text}\nkept in ${keep('restart', text)}\n`)
  } finally {
    await close()
  }
}

interface Options {
  readonly rounds: number
  /** Of one engine, besides the one that is pinged. */
  readonly peers: number
  /**
   * Replies before the first event of a stream: twenty seconds by default. What a tunnel that has just been started
   * is still compiling under full load is no matter of its replacement; one that is replaced has mostly run for weeks.
   */
  readonly settled: number
}

function optionsIn(args: readonly string[]): Options {
  const options = {
    rounds: { type: 'string', default: '10' },
    peers: { type: 'string', default: '500' },
    settled: { type: 'string', default: '10000' },
  } as const
  const { values } = parseArgs({ args: [...args], options })
  const [rounds, peers, settled] = [values.rounds, values.peers, values.settled].map(Number) as [
    number,
    number,
    number,
  ]
  if (!(rounds >= 1 && peers >= 1 && peers <= 10_000 && settled >= 0))
    throw new DroverError('USAGE', restartUsage)
  return { rounds, peers, settled }
}

interface Figure {
  readonly what: string
  /** Milliseconds without a reply. */
  readonly gaps: readonly number[]
  readonly lost: number
}

async function measure(
  world: TunnelWorld,
  pair: Pair,
  { rounds, peers, settled }: Options,
): Promise<readonly Figure[]> {
  const { one, other } = pair
  const series = async (what: string, event: () => Promise<unknown>, before = 0): Promise<Figure> => {
    const pinger = await Pinger.start(world, other, one.address)
    await pinger.more(before)
    const gaps: number[] = []
    for (let round = 0; round < rounds; round++) gaps.push(await pinger.around(event))
    return { what, gaps, lost: await pinger.stop() }
  }
  const figures = [await series('nothing', () => pidOf(one)), await series('replaced', () => replaced(one))]
  const stream = world.iperf(one, other, `-t 600`).catch(() => 0)
  figures.push(await series('nothing, under a TCP stream', () => pidOf(one), settled))
  figures.push(await series('replaced under a TCP stream', () => replaced(one)))
  world.endIperf()
  await stream
  figures.push(await kept(one, () => series('kill -9', () => killed(one))))
  const spawn = (argv: readonly string[]) => world.spawn(other, argv)
  const crowd = await gather({ device: one.device, peers, address: other.underlay, spawn })
  const among = `with ${peers} peers more`
  figures.push(await series(`replaced, ${among}`, () => replaced(one)))
  figures.push(await kept(one, () => series(`kill -9, ${among}`, () => killed(one))))
  crowd.close()
  return figures
}

/** Returns once another process has the tunnel. */
async function killed(one: Side): Promise<void> {
  const before = await pidOf(one)
  process.kill(before, 'SIGKILL')
  await until('another', async () => (await pidOf(one).catch(() => before)) !== before)
}

/** What `work` answers while the process of a side is started again when it ends. */
async function kept<T>(one: Side, work: () => Promise<T>): Promise<T> {
  const keeper = keeperOf(one)
  await until('the process is kept', () => keeper.held.running)
  const result = await work()
  await keeper.stop()
  return result
}

/** Starts the process of a side again when it ends. */
function keeperOf({ space, device, state }: Side) {
  const client = new UapiClient(socketOf({ device }))
  const environment = { ...process.env, DROVER_TUNNEL_STATE: state, DROVER_TUNNEL_PERSIST: '1' }
  const command = ['nsenter', `--net=${space.path}`, node, `${root}/cli/main.ts`, 'tunnel', device, '-f']
  const deps = { client, clock: realClock, log: new MemoryLog(), meter: new MemoryMeter() }
  const held = new TunnelProcess(deps, { command, environment, logFile: '/dev/null' })
  const running = held.run(() => undefined)
  const stop = (): Promise<void> => {
    held.close()
    return running
  }
  return { held, stop }
}

/** Five hundred pings a second, and when each reply came. */
class Pinger {
  readonly #process: ChildProcess
  readonly #replies: number[] = []
  #highest = 0

  private constructor(process: ChildProcess) {
    this.#process = process
    if (process.stdout === null) return
    createInterface({ input: process.stdout }).on('line', (line) => {
      const [, at, sequence] = /^\[([\d.]+)\].*icmp_seq=(\d+) ttl/.exec(line) ?? []
      if (at === undefined) return
      this.#replies.push(Number(at) * 1000)
      this.#highest = Math.max(this.#highest, Number(sequence))
    })
  }

  static async start(world: TunnelWorld, from: Side, target: string): Promise<Pinger> {
    const pinger = new Pinger(world.spawn(from, ['ping', '-n', '-D', '-i', '0.002', '-s', '32', target]))
    await pinger.more(calm)
    return pinger
  }

  /** The longest time without a reply while something happens. */
  async around(event: () => Promise<unknown>): Promise<number> {
    const from = Math.max(0, this.#replies.length - 1)
    await event()
    await this.more(calm)
    const part = this.#replies.slice(from)
    return Math.max(...part.slice(1).map((at, index) => at - (part[index] ?? at)))
  }

  /** How many were never answered; sequence numbers start anew after 65,535. */
  async stop(): Promise<number> {
    const closed = new Promise((resolve) => this.#process.once('close', resolve))
    this.#process.kill('SIGINT')
    await closed
    return this.#highest - this.#replies.length
  }

  /** Returns once so many more replies have come. */
  more(replies: number): Promise<unknown> {
    const wanted = this.#replies.length + replies
    return until('replies', () => this.#replies.length > wanted, 60_000)
  }
}

async function report(figures: readonly Figure[], { rounds }: Options): Promise<string> {
  const commit = await must(['git', '-C', root, 'describe', '--always', '--dirty'])
  const ms = (value: number): string => value.toFixed(0)
  const rows = figures.map(({ what, gaps, lost }) => [
    what,
    ms(percentile(gaps, 0.5)),
    ms(Math.max(...gaps)),
    String(lost),
  ])
  const head = ['what happens', 'longest gap, median of rounds (ms)', 'worst (ms)', 'pings lost']
  return `# restart\n\n${machine()}; commit ${commit}; ${rounds} rounds each, a ping every 2 ms.\n\n${markdown(head, rows)}\n`
}
