/**
 * A daemon that is told to stop ends, also when a part of it has forgotten a socket; then it says which one.
 */
import { test } from 'tap'
import { holdersOf } from '../../daemon/loop-holders.ts'
import { loneHost } from '../support/lone-daemon.ts'
import { needsRoot } from '../support/netns.ts'

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

test('a socket that was forgotten holds it for a bounded time', {
  ...needsRoot,
  timeout: 180_000,
}, async (t) => {
  const forgotten = `import { createServer } from 'node:net'
    import { isMainThread } from 'node:worker_threads'
    if (isMainThread) createServer().listen(40999, '127.0.0.1')`
  const daemon = (await loneHost(t, 'stop')).start([], forgotten)
  await daemon.says('listening')
  daemon.child.kill('SIGTERM')
  t.equal(await daemon.ended, 70)
  const line = daemon.log.split('\n').find((text) => text.includes('does not end by itself'))
  t.match(JSON.parse(line ?? '{}'), { level: 'error', holders: ['tcp 127.0.0.1:40999'] })
  t.match(daemon.log, '"drover stops; containers stay connected"', 'all of its own was closed before')
})
