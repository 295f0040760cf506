/**
 * A host inside of the lab's virtual machine: a network namespace on a bridge, and a daemon as it is started on a
 * real host, without an engine. Its files are in /run/NAME, its log is in the folder that the machine shares.
 */
import { join } from 'node:path'
import { tailOf, until } from '../../lab/command.ts'
import type { Vm } from '../../lab/vm/machine.ts'
import type { StatusView } from '../../status/status.ts'

/** An emulated processor on a busy machine takes its time. */
export const vmWaiting = { patience: 300_000, every: 3000 }

export class VmHost {
  readonly name: string
  readonly address: string
  readonly #vm: Vm

  constructor(vm: Vm, name: string, address: string) {
    this.#vm = vm
    this.name = name
    this.address = address
  }

  get folder(): string {
    return `/run/${this.name}`
  }

  /** Runs a command in its namespace. */
  sh(line: string): Promise<string> {
    return this.#vm.must(`nsenter --net=/run/netns/${this.name} ${line}`)
  }

  /** `line`: a subcommand that takes the configuration, with its options. */
  drover(line: string): Promise<string> {
    return this.sh(`node cli/main.ts ${line} --config ${this.folder}/drover.yaml`)
  }

  /** What the daemon shows; undefined while it does not answer. */
  async view<T>(name: string): Promise<T | undefined> {
    const { stdout } = await this.#vm.run(
      `curl -sf -m 20 --unix-socket ${this.folder}/drover.sock http://drover/v1/${name}`,
    )
    return stdout === '' ? undefined : (JSON.parse(stdout) as T)
  }

  /** What the daemon answers to a command without parameters. */
  async tell<T>(name: string): Promise<T> {
    const json = "-H 'content-type: application/json' -d '{}'"
    const socket = `${this.folder}/drover.sock`
    return JSON.parse(
      await this.#vm.must(`curl -s --unix-socket ${socket} ${json} http://drover/v1/${name}`),
    ) as T
  }

  /** The status, once it is like that. */
  status(what: string, holds: (status: StatusView) => boolean): Promise<StatusView> {
    let last: StatusView | undefined
    const blame = (): string =>
      `; it is ${JSON.stringify(last)}${tailOf(join(this.#vm.folder, `${this.name}.log`))}`
    const look = async (): Promise<StatusView | undefined> => {
      last = (await this.view<StatusView>('status')) ?? last
      return last !== undefined && holds(last) ? last : undefined
    }
    return until(`${this.name}: ${what}`, look, { ...vmWaiting, blame })
  }

  /** `options`: of the daemon, for this start. */
  start(options = ''): Promise<string> {
    const { folder } = this
    const daemon = `node cli/main.ts daemon --config ${folder}/drover.yaml ${options}`
    return this.#vm.must(
      `nsenter --net=/run/netns/${this.name} ${daemon} >>/run/vm/${this.name}.log 2>&1 & echo $! >${folder}/pid`,
    )
  }

  stop(): Promise<string> {
    const pid = `$(cat ${this.folder}/pid)`
    return this.#vm.must(`kill ${pid}; while kill -0 ${pid} 2>/dev/null; do sleep 0.1; done`)
  }
}
