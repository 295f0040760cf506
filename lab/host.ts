/**
 * One host of a running lab: commands inside of it, its containers, and its processes killed and started again.
 */
import { DroverError } from '../model/errors.ts'
import { attach, type CommandResult, end, isAlive, must, run } from './command.ts'
import {
  binFolder,
  charonPid,
  daemonAnswers,
  drover,
  replaceDaemon,
  startDaemon,
  tunnelPid,
} from './drover.ts'
import { startEngine } from './engine.ts'
import { type HostPlace, image } from './layout.ts'
import type { HostEntry } from './record.ts'

export const programs = ['daemon', 'tunnel', 'charon', 'dockerd'] as const
export type Program = (typeof programs)[number]

/** What a managed container is started with; the rest are labels by name. */
export interface ContainerOptions {
  readonly name: string
  readonly stack?: string
  readonly service?: string
  readonly args?: readonly string[]
}

export class LabHost {
  readonly place: HostPlace
  readonly entry: HostEntry
  readonly #save: () => void

  constructor(place: HostPlace, entry: HostEntry, save: () => void) {
    this.place = place
    this.entry = entry
    this.#save = save
  }

  get #env(): Readonly<Record<string, string>> {
    return {
      DOCKER_HOST: this.entry.docker,
      PATH: `${binFolder(this.place)}:${process.env.PATH ?? ''}:/usr/sbin:/sbin`,
    }
  }

  /** Runs a command in the host's namespace with DOCKER_HOST set and `drover` in PATH. */
  exec(argv: readonly string[]): Promise<CommandResult> {
    return run(argv, { namespace: this.place.namespace, env: this.#env })
  }

  /** The same on the caller's terminal; the exit code. */
  attach(argv: readonly string[]): Promise<number> {
    return attach(argv, { namespace: this.place.namespace, env: this.#env })
  }

  must(argv: readonly string[]): Promise<string> {
    return must(argv, { namespace: this.place.namespace, env: this.#env })
  }

  docker(...args: readonly string[]): Promise<string> {
    return this.must(['docker', ...args])
  }

  /** The value that a subcommand of drover gives as JSON. */
  async drover(...args: readonly string[]): Promise<unknown> {
    const { stdout, stderr } = await this.exec(drover(this.place, ...args, '--json'))
    try {
      return JSON.parse(stdout)
    } catch (cause) {
      throw new DroverError('COMMAND_FAILED', `drover ${args.join(' ')}: ${stderr}${stdout}`, { cause })
    }
  }

  /** Starts a managed container; its id. */
  managed(options: ContainerOptions, command: readonly string[] = ['sleep', '86400']): Promise<string> {
    const { name, stack, service, args = [] } = options
    const labels = ['io.rancher.container.network=true']
    if (stack !== undefined) labels.push(`io.rancher.stack.name=${stack}`)
    if (service !== undefined) labels.push(`io.rancher.stack_service.name=${stack}/${service}`)
    const flags = labels.flatMap((label) => ['--label', label])
    return this.docker('run', '-d', '--name', name, ...flags, ...args, image, ...command)
  }

  /** Runs a command in a container. */
  inside(container: string, ...argv: readonly string[]): Promise<CommandResult> {
    return this.exec(['docker', 'exec', container, ...argv])
  }

  async pidOf(program: Program): Promise<number | undefined> {
    if (program === 'tunnel') return tunnelPid(this.place)
    if (program === 'charon') return charonPid(this.place)
    const pid = this.entry.pids[program]
    return isAlive(pid) ? pid : undefined
  }

  /** Sends a signal and returns once the process is gone; false when it did not run. */
  async kill(program: Program, signal: NodeJS.Signals = 'SIGKILL'): Promise<boolean> {
    const pid = await this.pidOf(program)
    if (pid !== undefined) await end(pid, signal)
    return pid !== undefined
  }

  /** Starts a program that was killed and returns once it answers. The daemon starts tunnel and charon by itself. */
  async start(program: Program): Promise<void> {
    if (program === 'dockerd') this.entry.pids.dockerd = await startEngine(this.place)
    if (program === 'daemon') {
      this.launchDaemon()
      await this.daemonAnswers()
    } else await this.#noteOthers()
  }

  /** Returns before it answers anything. */
  launchDaemon(): void {
    this.entry.pids.daemon = startDaemon(this.place)
  }

  async daemonAnswers(): Promise<void> {
    await daemonAnswers(this.place)
    await this.#noteOthers()
  }

  async #noteOthers(): Promise<void> {
    this.entry.pids.tunnel = (await tunnelPid(this.place)) ?? null
    this.entry.pids.charon = (await charonPid(this.place)) ?? null
    this.#save()
  }

  async restart(program: Program, signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    await this.kill(program, signal)
    await this.start(program)
  }

  /** Gives the daemon's work to a new process, and returns once that answers. */
  async replaceDaemon(): Promise<void> {
    this.entry.pids.daemon = await replaceDaemon(this.place)
    this.#save()
  }
}
