/**
 * A daemon that is told to stop ends, also when a part of it has forgotten a socket; then it says which one.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Test, test } from 'tap'
import { holdersOf } from '../../daemon/loop-holders.ts'
import { seconds } from '../../model/time.ts'
import { NetnsWorld, needsRoot, until } from '../support/netns.ts'

const main = join(import.meta.dirname, '../../cli/main.ts')

test('what holds a process, in words', (t) => {
  const active = { is_active: true, is_referenced: true }
  const here = { host: '192.0.2.7', port: 40100 }
  const handles = [
    { type: 'tcp', ...active, localEndpoint: here, remoteEndpoint: { host: '192.0.2.1', port: 2379 } },
    { type: 'tcp', ...active, localEndpoint: here, remoteEndpoint: null },
    { type: 'pipe', ...active, localEndpoint: '/run/a.sock' },
    { type: 'timer', ...active },
    { type: 'timer', ...active },
    { type: 'check', is_active: false, is_referenced: true },
    { type: 'udp', is_active: true, is_referenced: false },
  ]
  t.strictSame(holdersOf(handles, ['TCPSocketWrap', 'FSReqPromise']), [
    'tcp 192.0.2.7:40100 -> 192.0.2.1:2379',
    'tcp 192.0.2.7:40100',
    'pipe /run/a.sock',
    '2 × timer',
    'FSReqPromise',
  ])
  t.end()
})

/** A daemon without a Docker engine in a namespace of its own, which first runs a line of JavaScript. */
async function daemonWith(t: Test, first: string) {
  const folder = mkdtempSync(join(tmpdir(), 'dt-stop-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  const world = await NetnsWorld.open()
  t.teardown(() => world.close())
  const [space, other] = [await world.netns('stop'), await world.netns('peer')]
  await world.wire(space, 'u0 192.168.63.1/24', other, 'u0 192.168.63.2/24')
  await space.sh('ip route add default via 192.168.63.2')
  const config = join(folder, 'drover.yaml')
  writeFileSync(
    config,
    `state: ${folder}/state\nrun: ${folder}/run\nhost: { name: alone }\ndocker: { host: 'unix://${folder}/none.sock' }
tunnel: { interface: dts${process.pid}, engine: userspace, sockets: ${folder}/sockets }\n`,
  )
  const preload = `data:text/javascript,${encodeURIComponent(first)}`
  const node = [process.execPath, '--import', preload, main, 'daemon']
  const leave = [process.execPath, main, 'daemon', '--leave', '--config', config]
  t.teardown(() => space.runner.attempt(leave, { timeout: seconds(60) }))
  const child = world.spawn(space, [...node, '--init', '--config', config])
  let said = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream?.on('data', (chunk: Buffer) => {
      said += String(chunk)
    })
  }
  const ended = new Promise<number | null>((resolve) => child.once('exit', resolve))
  const listens = () => {
    if (child.exitCode !== null) throw new Error(said)
    return said.includes('"listening"')
  }
  await until('it listens', listens, 100_000)
  return { child, ended, log: () => said }
}

test('a socket that was forgotten holds it for a bounded time', {
  ...needsRoot,
  timeout: 180_000,
}, async (t) => {
  const forgotten = `import { createServer } from 'node:net'
    import { isMainThread } from 'node:worker_threads'
    if (isMainThread) createServer().listen(40999, '127.0.0.1')`
  const { child, ended, log } = await daemonWith(t, forgotten)
  child.kill('SIGTERM')
  t.equal(await ended, 70)
  const line = log()
    .split('\n')
    .find((text) => text.includes('does not end by itself'))
  t.match(JSON.parse(line ?? '{}'), { level: 'error', holders: ['tcp 127.0.0.1:40999'] })
  t.match(log(), '"drover stops; containers stay connected"', 'all of its own was closed before')
})
