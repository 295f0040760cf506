/**
 * The lab itself: what it promises to whoever uses it, and that nothing is left of it, also after a crash.
 */
import { existsSync, mkdirSync } from 'node:fs'
import { test } from 'tap'
import { isAlive, run, until } from '../../lab/command.ts'
import { block, cut, heal, lose, shrink } from '../../lab/faults.ts'
import { Lab, testLabName } from '../../lab/lab.ts'
import { isNamespaceOf, placeOf } from '../../lab/layout.ts'
import { readRecord } from '../../lab/record.ts'
import { abandonedLabs, sweep } from '../../lab/sweep.ts'
import { labFor, labNeeds } from '../support/lab.ts'

test('names tell whose a namespace is', async (t) => {
  t.ok(isNamespaceOf('drover', 'drover-h12'))
  t.ok(isNamespaceOf('drover', 'drover-net'))
  for (const other of ['drover-two-h1', 'drover-hx', 'drover', 'other-h1'])
    t.notOk(isNamespaceOf('drover', other), other)
})

test('labs of tests that were killed are found, those of living ones are not', async (t) => {
  const living = placeOf(testLabName('living'))
  const dead = placeOf('dt-dead-zzzzz')
  t.teardown(() => Promise.all([sweep(living), sweep(dead)]))
  for (const { folder } of [living, dead]) mkdirSync(folder, { recursive: true })
  const found = abandonedLabs()
  t.ok(found.includes(dead.name))
  t.notOk(found.includes(living.name))
})

test('what no lab can be is refused before anything is made', labNeeds(), async (t) => {
  await t.rejects(Lab.up({ hosts: 2, store: 'embedded', name: 'dt-no' }), /embedded store is for one host/)
  await t.rejects(Lab.up({ hosts: 0, name: 'dt-no' }), /--hosts/)
  await t.rejects(Lab.up({ hosts: 1, name: '../x' }), /no name for a lab/)
  t.notOk(existsSync(placeOf('dt-no').folder))
})

test('faults, and the end after a crash', labNeeds(), async (t) => {
  const lab = await labFor(t, { what: 'lab', hosts: 2, store: 'etcd' })
  const { place } = lab
  const [h1, h2] = [lab.host(1), lab.host(2)]
  const ping = async (...flags: readonly string[]): Promise<boolean> =>
    (await h1.exec(['ping', '-c', '1', '-W', '1', ...flags, h2.entry.underlay])).code === 0

  t.match(readRecord(place.name), {
    environment: 'default',
    store: { kind: 'etcd', endpoints: ['http://192.168.77.251:2379'], namespace: place.store },
    hosts: [{ name: 'h1', managed: /^10\.42\./, pids: { dockerd: Number, daemon: Number } }, { name: 'h2' }],
  })
  t.ok(await ping())
  await cut(place, 'h2')
  t.notOk(await ping(), 'cut')
  await heal(place, 'h2')
  t.ok(await ping(), 'healed')
  await shrink(place, 'h2', 1000)
  t.same([await ping('-s', '972'), await ping('-s', '973')], [true, false], 'a path of 1000 bytes')
  await heal(place, 'h2')
  await lose(place, 'h2', 90)
  const { stdout: lossy } = await h1.exec(['ping', '-c', '40', '-i', '0.02', '-W', '1', h2.entry.underlay])
  t.match(lossy, /(?:8|9)\d(?:\.\d+)?% packet loss|100% packet loss/, 'most packets are lost')
  await heal(place, 'h2')
  await block(place, 'h2', [51820])
  t.ok(await ping(), 'other packets pass where a port is blocked')
  await heal(place, 'h2')

  const id = await h1.docker('run', '-d', lab.record.image, 'sleep', '86400')
  const inside = Number(await h1.docker('inspect', '-f', '{{.State.Pid}}', id))
  const { dockerd, daemon } = h1.entry.pids
  await h1.kill('dockerd')
  t.ok(isAlive(inside), 'the container outlives a crash of its engine')

  await sweep(place)
  await until('the end', () => ([inside, dockerd, daemon].some(isAlive) ? undefined : true))
  t.notOk(existsSync(place.folder))
  t.notOk(existsSync(place.run))
  const { stdout } = await run(['ip', 'netns', 'list'])
  t.notMatch(stdout, place.name)
})
