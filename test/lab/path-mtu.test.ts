/**
 * Containers on two hosts go on while a hop between them shrinks in silence: transfers in both directions come to
 * their end, the status names the path and what to do, containers are told, and a path that grows is used again.
 */
import { spawn } from 'node:child_process'
import { test } from 'tap'
import { must, until } from '../../lab/command.ts'
import { heal, shrink } from '../../lab/faults.ts'
import type { LabHost } from '../../lab/host.ts'
import type { StatusView } from '../../status/status.ts'
import { addressOf, labFor, labNeeds, pidOf, reaches } from '../support/lab.ts'
import { type Start, transfer } from '../support/transfer.ts'

const megabytes = 20
const patience = 120_000

const statusOf = async (host: LabHost): Promise<StatusView> => (await host.drover('status')) as StatusView

const shows = (host: LabHost, mtu: number): Promise<StatusView> =>
  until(
    `a path MTU of ${mtu} on ${host.place.name}`,
    async () => {
      const status = await statusOf(host)
      return status.peers[0]?.pathMtu === mtu ? status : undefined
    },
    { patience },
  )

test('a hop shrinks under transfers of containers', { ...labNeeds(), timeout: 400_000 }, async (t) => {
  const lab = await labFor(t, { what: 'mtu', hosts: 2, store: 'etcd' })
  const [h1, h2] = [lab.host(1), lab.host(2)]
  await Promise.all([h1.managed({ name: 'one' }), h2.managed({ name: 'two' })])
  const [one, two] = await Promise.all([addressOf(h1, 'one'), addressOf(h2, 'two')])
  const [onePid, twoPid] = await Promise.all([pidOf(h1, 'one'), pidOf(h2, 'two')])
  await reaches(h1, 'one', two)
  const inside =
    (pid: number): Start =>
    (argv) => {
      const child = spawn('nsenter', [`--net=/proc/${pid}/ns/net`, ...argv], { stdio: 'pipe' })
      t.teardown(() => child.kill('SIGKILL'))
      return child
    }
  /** In both directions at once. */
  const transfers = () =>
    Promise.all([
      transfer({ sender: inside(onePid), receiver: inside(twoPid), address: two, megabytes }, patience),
      transfer({ sender: inside(twoPid), receiver: inside(onePid), address: one, megabytes }, patience),
    ])
  const complete = [megabytes * 1e6, megabytes * 1e6]

  await t.test('a wide path', async (t) => {
    for (const host of [h1, h2]) {
      const { problems } = await shows(host, 1420)
      t.same(problems, [])
    }
  })

  await t.test('a hop that swallows what is larger than 1300 bytes', async (t) => {
    const arrived = await transfers()
    await shrink(lab.place, 'h2', 1300)
    const since = performance.now()
    const [first] = await Promise.all([shows(h1, 1232), shows(h2, 1232)])
    t.comment(`both hosts show it ${Math.round(performance.now() - since)} ms later`)
    t.match(first.problems, [{ what: /path to h2 carries packets of 1232 bytes/, remedy: /tunnel.mtu/ }])
    t.same(await Promise.all(arrived.map((end) => end())), complete, 'both transfers are complete')
    t.comment(`and complete after ${Math.round(performance.now() - since)} ms`)
    const text = await h1.exec(['drover', 'status'])
    t.match(text.stdout, /MTU[\s\S]*h2 .* 1232 /)
    t.equal(text.code, 1)
    const ping = ['nsenter', `--net=/proc/${onePid}/ns/net`, 'ping', '-c', '1', '-W', '2', '-M', 'do']
    const told = await h1.exec([...ping, '-s', '1300', two])
    t.match(`${told.stdout}${told.stderr}`, /mtu ?= ?1232/, 'a container is told')
    t.same(await Promise.all((await transfers()).map((end) => end())), complete, 'new connections work')
  })

  await t.test('a restart of the daemon forgets nothing', async (t) => {
    await h1.restart('daemon')
    t.match(await must(['ip', '-n', h1.place.namespace, 'route', 'get', two]), 'mtu lock 1232')
    await shows(h1, 1232)
    t.match(await must(['ip', '-n', h1.place.namespace, 'route', 'get', two]), 'mtu lock 1232')
  })

  await t.test('it grows again', async (t) => {
    await heal(lab.place, 'h2')
    const since = performance.now()
    await Promise.all([shows(h1, 1420), shows(h2, 1420)])
    t.comment(`both hosts show it ${Math.round(performance.now() - since)} ms later`)
    t.same(await Promise.all((await transfers()).map((end) => end())), complete)
  })

  await t.test("a host's own link shrinks", async (t) => {
    const arrived = await transfers()
    await must(['ip', '-n', h1.place.namespace, 'link', 'set', 'eth0', 'mtu', '1300'])
    await must(['ip', '-n', lab.place.bridge, 'link', 'set', 'h1', 'mtu', '1300'])
    await Promise.all([shows(h1, 1232), shows(h2, 1232)])
    t.same(await Promise.all(arrived.map((end) => end())), complete)
    await must(['ip', '-n', lab.place.bridge, 'link', 'set', 'h1', 'mtu', '1500'])
    await must(['ip', '-n', h1.place.namespace, 'link', 'set', 'eth0', 'mtu', '1500'])
    await Promise.all([shows(h1, 1420), shows(h2, 1420)])
  })
})
