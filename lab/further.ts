/**
 * A further environment on hosts of a lab: the same engines and the same etcd, daemons, folders and ports of its own.
 */
import { join } from 'node:path'
import {
  createEnvironment,
  createToken,
  daemonAnswers,
  type FurtherEnvironment,
  joinEnvironment,
  managedAddress,
  startDaemon,
  writeConfig,
} from './drover.ts'
import { etcdUrl } from './etcd.ts'
import { LabHost } from './host.ts'
import type { Lab } from './lab.ts'
import type { HostPlace } from './layout.ts'

/** Where it is on a machine. */
export function placeIn(host: HostPlace, { name }: Pick<FurtherEnvironment, 'name'>): HostPlace {
  const [folder, run] = [join(host.folder, name), join(host.run, name)]
  return {
    ...host,
    folder,
    run,
    config: join(folder, 'drover.yaml'),
    state: join(folder, 'state'),
    admin: join(run, 'drover.sock'),
    uapi: join(run, 'wireguard'),
  }
}

/** Creates it on the first of these hosts and lets the others in; they answer and have addresses then. */
export async function addEnvironment(
  lab: Lab,
  further: FurtherEnvironment,
  numbers: readonly number[],
): Promise<readonly LabHost[]> {
  const hosts = numbers.map((number) => {
    const { place, entry } = lab.host(number)
    const own = placeIn(place, further)
    writeConfig(own, 'auto', further)
    const pids = { ...entry.pids, daemon: 0, tunnel: null }
    return new LabHost(own, { ...entry, managed: null, config: own.config, admin: own.admin, pids }, () => {})
  })
  const [first, ...others] = hosts
  if (first === undefined) return []
  const { subnet, domain } = further
  const words = ['--subnet', subnet, ...(domain === undefined ? [] : ['--domain', domain])]
  await createEnvironment(first.place, etcdUrl(lab.record.store.endpoints.length), words)
  await begin(first)
  if (others.length === 0) return hosts
  const token = await createToken(first.place, others.length)
  for (const host of others) {
    await joinEnvironment(host.place, token)
    await begin(host)
  }
  return hosts
}

async function begin({ place, entry }: LabHost): Promise<void> {
  entry.pids.daemon = startDaemon(place)
  await daemonAnswers(place)
  entry.managed = await managedAddress(place)
}
