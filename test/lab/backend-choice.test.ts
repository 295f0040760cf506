/**
 * IPsec on two real hosts whose kernels need not have it: charon encrypts itself. It carries what containers say, WireGuard
 * takes over when its ports are blocked, and it is gone back to without losing a packet; nothing of it is ever in clear.
 */
import { join } from 'node:path'
import { test } from 'tap'
import { until } from '../../lab/command.ts'
import { block, blockSent, heal, ipsecPorts } from '../../lab/faults.ts'
import type { LabHost } from '../../lab/host.ts'
import { reasonOf } from '../../model/errors.ts'
import type { HostId } from '../../model/records.ts'
import type { HostView, StatusView } from '../../status/status.ts'
import { ikeIdentity } from '../../tunnel/ipsec/credentials.ts'
import { ViciClient } from '../../tunnel/ipsec/vici-client.ts'
import {
  addressOf,
  Capture,
  doctor,
  labFor,
  labNeeds,
  Pinger,
  pidOf,
  reachedBy,
  reaches,
  said,
} from '../support/lab.ts'

/** A ping of 1,000 bytes, whatever it is wrapped in; probes of the path have other sizes. */
const asLong = 'greater 1070 and less 1130'

/** Its charon takes nothing from the other host but what Drover never offers. */
async function otherProposal(host: LabHost): Promise<void> {
  const vici = await ViciClient.open(join(host.place.run, 'charon.vici'))
  try {
    const [own, peer] = ((await host.drover('hosts')) as readonly HostView[])
      .toSorted(({ name }) => (name === host.entry.name ? -1 : 1))
      .map(({ id }) => id as HostId)
    if (own === undefined || peer === undefined) throw new TypeError('two hosts')
    const foreign = {
      version: '2',
      remote_addrs: ['%any'],
      proposals: ['aes128-sha256-modp2048'],
      local: { auth: 'pubkey', id: ikeIdentity('default', own) },
      remote: { auth: 'pubkey', id: ikeIdentity('default', peer) },
    }
    await vici.request('load-conn', { [peer]: foreign })
    // Refused while the other side makes the next one already.
    await until('the end of what was agreed before', () =>
      vici
        .request('terminate', { ike: peer, force: 'yes', timeout: '5000' })
        .catch((error: unknown) => (/no matching SAs/.test(reasonOf(error)) ? {} : undefined)),
    )
  } finally {
    vici.close()
  }
}

test('IPsec, WireGuard while it is blocked, and back', { ...labNeeds(), timeout: 600_000 }, async (t) => {
  const lab = await labFor(t, { what: 'ipsec', hosts: 2, store: 'etcd', backend: 'ipsec' })
  const [h1, h2] = [lab.host(1), lab.host(2)]
  const clear = await Capture.start(lab, 'net 10.42.0.0/16')
  t.teardown(() => clear.stop())
  await Promise.all([h1.managed({ name: 'one' }), h2.managed({ name: 'two' })])
  const [one, two] = await Promise.all([addressOf(h1, 'one'), addressOf(h2, 'two')])
  await Promise.all([reachedBy(h1, 'ipsec'), reachedBy(h2, 'ipsec')])
  const pid = await pidOf(h1, 'one')

  await t.test('it carries what containers say', async (t) => {
    await reaches(h1, 'one', two)
    await reaches(h2, 'two', one)
    const [esp, wireguard] = [
      await Capture.start(lab, `udp port 4500 and ${asLong}`),
      await Capture.start(lab, `udp port 51820 and ${asLong}`),
    ]
    const ping = ['ping', '-n', '-c', '10', '-i', '0.05', '-s', '1000', two]
    const { stdout } = await h1.exec(['nsenter', `--net=/proc/${pid}/ns/net`, ...ping])
    t.match(stdout, ' 0% packet loss')
    t.ok((await esp.stop()).length >= 20, 'there and back')
    t.same(
      (await wireguard.stop()).filter((line) => line !== ''),
      [],
      'not by WireGuard',
    )
    const status = (await h1.drover('status')) as StatusView
    t.match(status.ipsec, { esp: 'userspace', running: true })
    t.match(status.peers, [
      { backend: 'ipsec', reason: 'as configured', engine: 'charon', endpoint: `${h2.entry.underlay}:4500` },
    ])
    t.match(await h1.drover('hosts'), [
      { name: 'h1', backend: '' },
      { name: 'h2', backend: 'ipsec' },
    ])
  })

  const blocks = (how: string, fault: typeof block) =>
    t.test(`blocked ${how}: WireGuard takes over; open again: back without a lost packet`, async (t) => {
      const through = await Pinger.start(pid, two)
      const blocked = performance.now()
      await fault(lab.place, 'h1', ipsecPorts)
      const [peer] = await Promise.all([reachedBy(h1, 'wireguard'), reachedBy(h2, 'wireguard')])
      said(t, 'both hosts use WireGuard', blocked)
      t.match(peer, { reason: 'IPsec carries no probe' })
      const { replies } = through
      await until('replies again', () => through.replies > replies + 10 || undefined)
      const { sent, received } = await through.stop()
      t.comment(`${sent - received} of ${sent} pings were lost, 20 a second`)

      const back = await Pinger.start(pid, two)
      const open = performance.now()
      await heal(lab.place, 'h1')
      await Promise.all([reachedBy(h1, 'ipsec'), reachedBy(h2, 'ipsec')])
      said(t, 'both hosts use IPsec again', open)
      const before = back.replies
      await until('replies by IPsec', () => back.replies > before + 20 || undefined)
      const count = await back.stop()
      t.equal(count.received, count.sent, 'not one was lost on the way back')
    })
  await blocks('both ways', block)
  await blocks('one way', blockSent)

  await t.test('the daemon restarts: nothing changes', async (t) => {
    const charon = await h1.pidOf('charon')
    const pinger = await Pinger.start(pid, two)
    await h1.restart('daemon')
    await reachedBy(h1, 'ipsec')
    const { replies } = pinger
    await until('more replies', () => pinger.replies > replies + 20 || undefined)
    const { sent, received } = await pinger.stop()
    t.equal(received, sent, 'not one was lost')
    t.equal(await h1.pidOf('charon'), charon, 'the same charon')
  })

  await t.test('charon is killed: it comes back', async (t) => {
    const before = await h1.pidOf('charon')
    t.ok(await h1.kill('charon'), 'it ran')
    await until('another charon', async () => {
      const now = await h1.pidOf('charon')
      return (now !== undefined && now !== before) || undefined
    })
    await Promise.all([reachedBy(h1, 'ipsec'), reachedBy(h2, 'ipsec')])
    t.ok(await reaches(h1, 'one', two))
  })

  await t.test('a peer with another proposal: doctor names it, WireGuard carries', async (t) => {
    const finds = (wanted: boolean) =>
      until(`doctor ${wanted ? 'to name' : 'to forget'} the proposal`, async () => {
        const one = (await doctor(h1)).findings.find(({ what }) => /that both allow/.test(what))
        return (one === undefined) === wanted ? undefined : { one }
      })
    await otherProposal(h2)
    const { one: finding } = await finds(true)
    t.match(finding, {
      where: 'tunnel',
      what: /^IPsec to h2: the peer knows no connection with this host that both allow/,
      remedy: /allow aes256gcm16-prfsha384-x25519 .*; WireGuard carries meanwhile$/,
    })
    await reachedBy(h1, 'wireguard')
    t.ok(await reaches(h1, 'one', two))
    await h2.kill('charon')
    await finds(false)
  })

  t.same(clear.lines, [], 'nothing was in clear at any time')
})
