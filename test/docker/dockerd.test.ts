/** The engine that other tests stand on: it starts, survives kill -9, restarts and leaves nothing behind. */
import { existsSync, readFileSync } from 'node:fs'
import { test } from 'tap'
import { dockerdMissing, processRuns, TestDockerd } from '../support/dockerd.ts'

test('a real engine for tests', { skip: dockerdMissing() ?? false }, async (t) => {
  const engine = new TestDockerd()
  t.teardown(() => engine.remove())
  await engine.start()
  const id = await engine.runContainer(['--name', 'one', '--restart', 'always'])
  t.match(id, /^[0-9a-f]{64}$/)
  t.match(engine.inside('ip', 'link'), /docker0/, 'its bridge is in its namespace')
  t.match(engine.inside('iptables', '-S'), /DOCKER-USER/, 'and so are its rules')

  const pid = await engine.docker('inspect', '-f', '{{.State.Pid}}', id)
  await engine.kill()
  t.ok(processRuns(pid), 'containers outlive kill -9 of the engine')
  await engine.start()
  await engine.restart()
  t.equal(await engine.docker('inspect', '-f', '{{.State.Running}}', id), 'true')

  const left = await engine.docker('inspect', '-f', '{{.State.Pid}}', id)
  await engine.kill()
  await engine.remove()
  t.notOk(processRuns(left), 'nothing runs afterwards')
  t.notOk(existsSync(engine.folder))
  t.notOk(existsSync(`/run/netns/${engine.namespace}`))
  t.notMatch(readFileSync('/proc/self/mounts', 'utf8'), engine.folder)
})
