/**
 * What tests of whole labs share: when to skip, a lab that is gone after the test, a capture of the underlay, a
 * ping that counts, and questions as a container asks them.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import type { Test } from 'tap'
import { until } from '../../lab/command.ts'
import type { LabHost } from '../../lab/host.ts'
import { Lab, type LabOptions, testLabName } from '../../lab/lab.ts'
import { placeOf } from '../../lab/layout.ts'
import { abandonedLabs, sweep } from '../../lab/sweep.ts'
import { missingPackages } from '../../setup/packages.mjs'
import type { DoctorView } from '../../status/doctor.ts'
import type { Finding } from '../../status/finding.ts'
import type { PeerView, StatusView } from '../../status/status.ts'

/** Why no lab can be made here, as tap's option; empty where it can. */
export function labNeeds(): { skip?: string } {
  if (process.getuid?.() !== 0) return { skip: 'needs root for network namespaces and Docker engines' }
  const missing = missingPackages()
  return missing.length === 0 ? {} : { skip: `needs ${missing.join(', ')}` }
}

/** The same for what takes too long to be run with everything else: only when it is named, or all is wanted. */
export const labNeedsNightly = (): ReturnType<typeof labNeeds> =>
  process.env.DROVER_NIGHTLY === '1'
    ? labNeeds()
    : { skip: 'takes minutes: DROVER_NIGHTLY=1, or name the file' }

/** A lab that ends with the test, whatever happens. What a killed test left goes first. */
export async function labFor(t: Test, options: Omit<LabOptions, 'name'> & { what: string }): Promise<Lab> {
  const { what, ...rest } = options
  const name = testLabName(what)
  for (const abandoned of abandonedLabs()) await sweep(placeOf(abandoned))
  t.teardown(() => sweep(placeOf(name)))
  return Lab.up({ ...rest, name })
}

/** Every packet of the underlay that matches, as tcpdump's lines. */
export class Capture {
  readonly lines: string[] = []
  readonly #process: ChildProcess

  private constructor(process: ChildProcess) {
    this.#process = process
  }

  static async start(lab: Lab, filter: string): Promise<Capture> {
    const argv = [`--net=/run/netns/${lab.place.bridge}`, 'tcpdump', '-i', 'any', '-nn', '-l', '-U', filter]
    const child = spawn('nsenter', argv, { stdio: ['ignore', 'pipe', 'pipe'] })
    const capture = new Capture(child)
    createInterface({ input: child.stdout }).on('line', (line) => capture.lines.push(line))
    await new Promise<void>((resolve, reject) => {
      createInterface({ input: child.stderr }).on('line', (line) => {
        if (line.includes('listening on')) resolve()
      })
      child.once('exit', () => reject(new TypeError('tcpdump ended')))
    })
    return capture
  }

  /** Lets what was sent arrive, then ends. */
  async stop(): Promise<readonly string[]> {
    const ended = new Promise((resolve) => this.#process.once('close', resolve))
    this.#process.kill('SIGINT')
    await ended
    return this.lines
  }
}

/** Of the pings up to the last one that was answered: what comes after it may still be under way. */
export interface PingCount {
  readonly sent: number
  readonly received: number
}

/** A ping twenty times a second, or as often as is said, until `stop`. */
export class Pinger {
  readonly #process: ChildProcess
  #said = ''

  private constructor(process: ChildProcess) {
    this.#process = process
    process.stdout?.on('data', (chunk: Buffer) => {
      this.#said += chunk.toString()
    })
  }

