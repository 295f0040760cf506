/**
 * A real daemon without a Docker engine, in a namespace of its own, on an environment of its own. Needs root.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Test } from 'tap'
import { seconds } from '../../model/time.ts'
import { NetnsWorld, type TestNetns, until } from './netns.ts'

const main = join(import.meta.dirname, '../../cli/main.ts')

export interface LoneHost {
  readonly space: TestNetns
  /** For sockets of the daemon. */
  readonly run: string
  /** Starts `drover daemon`, which first runs a line of JavaScript. */
  start(words?: readonly string[], first?: string): LoneDaemon
}

export class LoneDaemon {
  readonly child: ReturnType<NetnsWorld['spawn']>
  readonly ended: Promise<number | null>
  #said = ''

  constructor(child: ReturnType<NetnsWorld['spawn']>) {
    this.child = child
    for (const stream of [child.stdout, child.stderr])
      stream?.on('data', (chunk: Buffer) => {
        this.#said += String(chunk)
      })
    this.ended = new Promise((resolve) => child.once('exit', resolve))
  }

  get log(): string {
    return this.#said
  }

  /** Waits until its log has the message. */
  async says(message: string): Promise<void> {
    const said = (): boolean => {
      if (this.child.exitCode !== null) throw new Error(this.#said)
      return this.#said.includes(`"${message}"`)
    }
    await until(message, said, 100_000)
  }
}

/** A machine with a default route; what Drover did to it is undone when the test ends. */
export async function loneHost(t: Test, label: string): Promise<LoneHost> {
  const folder = mkdtempSync(join(tmpdir(), `dt-${label}-`))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  const world = await NetnsWorld.open()
  t.teardown(() => world.close())
  const [space, other] = [await world.netns(label), await world.netns('peer')]
  await world.wire(space, 'u0 192.168.63.1/24', other, 'u0 192.168.63.2/24')
  await space.sh('ip route add default via 192.168.63.2')
  const [config, run] = [join(folder, 'drover.yaml'), join(folder, 'run')]
  writeFileSync(
    config,
    `state: ${folder}/state\nrun: ${run}\nhost: { name: alone }\ndocker: { host: 'unix://${folder}/none.sock' }
tunnel: { interface: dts${process.pid}, engine: userspace, sockets: ${folder}/sockets }\n`,
  )
  const leave = [process.execPath, main, 'daemon', '--leave', '--config', config]
  t.teardown(() => space.runner.attempt(leave, { timeout: seconds(60) }))
  return {
    space,
    run,
    start: (words = [], first = '') => {
      const preload = `data:text/javascript,${encodeURIComponent(first)}`
      const node = [process.execPath, '--import', preload, main, 'daemon']
      return new LoneDaemon(world.spawn(space, [...node, '--init', '--config', config, ...words]))
    },
  }
}
