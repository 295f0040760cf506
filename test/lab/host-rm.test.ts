/**
 * A host that is removed is out at once, although it still reaches the store; its certificate does not bring it
 * back, a new token does.
 */
import { test } from 'tap'
import { until } from '../../lab/command.ts'
import { drover } from '../../lab/drover.ts'
import type { LabHost } from '../../lab/host.ts'
import type { StatusView } from '../../status/status.ts'
import { addressOf, labFor, labNeeds, reaches, resolvesTo } from '../support/lab.ts'

const hostsOf = async (host: LabHost): Promise<string> =>
  ((await host.drover('hosts')) as readonly { readonly name: string }[])
    .map(({ name }) => name)
    .sort()
    .join(' ')

test('drover host rm', labNeeds(), async (t) => {
  const lab = await labFor(t, { what: 'rm', hosts: 2, store: 'etcd' })
  const [h1, h2] = [lab.host(1), lab.host(2)]
  await Promise.all([
    h1.managed({ name: 'client', stack: 'shop', service: 'client' }),
    h2.managed({ name: 'web', stack: 'shop', service: 'web' }),
  ])
  const web = await addressOf(h2, 'web')
  await resolvesTo(h1, 'client', 'web.shop.rancher.internal', [web])
  t.ok(await reaches(h1, 'client', web))

  t.match(await h2.exec(drover(h2.place, 'host', 'rm', 'h1')), {
    code: 2,
    stderr: /does not hold the key of the CA/,
  })
  const since = performance.now()
  const removed = await h1.exec(drover(h1.place, 'host', 'rm', 'h2'))
  t.equal(removed.code, 0, removed.stderr)
  await until('h1 to drop it', async () => ((await hostsOf(h1)) === 'h1' ? true : undefined))
  await resolvesTo(h1, 'client', 'web.shop.rancher.internal', [])
  await until('the peer to be gone', async () =>
    ((await h1.drover('status')) as StatusView).peers.length === 0 ? true : undefined,
  )
  t.comment(`dropped in ${Math.round(performance.now() - since)} ms`)
  const { stdout: pinged } = await h1.inside('client', 'ping', '-c', '2', '-W', '1', web)
  t.match(pinged, /(0 packets received|100% packet loss)/, 'no packet reaches it')

  await until('h2 to say what happened', async () =>
    ((await h2.drover('status')) as StatusView).problems.some(({ what }) => /was removed/.test(what))
      ? true
      : undefined,
  )
  await h2.managed({ name: 'more', stack: 'shop', service: 'web' })
  await until('h1 to see what it still writes, and to refuse it', async () =>
    ((await h1.drover('status')) as StatusView).problems.some(({ what }) => /is revoked/.test(what))
      ? true
      : undefined,
  )
  t.equal(await hostsOf(h1), 'h1')
  await resolvesTo(h1, 'client', 'web.shop.rancher.internal', [])

  await h2.kill('daemon', 'SIGTERM')
  const { code, stderr } = await h2.exec(drover(h2.place, 'daemon'))
  t.equal(code, 2)
  t.match(stderr, /the certificate is revoked.*drover daemon --leave/)
  const left = await h2.exec(drover(h2.place, 'daemon', '--leave'))
  t.equal(left.code, 0, `${left.stdout}${left.stderr}`)
  await h2.docker('rm', '-f', 'web', 'more')
  await lab.join(2)
  await until('h2 to be back', async () => ((await hostsOf(h1)) === 'h1 h2' ? true : undefined))
  await h2.managed({ name: 'again', stack: 'shop', service: 'web' })
  const again = await addressOf(h2, 'again')
  await resolvesTo(h1, 'client', 'web.shop.rancher.internal', [again])
  t.ok(await reaches(h1, 'client', again))
})
