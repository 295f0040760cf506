/**
 * The disk of a host's state runs full while its daemon works: what runs goes on, what must wait says why, nothing
 * is lost, also over a restart, and with room again everything heals by itself.
 */
import { type Test, test } from 'tap'
import { until } from '../../lab/command.ts'
import { drover } from '../../lab/drover.ts'
import type { LabHost } from '../../lab/host.ts'
import type { StatusView } from '../../status/status.ts'
import {
  addressOf,
  containersOf,
  labFor,
  labNeeds,
  Pinger,
  pidOf,
  reaches,
  resolvesTo,
} from '../support/lab.ts'
import { SmallDisk } from '../support/small-disk.ts'

const problemsOf = async (host: LabHost): Promise<string> =>
  ((await host.drover('status')) as StatusView).problems
    .map(({ what, remedy }) => `${what}; ${remedy}`)
    .join('\n')

const isFull = (t: Test, host: LabHost): Promise<void> =>
  until('the full disk to be said', async () => {
    const said = await problemsOf(host)
    return said.includes('the disk is full') ? said : undefined
  }).then((said) => void t.match(said, /journal\.db|snapshot\.db/))

test('a disk that is full', labNeeds(), async (t) => {
  const lab = await labFor(t, { what: 'full', hosts: 2, store: 'etcd' })
  const [h1, h2] = [lab.host(1), lab.host(2)]
  await Promise.all([
    h1.managed({ name: 'client', stack: 'shop', service: 'client' }),
    h2.managed({ name: 'web', stack: 'shop', service: 'web' }),
  ])
  const web = await addressOf(h2, 'web')
  await reaches(h1, 'client', web)
  const client = await addressOf(h1, 'client')
  await h1.kill('daemon', 'SIGTERM')
  const disk = new SmallDisk(t, h1.place.state)
  await h1.start('daemon')
  disk.fill()
  const pid = await h1.pidOf('daemon')
  const pinger = await Pinger.start(await pidOf(h1, 'client'), web)

  await t.test('what runs goes on, and what must wait says why', async (t) => {
    await Promise.all([
      h2.managed({ name: 'web2', stack: 'shop', service: 'web' }),
      h1.managed({ name: 'late', stack: 'shop', service: 'late' }),
    ])
    const web2 = await addressOf(h2, 'web2')
    await resolvesTo(h1, 'client', 'web.shop.rancher.internal', [web, web2])
    await isFull(t, h1)
    const { stdout } = await h1.exec(drover(h1.place, 'ps'))
    t.match(stdout, /late.*the disk is full/, 'the container says why it has no address')
    t.notOk((await containersOf(h1)).get('late'))
    const roll = await h1.exec(drover(h1.place, 'ca', 'roll'))
    t.match(roll, { code: 2, stderr: /authority\.json.*no space.*make room/s })
    const removal = await h1.exec(drover(h1.place, 'host', 'rm', 'h2'))
    t.match(removal, { code: 2, stderr: /trust\.json.*no space.*make room/s }, 'no removal that is not kept')
    t.equal(await h1.pidOf('daemon'), pid, 'it is the same daemon')
  })

  await t.test('with room again it heals by itself', async (t) => {
    disk.makeRoom()
    const late = await addressOf(h1, 'late')
    await resolvesTo(h2, 'web', 'late.shop.rancher.internal', [late])
    await until('nothing to be wrong', async () => ((await problemsOf(h1)) === '' ? true : undefined), {
      patience: 100_000,
    })
    t.equal(await h1.pidOf('daemon'), pid)
    await h1.restart('daemon')
    t.equal(await addressOf(h1, 'late'), late, 'nothing was lost')
    t.equal(await addressOf(h1, 'client'), client)
    const { sent, received } = await pinger.stop()
    t.equal(sent - received, 0, 'no ping was lost')
  })
})
