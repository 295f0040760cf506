/**
 * A real Docker Engine in the network namespace of a lab host: own data, own sockets, own containerd.
 */
import { mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { DroverError } from '../model/errors.ts'
import { isAlive, run, start, tailOf, until } from './command.ts'
import { importImage } from './image.ts'
import type { HostPlace } from './layout.ts'

export const dockerHost = (host: HostPlace): string => `unix://${host.dockerSocket}`

const execRoot = (host: HostPlace): string => join(host.run, 'docker')
const log = (host: HostPlace): string => join(host.folder, 'dockerd.log')

/** Starts dockerd and returns its pid once it answers. */
export async function startEngine(host: HostPlace): Promise<number> {
  mkdirSync(execRoot(host), { recursive: true })
  // Left over after a kill -9: the pid may look alive, and dockerd would refuse to start.
  for (const left of [join(host.run, 'docker.pid'), join(execRoot(host), 'containerd', 'containerd.pid')])
    rmSync(left, { force: true })
  const pid = launch(host)
  const answers = await until(
    `dockerd on ${host.name}`,
    async () => {
      if ((await run(['docker', '-H', dockerHost(host), 'version'])).code === 0) return true
      return isAlive(pid) ? undefined : false
    },
    { patience: 60_000, blame: () => tailOf(log(host)) },
  )
  if (answers) return pid
  throw new DroverError('COMMAND_FAILED', `dockerd on ${host.name} ended at once${tailOf(log(host))}`)
}

function launch(host: HostPlace): number {
  const folders = ['--data-root', join(host.folder, 'docker'), '--exec-root', execRoot(host)]
  const sockets = ['-H', dockerHost(host), '--pidfile', join(host.run, 'docker.pid')]
  const argv = ['dockerd', ...folders, ...sockets, '--shutdown-timeout', '5']
  return start(argv, log(host), { namespace: host.namespace })
}

export const fillEngine = (host: HostPlace, archive: string): Promise<void> =>
  importImage(dockerHost(host), archive)
