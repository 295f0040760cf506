/**
 * How fast the environment learns of a container: from Docker's start event on one host to the answer of the
 * other host's resolver, and to the first reply through the tunnel. One container at a time, each removed after
 * its measurement; both hosts and etcd share the machine. Also the daemons' memory at the end.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { parseArgs } from 'node:util'
import { residentMemory } from '../lab/command.ts'
import type { LabHost } from '../lab/host.ts'
import { Lab } from '../lab/lab.ts'
import { node, root } from '../lab/layout.ts'
import { DroverError } from '../model/errors.ts'
import { origin } from './report.ts'
import { keep, markdown, percentile } from './table.ts'

interface Seen {
  readonly name: string
  readonly answered: number
  readonly replied: number
}

export interface Sample {
  readonly answer: number
  readonly reply: number
}

/** One long-lived process inside the namespace of a host. */
class Prober {
  readonly #process: ChildProcess
  readonly #lines: AsyncIterator<string>

  constructor(host: LabHost) {
    const argv = [`--net=/run/netns/${host.place.namespace}`, node, join(root, 'bench', 'prober.ts')]
    const child = spawn('nsenter', argv, { stdio: ['pipe', 'pipe', 'inherit'] })
    this.#process = child
    this.#lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  }

  ask(name: string): void {
    this.#process.stdin?.write(`${name}\n`)
  }

  async seen(): Promise<Seen> {
    const { value, done } = await this.#lines.next()
    if (done === true) throw new TypeError('the prober ended')
    return JSON.parse(value) as Seen
  }

  close(): void {
    this.#process.stdin?.end()
  }
}

/** When Docker says that the container started, in milliseconds since the epoch. */
async function startEvent(host: LabHost, id: string): Promise<number> {
  const now = Date.now() / 1000
  const time = ['--since', String(now - 600), '--until', now.toFixed(3)]
  const filter = ['--filter', `container=${id}`, '--filter', 'event=start']
  const text = await host.docker('events', ...time, ...filter, '--format', '{{.TimeNano}}')
  const [first] = text.split('\n')
  if (first === undefined || first === '') throw new TypeError(`no start event of ${id}`)
  return Number(BigInt(first) / 1000n) / 1000
}

async function sample(from: LabHost, prober: Prober, number: number): Promise<Sample> {
  const name = `bench-${number}`
  prober.ask(`${name}.rancher.internal`)
  const id = await from.managed({ name })
  const seen = await prober.seen()
  const started = await startEvent(from, id)
  await from.docker('rm', '-f', name)
  return { answer: seen.answered - started, reply: seen.replied - started }
}

export const controlUsage = 'npm run bench -- control [--containers 100]'

export async function benchControl(args: readonly string[]): Promise<void> {
  const { values } = parseArgs({
    args: [...args],
    options: { containers: { type: 'string', default: '100' } },
  })
  const containers = Number(values.containers)
  if (!Number.isInteger(containers) || containers < 1) throw new DroverError('USAGE', controlUsage)
  const print = (line: string): void => void process.stdout.write(`${line}\n`)
  const lab = await Lab.up({ hosts: 2, name: 'bench-control', store: 'etcd', say: print })
  try {
    const [h1, h2] = [lab.host(1), lab.host(2)]
    const prober = new Prober(h2)
    const samples: Sample[] = []
    // The first few warm up Docker, V8 and the handshake.
    for (let number = -3; number < containers; number++) {
      const one = await sample(h1, prober, number + 3)
      if (number >= 0) samples.push(one)
    }
    prober.close()
    const text = await report(samples, lab)
    print(`\n${text}`)
    print(`kept in ${keep('control', text)}`)
  } finally {
    await lab.down()
  }
}

async function report(samples: readonly Sample[], lab: Lab): Promise<string> {
  const row = (what: string, values: readonly number[], target: string): readonly string[] => {
    const figures = [0.5, 0.99, 1].map((share) => percentile(values, share).toFixed(1))
    return [what, ...figures, target]
  }
  const answers = samples.map(({ answer }) => answer)
  const replies = samples.map(({ reply }) => reply)
  const table = markdown(
    ['from Docker’s start event on h1, ms', 'median', 'p99', 'max', 'target'],
    [
      row("to the answer of h2's resolver", answers, '≤ 100, p99 ≤ 300'),
      row('to the first reply through the tunnel', replies, '≤ 100, p99 ≤ 300'),
    ],
  )
  const memory = await Promise.all(
    lab.hosts.map(async (host) => {
      const daemon = (await host.pidOf('daemon')) ?? 0
      const tunnel = (await host.pidOf('tunnel')) ?? 0
      return [host.entry.name, ...[daemon, tunnel].map((pid) => (residentMemory(pid) / 1024).toFixed(0))]
    }),
  )
  return [
    `# Control: ${samples.length} containers, two hosts, etcd`,
    await origin(),
    table,
    markdown(['resident memory, MiB', 'daemon', 'tunnel'], memory),
    '',
  ].join('\n\n')
}