  /** From a network namespace, by its path or by a process in it. Returns after the first reply. */
  static async start(from: number | string, address: string, every = 0.05): Promise<Pinger> {
    const space = typeof from === 'string' ? from : `/proc/${from}/ns/net`
    const argv = [`--net=${space}`, 'ping', '-n', '-i', String(every), '-W', '1', address]
    const pinger = new Pinger(spawn('nsenter', argv, { stdio: ['ignore', 'pipe', 'ignore'] }))
    await until(`a reply of ${address}`, () => (pinger.#said.includes('bytes from') ? true : undefined))
    return pinger
  }

  get replies(): number {
    return this.#said.split('bytes from').length - 1
  }

  async stop(): Promise<PingCount> {
    const ended = new Promise((resolve) => this.#process.once('close', resolve))
    this.#process.kill('SIGINT')
    await ended
    const answered = Array.from(this.#said.matchAll(/icmp_seq=(\d+) ttl/g), ([, sequence]) =>
      Number(sequence),
    )
    return { sent: Math.max(0, ...answered), received: new Set(answered).size }
  }
}

interface ContainerLine {
  readonly name: string
  readonly address: string | null
}

/** The managed address of a container, once its host shows it. */
export const addressOf = (host: LabHost, name: string): Promise<string> =>
  until(`an address of ${name}`, async () => (await containersOf(host)).get(name) ?? undefined)

/** Name → address of every container that the host knows of. */
export async function containersOf(host: LabHost): Promise<ReadonlyMap<string, string | null>> {
  const lines = (await host.drover('ps')) as readonly ContainerLine[]
  return new Map(lines.map(({ name, address }) => [name, address]))
}

export const pidOf = async (host: LabHost, container: string): Promise<number> =>
  Number(await host.docker('inspect', '-f', '{{.State.Pid}}', container))

/** The addresses that the container's host answers for a name; sorted. */
export async function resolve(host: LabHost, container: string, name: string): Promise<readonly string[]> {
  const pid = await pidOf(host, container)
  const flags = ['+short', '+time=1', '+tries=1', '@169.254.169.250', name, 'A']
  const { stdout } = await host.exec(['nsenter', `--net=/proc/${pid}/ns/net`, 'dig', ...flags])
  return stdout
    .split('\n')
    .filter((line) => /^\d/.test(line))
    .sort()
}

/** Waits until a name has exactly these addresses; how long it took, in milliseconds. */
export async function resolvesTo(
  host: LabHost,
  container: string,
  name: string,
  addresses: readonly string[],
): Promise<number> {
  const wanted = [...addresses].sort().join(' ')
  const since = performance.now()
  let last = ''
  await until(
    `${name} to be ${wanted || 'nothing'}`,
    async () => {
      last = (await resolve(host, container, name)).join(' ')
      return last === wanted ? true : undefined
    },
    { every: 20, blame: () => `; it is ${last}` },
  )
  return Math.round(performance.now() - since)
}

/** Waits until a container reaches an address through whatever lies between. */
export const reaches = (host: LabHost, container: string, address: string): Promise<boolean> =>
  until(`${container} to reach ${address}`, async () => {
    const { code } = await host.inside(container, 'ping', '-c', '1', '-W', '1', address)
    return code === 0 ? true : undefined
  })

/** Waits until the host reaches its only peer by this backend; how the host puts it. */
export async function reachedBy(host: LabHost, backend: string): Promise<PeerView> {
  let last: unknown
  return until(
    `${host.place.name} to use ${backend}`,
    async () => {
      const { peers } = (await host.drover('status')) as StatusView
      last = peers
      return peers.find((peer) => peer.backend === backend && peer.reachability === 'answers')
    },
    { patience: 90_000, every: 200, blame: () => JSON.stringify(last) },
  )
}

/** What `drover doctor` finds, and its exit code. */
export async function doctor(
  host: LabHost,
): Promise<{ readonly code: number; readonly findings: readonly Finding[] }> {
  const { code, stdout, stderr } = await host.exec(['drover', 'doctor', '--json'])
  if (stdout === '') throw new TypeError(stderr)
  return { code, findings: (JSON.parse(stdout) as DoctorView).findings }
}

/** Since when; for people. */
export const said = (t: Test, what: string, since: number): void =>
  t.comment(`${what} after ${((performance.now() - since) / 1000).toFixed(1)} s`)

/** A page of busybox's httpd: the container's name. */
export const webServer = (name: string): readonly string[] => [
  'sh',
  '-c',
  `echo ${name} >/www/index.html; exec httpd -f -h /www`,
]
