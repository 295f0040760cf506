/**
 * Two containers in namespaces of their own and the service in a third: one opens 5,000 connections, silent, slow and
 * busy ones; it is limited, and the other is answered as if it were alone. Needs root.
 */
import type { ChildProcess } from 'node:child_process'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { test } from 'tap'
import { NetnsWorld, needsRoot, type TestNetns, until } from '../support/netns.ts'

const support = join(import.meta.dirname, '../support')
const limit = 256

interface Stats {
  readonly connections: number
  readonly limited: Readonly<Record<string, number>>
}

/** A program of test/support and the lines of JSON that it says. */
function program(world: NetnsWorld, space: TestNetns, file: string, args: readonly string[]) {
  const child: ChildProcess = world.spawn(space, [process.execPath, join(support, file), ...args])
  if (child.stdout === null) throw new TypeError('no output')
  child.stderr?.pipe(process.stderr)
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  return {
    child,
    said: async <T>(): Promise<T> => JSON.parse((await lines.next()).value ?? 'null') as T,
  }
}

test('5,000 connections of one container', { ...needsRoot, timeout: 240_000 }, async (t) => {
  const world = await NetnsWorld.open()
  t.teardown(() => world.close())
  const [server, greedy, other] = [
    await world.netns('server'),
    await world.netns('greedy'),
    await world.netns('other'),
  ]
  await world.wire(server, 'g0 192.168.77.1/30', greedy, 'w0 192.168.77.2/30')
  await world.wire(server, 'o0 192.168.78.1/30', other, 'w0 192.168.78.2/30')
  await server.sh('ip addr add 169.254.169.250/32 dev lo')
  for (const [space, via] of [
    [greedy, '192.168.77.1'],
    [other, '192.168.78.1'],
  ] as const)
    await space.sh(`ip route add 169.254.169.250/32 via ${via}`)
  const askers = ['192.168.77.2', '192.168.78.2']
  const service = program(world, server, 'metadata-server.ts', ['169.254.169.250', String(limit), ...askers])
  await service.said<Stats>()
  const stats = (): Promise<Stats> => {
    service.child.stdin?.write('\n')
    return service.said<Stats>()
  }
  const url = 'http://169.254.169.250/latest/self/container/name'
  const name = (space: TestNetns): Promise<string> => space.sh(`curl -sS --max-time 20 ${url}`)
  t.equal(await name(other), 'asker-1')
  const crowd = program(world, greedy, 'greedy-client.ts', ['169.254.169.250', '5000'])
  await until('the greedy one has its share', async () => (await stats()).connections >= limit, 60_000)
  const answers = new Set<string>()
  let rounds = 0
  const done = crowd.said<{ opened: number; refused: number; failed: number }>()
  let over = false
  void done.then(() => {
    over = true
  })
  while (!over || rounds < 20) {
    answers.add(await name(other))
    rounds += 1
  }
  t.strictSame([...answers], ['asker-1'], `${rounds} answers while the other one opened its connections`)
  const { opened, refused, failed } = await done
  t.comment(`opened ${opened}, refused ${refused}, failed ${failed}`)
  const now = await stats()
  t.ok(now.connections <= limit + 1, `${now.connections} connections are open`)
  // On a slow machine the silent ones run out of time meanwhile, and others get their places.
  const { connections: refusals = 0, time: late = 0 } = now.limited
  t.ok(refusals + late >= 5000 - limit, `${refusals} were refused, ${late} said nothing for too long`)
  const answer = await greedy.sh(`curl -s -o /dev/null -w %{http_code} --max-time 20 ${url}`).catch(String)
  if (late === 0) t.match(answer, /429|000|56/, 'one more is refused')
  crowd.child.kill('SIGKILL')
  await until('all is free again', async () => (await stats()).connections === 0, 60_000)
  t.equal(await name(greedy), 'asker-0', 'and the greedy one may ask again')
})
