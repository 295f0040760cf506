/**
 * Whatever fails while a tunnel process is replaced leaves exactly one of the two processes with the tunnel: a
 * successor that fails is forgotten, a predecessor that dies is succeeded from its state file.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Test, test } from 'tap'
import { UapiClient } from '../../../tunnel/uapi-client.ts'
import { needsRoot, until } from '../../support/netns.ts'
import {
  handshakeOf,
  type Pair,
  pidOf,
  ping,
  replace,
  run,
  socketOf,
  TunnelWorld,
} from '../../support/tunnel-pair.ts'

const slow = { ...needsRoot, timeout: 120_000 }
const world = await TunnelWorld.open()
const fake = join(import.meta.dirname, '../../support/fake-successor.ts')

const childrenOf = (pid: number): string => readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim()

/** The pair goes on in the same processes and with the same session. */
async function unmoved(t: Test, { one, other }: Pair, act: () => Promise<unknown>): Promise<void> {
  const [pid, session] = [await pidOf(one), await handshakeOf(one)]
  const stop = world.pings(one, other.address)
  await act()
  await ping(other, one.address)
  const { lost, longest } = await stop()
  t.comment(`longest ping ${longest} ms`)
  t.equal(lost, 0)
  t.strictSame([await pidOf(one), await handshakeOf(one)], [pid, session])
  t.equal(childrenOf(pid), '', 'no successor is left')
}

test('a successor that fails leaves the tunnel where it was', slow, async (t) => {
  const pair = await world.pair(t, 'f', ['drover', 'drover'])
  const client = new UapiClient(socketOf(pair.one), { deadline: 30_000 })
  await ping(pair.one, pair.other.address)
  const failures = {
    'knows another version': /reads hand-over versions 9, not 2, 3/,
    'dies at once': /has ended/,
    'dies with the state': /has ended/,
    refuses: /not today/,
    'closes the channel': /has ended/,
    'speaks garbage': /not a frame/,
  }
  for (const [act, why] of Object.entries(failures)) {
    await t.test(act, (t) =>
      unmoved(t, pair, async () => {
        const command = [process.execPath, fake, act]
        await t.rejects(client.replace(command), { code: 'TUNNEL_REPLACE', message: why })
      }),
    )
  }
  await t.test('hangs with the state', async (t) => {
    const refused = client.replace([process.execPath, fake, 'hangs'])
    await t.rejects(refused, { code: 'TUNNEL_REPLACE', message: /does not take over/ })
    t.equal(childrenOf(await pidOf(pair.one)), '', 'it is dead before packets flow again')
    await ping(pair.other, pair.one.address)
  })
  await t.test('no such program', (t) =>
    unmoved(t, pair, () => t.rejects(client.replace(['/does/not/exist']), { code: 'TUNNEL_REPLACE' })),
  )
  await t.test('two at once', async (t) => {
    const results = await Promise.allSettled([replace(pair.one), replace(pair.one)])
    t.same(results.map(({ status }) => status).sort(), ['fulfilled', 'rejected'])
    await ping(pair.other, pair.one.address)
  })
})

test(
  'a predecessor that is killed while its successor loads: that one uses the state file',
  slow,
  async (t) => {
    const { one, other } = await world.pair(t, 'p', ['drover', 'drover'])
    await ping(one, other.address)
    const session = await handshakeOf(one)
    const pid = await pidOf(one)
    const asked = replace(one).catch(() => undefined)
    const successor = await until('a successor', async () => {
      const children = childrenOf(pid)
      return children === '' ? undefined : Number(children)
    })
    process.kill(pid, 'SIGKILL')
    await asked
    await until('the successor serves', async () => (await pidOf(one).catch(() => 0)) === successor)
    await until('a new handshake', async () => (await handshakeOf(one)) >= session)
    await ping(other, one.address)
    t.match((await run('wg', ['show', one.device, 'listen-port'])).stdout, '51820')
  },
)

test('cleaning up', async () => world.close())
