/**
 * etcd for a lab: one member or three, in a namespace of its own, each with an address of its own.
 */
import { join } from 'node:path'
import { run, start, tailOf, until } from './command.ts'
import { type LabPlace, storeAddress } from './layout.ts'

export const etcdUrl = (members: number): string =>
  `etcd://${Array.from({ length: members }, (_, at) => `${storeAddress(at + 1)}:2379`).join(',')}`

export const etcdEndpoints = (members: number): readonly string[] =>
  Array.from({ length: members }, (_, at) => `http://${storeAddress(at + 1)}:2379`)

const nameOf = (member: number): string => `etcd${member}`
const log = (lab: LabPlace, member: number): string => join(lab.folder, `${nameOf(member)}.log`)

/** Starts a member, or starts it again with the data it has; its pid. */
export function startMember(lab: LabPlace, member: number, members: number): number {
  const client = `http://${storeAddress(member)}:2379`
  const peer = `http://${storeAddress(member)}:2380`
  const cluster = Array.from(
    { length: members },
    (_, at) => `${nameOf(at + 1)}=http://${storeAddress(at + 1)}:2380`,
  )
  const argv = [
    ...['etcd', '--name', nameOf(member), '--data-dir', join(lab.folder, nameOf(member))],
    ...['--listen-client-urls', client, '--advertise-client-urls', client],
    ...['--listen-peer-urls', peer, '--initial-advertise-peer-urls', peer],
    ...['--initial-cluster', cluster.join(','), '--initial-cluster-token', lab.name],
    ...['--logger', 'zap', '--log-outputs', 'stderr'],
  ]
  // Debian's etcd asks for it where upstream does not test.
  const env: Record<string, string> = process.arch === 'arm64' ? { ETCD_UNSUPPORTED_ARCH: 'arm64' } : {}
  return start(argv, log(lab, member), { namespace: lab.store, env })
}

/** Waits until a quorum answers. */
export async function etcdAnswers(lab: LabPlace, members: number): Promise<void> {
  const argv = ['etcdctl', '--endpoints', etcdEndpoints(members).join(','), 'get', 'nothing']
  await until(
    'etcd',
    async () => {
      const { code } = await run(argv, { namespace: lab.store, env: { ETCDCTL_API: '3' } })
      return code === 0 ? true : undefined
    },
    { blame: () => tailOf(log(lab, 1)) },
  )
}
