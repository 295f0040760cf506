/**
 * The part of `kernel-tunnels` that runs in the virtual machine: tunnels of its kernel, measured in turn. Prints one
 * line of JSON, of type `Inside`.
 */
import { SystemRunner } from '../linux/run.ts'
import { DroverError, reasonOf } from '../model/errors.ts'
import { espMissing } from '../tunnel/ipsec/esp-probe.ts'
import { iperf } from './iperf.ts'
import { kernelWireguard, ourEsp, rawEsp, rawLinkEsp } from './peers/kernel.ts'
import type { Figures } from './report.ts'
import { inScene, type Scene } from './scene.ts'
import { machine } from './table.ts'
import { type Contestant, type Pair, pairOf } from './tunnel-pair.ts'

export interface Inside {
  readonly machine: string
  /** Rounds of each, by name. */
  readonly measured: readonly (readonly [name: string, rounds: readonly Figures[]])[]
}

const plain: Contestant = {
  name: 'plain veth',
  start: async ({ ends }) => ({ target: ends[1].outer, pids: [] }),
}

const ways = [
  ['TCP, 1 stream, Gb/s', ''],
  ['TCP, 1 stream, back, Gb/s', ' -R'],
  ['TCP, 8 streams, Gb/s', ' -P 8'],
] as const

const say = (line: string): void => void process.stderr.write(`${line}\n`)

async function started(scene: Scene): Promise<readonly Pair[]> {
  const pairs: Pair[] = []
  for (const contestant of [plain, rawEsp, rawLinkEsp, kernelWireguard, ourEsp]) {
    try {
      pairs.push(await pairOf(scene, contestant))
    } catch (error) {
      say(`left out: ${contestant.name}: ${reasonOf(error)}`)
    }
  }
  return pairs
}

async function measure(scene: Scene, mebibytes: number, rounds: number): Promise<Inside> {
  // Its first question has the kernel load and test what ESP needs, for longer than a program of a pair gets.
  const missing = await espMissing(new SystemRunner({}, {}))
  if (missing !== '') throw new DroverError('COMMAND_FAILED', `this kernel has no ESP: ${missing}`)
  const pairs = await started(scene)
  const measured = pairs.map(({ contestant }) => [contestant.name, [] as Figures[]] as const)
  for (let round = 1; round <= rounds; round++) {
    for (const [at, pair] of pairs.entries()) {
      const figures: Record<string, number> = {}
      for (const [name, how] of ways)
        figures[name] = (await iperf(scene.world, pair, `-n ${mebibytes}M${how}`)).gigabits
      measured[at]?.[1].push(figures)
      say(`round ${round}: ${pair.contestant.name}: ${JSON.stringify(figures)}`)
    }
  }
  return { machine: machine(), measured }
}

const [mebibytes = 16, rounds = 2] = process.argv.slice(2).map(Number)
process.stdout.write(`${JSON.stringify(await inScene((scene) => measure(scene, mebibytes, rounds)))}\n`)
