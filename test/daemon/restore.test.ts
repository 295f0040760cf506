/**
 * A real etcd that is restored from a snapshot older than what hosts have done since, and one that is emptied: each
 * host writes again what is its own, nobody loses an address, and in no view is a host or a block missing meanwhile.
 */
import { execFile } from 'node:child_process'
import { renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { promisify } from 'node:util'
import { t as root, type Test, test } from 'tap'
import type { Environment } from '../../model/environment.ts'
import { openStore } from '../../store/open.ts'
import { etcdMissing, TestEtcd } from '../support/etcd.ts'
import { authorityFor } from '../support/members.ts'
import { MemoryLog } from '../support/ports.ts'
import { realClock as clock } from '../support/real-clock.ts'
import { containerId } from '../support/records.ts'
import { StoreHost, until } from '../support/store-host.ts'

root.setTimeout(600_000)

/** Whose block every address is in, as one host sees it. */
const textOf = ({ hosts, blocks, containers }: Environment): string =>
  [
    ...[...hosts.values()].map(({ record }) => `host ${record.name}`),
    ...[...blocks].map(([cidr, { host }]) => `${cidr} ${hosts.get(host)?.record.name}`),
    ...[...containers.values()].map(({ name, address }) => `${name} ${address}`),
  ]
    .sort()
    .join('\n')

/** From the store itself, and not from what they remember. */
const agree = (hosts: readonly StoreHost[], wanted: string): Promise<true> =>
  until('all hosts to see what was there', () =>
    hosts.every(
      ({ fresh, bridges, view }) => fresh && !bridges && view !== undefined && textOf(view) === wanted,
    )
      ? true
      : undefined,
  )

const needsEtcd = etcdMissing() === undefined ? {} : { skip: etcdMissing() ?? '' }

test('restored from before a host came, then emptied', needsEtcd, async (t) => {
  const etcd = await TestEtcd.start()
  t.teardown(() => etcd.remove())
  const [member] = etcd.members
  if (member === undefined) throw new TypeError('one member')
  const { ca, trust } = authorityFor(t, clock.now())
  const open = () => openStore({ url: etcd.url, path: '' }, { clock, log: new MemoryLog() })
  const one = new StoreHost(t, 'one', await open(), ca, trust)
  const two = new StoreHost(t, 'two', await open(), ca, trust)
  const web = await one.run('web')
  await two.run('short')
  await until('both to see both', () => (one.view?.containers.size === 2 ? true : undefined))

  const backup = join(etcd.folder, 'backup.db')
  await etcd.ctl('snapshot', 'save', backup)
  two.remove('short')
  const late = new StoreHost(t, 'late', await open(), ca, trust)
  const address = await late.run('later')
  const hosts = [one, two, late]
  await until('all to see it', () =>
    hosts.every(
      ({ view }) => view?.containers.get(containerId('later'))?.address === address && view.hosts.size === 3,
    )
      ? true
      : undefined,
  )
  // Claims that follow each other come to rest.
  await delay(1500)
  const wanted = textOf(late.view as Environment)
  await agree(hosts, wanted)
  for (const host of hosts) host.views = []

  await t.test('restored', async (t) => {
    await member.kill()
    const data = join(etcd.folder, member.name)
    renameSync(data, `${data}.lost`)
    const peer = `http://127.0.0.1:${member.ports.peer}`
    const cluster = ['--initial-cluster', `${member.name}=${peer}`, '--initial-cluster-token', 'restored']
    const place = ['--name', member.name, '--initial-advertise-peer-urls', peer, '--data-dir', data]
    await promisify(execFile)('etcdctl', ['snapshot', 'restore', backup, ...place, ...cluster], {
      env: { PATH: process.env.PATH, ETCDCTL_API: '3' },
    })
    member.start()
    await etcd.ready()
    await until('a host to be told', () => (one.views.length > 1 ? true : undefined))
    await agree(hosts, wanted)
    t.same([one.addressOf('web'), late.addressOf('later')], [web, address])
    nobodyMissed(t, hosts, wanted)
  })

  await t.test('emptied', async (t) => {
    await member.kill()
    rmSync(join(etcd.folder, member.name), { recursive: true })
    member.start()
    await etcd.ready()
    await until('a host to be told', () => (one.views.length > 1 ? true : undefined))
    await agree(hosts, wanted)
    t.same([one.addressOf('web'), late.addressOf('later')], [web, address])
    nobodyMissed(t, hosts, wanted)
  })
})

/** No view lacked anything, and no container was told to give up its address. */
function nobodyMissed(t: Test, hosts: readonly StoreHost[], wanted: string): void {
  for (const host of hosts) {
    const missing = host.views.flatMap((view) => {
      const shown = new Set(textOf(view).split('\n'))
      return wanted.split('\n').filter((line) => !shown.has(line))
    })
    t.same([...new Set(missing)], [], `${host.name} saw everything all the time`)
    t.same(host.lost, [])
    host.views = []
  }
}
