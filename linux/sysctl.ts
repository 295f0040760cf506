/**
 * Edge: kernel switches of the network namespace, by path (`net/ipv4/conf/dr1/forwarding`), since interface
 * names may hold dots. Written straight to /proc, which shows the namespace of who writes; through a process
 * where the runner works in another one.
 */
import { readFile, writeFile } from 'node:fs/promises'
import { DroverError, reasonOf } from '../model/errors.ts'
import type { Runner } from './run.ts'

export interface Sysctl {
  read(path: string): Promise<string>
  write(path: string, value: string): Promise<void>
}

export class SystemSysctl implements Sysctl {
  readonly #runner: Runner

  constructor(deps: { readonly runner: Runner }, _options: object) {
    this.#runner = deps.runner
  }

  async read(path: string): Promise<string> {
    if (this.#runner.netns !== undefined) return (await this.#runner.run(['cat', `/proc/sys/${path}`])).trim()
    return (await readFile(`/proc/sys/${path}`, 'utf8').catch(failed(path))).trim()
  }

  async write(path: string, value: string): Promise<void> {
    if (this.#runner.netns === undefined) await writeFile(`/proc/sys/${path}`, value).catch(failed(path))
    else await this.#runner.run(['dd', 'status=none', `of=/proc/sys/${path}`], { input: value })
  }
}

const failed =
  (path: string) =>
  (cause: unknown): never => {
    throw new DroverError('COMMAND_FAILED', `sysctl ${path}: ${reasonOf(cause)}`, {
      fields: { command: `sysctl ${path}`, reason: reasonOf(cause) },
      cause,
    })
  }
