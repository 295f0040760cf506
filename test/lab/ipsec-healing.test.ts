/**
 * Whatever becomes of charon, of its device and of its host, containers reach each other again soon, by IPsec or by
 * WireGuard meanwhile, IPsec carries again by itself, and nothing is ever in clear.
 */
import { test } from 'tap'
import { until } from '../../lab/command.ts'
import type { LabHost } from '../../lab/host.ts'
import {
  addressOf,
  Capture,
  labFor,
  labNeedsNightly,
  Pinger,
  pidOf,
  reachedBy,
  said,
} from '../support/lab.ts'

/** Another charon serves the host, and the one before is no more. */
const replaced = (host: LabHost, before: number | undefined): Promise<number> =>
  until('another charon', async () => {
    const now = await host.pidOf('charon')
    return now === before ? undefined : now
  })

/** Everything of Drover ends at once, and the kernel forgets its devices. */
async function reboot(host: LabHost): Promise<void> {
  await Promise.all((['daemon', 'tunnel', 'charon'] as const).map((program) => host.kill(program)))
  for (const device of ['drover0', 'ipsec0']) await host.exec(['ip', 'link', 'del', device])
  await host.start('daemon')
}

test('IPsec heals', { ...labNeedsNightly(), timeout: 600_000 }, async (t) => {
  const lab = await labFor(t, { what: 'heal', hosts: 2, store: 'etcd', backend: 'ipsec' })
  const [h1, h2] = [lab.host(1), lab.host(2)]
  const clear = await Capture.start(lab, 'net 10.42.0.0/16')
  t.teardown(() => clear.stop())
  await Promise.all([h1.managed({ name: 'one' }), h2.managed({ name: 'two' })])
  const two = await addressOf(h2, 'two')
  const pid = await pidOf(h1, 'one')

  const byIpsec = () => Promise.all([reachedBy(h1, 'ipsec'), reachedBy(h2, 'ipsec')])
  const heals = (what: string, act: () => Promise<unknown>) =>
    t.test(what, async (t) => {
      await byIpsec()
      const pinger = await Pinger.start(pid, two)
      const begin = performance.now()
      await act()
      said(t, 'it is seen', begin)
      await byIpsec()
      said(t, 'IPsec carries', begin)
      const { replies } = pinger
      await until('replies', () => pinger.replies > replies + 20 || undefined)
      const { sent, received } = await pinger.stop()
      t.comment(`${((sent - received) / 20).toFixed(1)} s without a reply, by whatever backend`)
      t.ok(received > 20)
    })

  await heals('a device that somebody removed', async () => {
    const before = await h2.pidOf('charon')
    await h2.must(['ip', 'link', 'del', 'ipsec0'])
    await replaced(h2, before)
  })

  await heals('a charon that hangs', async () => {
    const before = (await h2.pidOf('charon')) ?? 0
    process.kill(before, 'SIGSTOP')
    await replaced(h2, before)
  })

  await t.test('a host that starts again', async () => {
    const begin = performance.now()
    await reboot(h2)
    said(t, 'it is there', begin)
    const pinger = await Pinger.start(pid, two)
    said(t, 'a reply', begin)
    await byIpsec()
    said(t, 'IPsec carries', begin)
    await pinger.stop()
  })

  t.same(clear.lines, [], 'nothing was in clear at any time')
})
