/**
 * Two hosts whose daemons are restarted and whose tunnel processes are replaced under a ping every 2 ms and a TCP
 * transfer between two containers: nothing is lost, nothing is reset, no session is made anew.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { dirname, join } from 'node:path'
import { type Test, test } from 'tap'
import { until } from '../../lab/command.ts'
import type { LabHost } from '../../lab/host.ts'
import { node, root } from '../../lab/layout.ts'
import { UapiClient } from '../../tunnel/uapi-client.ts'
import { readState } from '../../tunnel/uapi-peers.ts'
import { addressOf, labFor, labNeeds, Pinger, pidOf, reaches } from '../support/lab.ts'

const port = '5999'

/** A program in a container's network that was found by its pid. */
const inside = (pid: number, ...argv: readonly string[]) =>
  spawn('nsenter', [`--net=/proc/${pid}/ns/net`, ...argv], { stdio: ['ignore', 'pipe', 'pipe'] })

/** A transfer from one container to another's address until `stop`; how many bytes arrived, -1 where it broke. */
async function transfer(t: Test, from: number, to: number, address: string) {
  const server = inside(to, 'iperf3', '-s', '-1', '--forceflush', '-p', port)
  t.teardown(() => server.kill('SIGKILL'))
  let said = ''
  server.stdout.on('data', (chunk) => {
    said += String(chunk)
  })
  await until('iperf3 to listen', async () => said.includes('listening') || undefined)
  // Slowly, so that the two processors of a small machine have time for the rest.
  const client = inside(from, 'iperf3', '-J', '-c', address, '-p', port, '-t', '600', '-b', '20M')
  t.teardown(() => client.kill('SIGKILL'))
  let report = ''
  client.stdout.on('data', (chunk) => {
    report += String(chunk)
  })
  const closed = once(client, 'close')
  return async () => {
    const alive = client.exitCode === null
    client.kill('SIGINT')
    await closed
    const { end } = JSON.parse(report)
    return { alive, streams: end.streams.length, sent: end.sum_sent.bytes }
  }
}

/** When the host's session with its only peer was made. */
async function session({ entry }: LabHost): Promise<number> {
  const [peer] = readState(await new UapiClient(entry.uapi).get()).peers
  return Number(peer?.lastHandshake)
}

/** As an operator does it. */
async function replace(host: LabHost): Promise<void> {
  const before = await host.pidOf('tunnel')
  const sockets = `DROVER_TUNNEL_SOCKETS=${dirname(host.entry.uapi)}`
  await host.must(['env', sockets, node, join(root, 'cli/wireguard.ts'), '--replace', 'drover0'])
  await until(
    'another process',
    async () => ![undefined, before].includes(await host.pidOf('tunnel')) || undefined,
  )
}

test('never down', labNeeds(), async (t) => {
  const lab = await labFor(t, { what: 'never', hosts: 2, store: 'etcd' })
  const [h1, h2] = [lab.host(1), lab.host(2)]
  await Promise.all([
    h1.managed({ name: 'one', stack: 'shop', service: 'one' }),
    h2.managed({ name: 'two', stack: 'shop', service: 'two' }),
  ])
  const [, address] = await Promise.all([addressOf(h1, 'one'), addressOf(h2, 'two')])
  await reaches(h1, 'one', address)
  const [one, two] = await Promise.all([pidOf(h1, 'one'), pidOf(h2, 'two')])

  const undisturbed = async (t: Test, act: () => Promise<void>): Promise<void> => {
    const stop = await transfer(t, one, two, address)
    const pinger = await Pinger.start(one, address, 0.002)
    await act()
    const { replies } = pinger
    await until('replies at the end', async () => pinger.replies > replies + 100 || undefined)
    const { sent, received } = await pinger.stop()
    // The last one may still be on its way when ping ends.
    t.ok(sent - received <= 1, `${received} of ${sent} pings were answered`)
    const { alive, streams, sent: bytes } = await stop()
    t.ok(alive, 'the transfer goes on until it is told to stop')
    t.equal(streams, 1)
    t.ok(bytes > 1e6, `${bytes} bytes`)
  }

  await t.test('daemons are restarted, in peace and by force', (t) =>
    undisturbed(t, async () => {
      for (const signal of ['SIGTERM', 'SIGKILL', 'SIGTERM'] as const)
        for (const host of [h1, h2]) await host.restart('daemon', signal)
    }),
  )

  const { tunnel } = (await h1.drover('status')) as { readonly tunnel: { readonly engine: string } }
  const kernel =
    tunnel.engine === 'userspace' ? {} : { skip: 'the kernel has the tunnel: no process to replace' }
  await t.test('tunnel processes are replaced', kernel, async (t) => {
    const before = await Promise.all([session(h1), session(h2)])
    await undisturbed(t, async () => {
      for (let round = 0; round < 3; round++) for (const host of [h1, h2]) await replace(host)
    })
    t.same(await Promise.all([session(h1), session(h2)]), before, 'the sessions are the same')
    for (const host of [h1, h2])
      t.match(await host.drover('status'), { tunnel: { running: true, problem: '' } })
  })
})
