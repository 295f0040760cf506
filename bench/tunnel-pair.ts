/**
 * Two namespaces with a wire between them (MTU 1500) and an engine of one kind on each: what a contestant of the
 * tunnel benchmarks is. Everything lies in namespaces of its own and ends with the scene.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { residentMemory } from '../lab/command.ts'
import type { NetnsWorld, TestNetns } from '../test/support/netns.ts'
import { until } from '../test/support/netns.ts'
import type { Scene } from './scene.ts'

/** What targets speak of. */
export type Role = 'plain' | 'installed' | 'newest' | 'ipsec' | 'ours' | 'marks'

export interface Contestant<Started extends Running = Running> {
  readonly name: string
  readonly role?: Role
  /** Starts an engine in each namespace; rejects where that does not work here. */
  start(site: Site): Promise<Started>
}

export interface Running {
  /** The address of `two`, reached through what is measured. */
  readonly target: string
  readonly pids: readonly number[]
}

/** One side of a pair. */
export interface End {
  readonly name: 'one' | 'two'
  readonly space: TestNetns
  /** Of the wire. */
  readonly outer: string
  /** Inside the tunnel, where the contestant has a say. */
  readonly inner: string
  /** For configuration; gone at the end. */
  readonly folder: string
}

export interface Site {
  readonly scene: Scene
  readonly number: number
  readonly ends: readonly [End, End]
  /** Starts a program that stays; its pid. */
  engine(end: End, argv: readonly string[]): number
  /** Writes a file for an end; its path. */
  file(end: End, name: string, text: string, mode?: number): string
}

export interface Pair extends Running {
  readonly contestant: Contestant
  readonly one: TestNetns
  readonly two: TestNetns
  /** Of TCP streams, in the kernel's name; the machine's where it is not given. */
  readonly congestion?: string
}

let pairs = 0

/** Rejects with what the engines said, and ends them, when they do not carry packets. */
export async function pairOf<Started extends Running>(
  scene: Scene,
  contestant: Contestant<Started>,
): Promise<Pair & Started> {
  const number = ++pairs
  const ends = [await endOf(scene, number, 1), await endOf(scene, number, 2)] as const
  const [one, two] = [ends[0].space, ends[1].space]
  await scene.world.wire(one, `w0 ${ends[0].outer}/24`, two, `w0 ${ends[1].outer}/24`)
  const words: (() => string)[] = []
  const stops: (() => void)[] = []
  const engine: Site['engine'] = ({ space }, argv) => {
    const child = scene.world.spawn(space, argv)
    words.push(saidBy(child))
    stops.push(() => child.kill('SIGKILL'))
    return child.pid ?? 0
  }
  try {
    const running = await contestant.start({ scene, number, ends, engine, file })
    await until('a reply through it', () => answers(one, running.target), 45_000)
    return { ...running, contestant, one, two }
  } catch (cause) {
    for (const stop of stops) stop()
    const said = words.map((text) => text()).join('')
    throw new Error(`${String(cause)}; ${said.trim().split('\n').slice(-4).join(' | ')}`, { cause })
  }
}

async function endOf({ world, folder }: Scene, number: number, own: 1 | 2): Promise<End> {
  const name = own === 1 ? 'one' : 'two'
  const space = await world.netns(`${number}${name}`)
  const mine = join(folder, `${number}${name}`)
  mkdirSync(mine)
  return { name, space, outer: `192.168.77.${own}`, inner: `10.99.0.${own}`, folder: mine }
}

const file: Site['file'] = ({ folder }, name, text, mode = 0o600) => {
  const path = join(folder, name)
  mkdirSync(join(path, '..'), { recursive: true })
  writeFileSync(path, text, { mode })
  return path
}

const answers = (from: TestNetns, target: string): Promise<boolean> =>
  fulfils(from.sh(`ping -n -c 1 -W 1 ${target}`))

/** For `until`: false instead of a rejection. */
export const fulfils = (attempt: Promise<unknown>): Promise<boolean> =>
  attempt.then(
    () => true,
    () => false,
  )

type Child = ReturnType<NetnsWorld['spawn']>

/** Drains what a program says, so that it never blocks on it; gives what it said last. */
export function saidBy(child: Child): () => string {
  let text = ''
  for (const stream of [child.stdout, child.stderr])
    stream?.on('data', (chunk) => {
      text = (text + String(chunk)).slice(-2000)
    })
  return () => text
}

/** Seconds of CPU that the engines of a pair have used. */
export function cpuSeconds({ pids }: Running): number {
  const ticks = pids.map((pid) => {
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? []
    return Number(fields[11]) + Number(fields[12])
  })
  return ticks.reduce((sum, one) => sum + one, 0) / 100
}

/** The larger engine's resident memory, in MiB. */
export const memory = ({ pids }: Running): number =>
  Math.max(0, ...pids.map((pid) => residentMemory(pid) / 1024))
