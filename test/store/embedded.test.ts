/** EmbeddedStore against the compliance suite, and what only a file can suffer: kill -9, damage, two readers. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { type Test, test } from 'tap'
import { utf8, utf8Text } from '../../model/bytes.ts'
import { seconds } from '../../model/time.ts'
import { EmbeddedStore } from '../../store/embedded.ts'
import type { Write } from '../../store/store.ts'
import { put, testStore } from '../compliance/store.ts'
import { FakeClock } from '../support/ports.ts'

const makeFolder = () => mkdtempSync(join(tmpdir(), 'dt-store-'))

function folderOf(t: Test): string {
  const folder = makeFolder()
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

testStore('embedded', async () => {
  const clock = new FakeClock()
  const folder = makeFolder()
  const store = new EmbeddedStore({ clock }, { path: join(folder, 'state/store.sqlite') })
  return {
    store,
    other: store,
    pass: async (time) => {
      clock.advance(seconds(time))
      clock.jump(seconds(-86_400))
      await new Promise(setImmediate)
    },
    remove: async () => {
      await store.close()
      rmSync(folder, { recursive: true, force: true })
    },
  }
})

test('what is written survives a restart, leases with their full length', async (t) => {
  const path = join(folderOf(t), 'store.sqlite')
  const clock = new FakeClock()
  const first = new EmbeddedStore({ clock }, { path })
  const lease = await first.grant(9)
  const leased: Write = { is: 'put', key: '/alive', value: utf8('yes'), lease }
  await first.transact([], [put('/a', '1'), put('/b', '2'), leased])
  const done = await first.transact([], [{ is: 'delete', key: '/b' }])
  await first.close()
  t.equal(statSync(path).mode & 0o777, 0o600)
  const second = new EmbeddedStore({ clock }, { path })
  const { revision, entries } = await second.list('/')
  t.equal(revision, done.revision)
  t.strictSame(
    entries.map(({ key }) => key),
    ['/a', '/alive'],
  )
  t.equal((await second.grant(9)).id === lease.id, false, 'lease ids are not used twice')
  clock.advance(seconds(8))
  t.ok(await second.get('/alive'))
  clock.advance(seconds(2))
  t.equal(await second.get('/alive'), undefined)
  await second.close()
  const third = new EmbeddedStore({ clock }, { path })
  t.equal(await third.get('/alive'), undefined)
  await third.close()
})

test('kill -9 at any point loses nothing that was confirmed', async (t) => {
  const path = join(folderOf(t), 'store.sqlite')
  const rounds = Number(process.env.DROVER_TEST_KILLS ?? 6)
  let revision = 0
  for (let round = 0; round < rounds; round++) {
    const child = spawn(process.execPath, [join(import.meta.dirname, 'embedded-writer.ts'), path], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    const exited = once(child, 'exit')
    let confirmed = 0
    let lines = 0
    for await (const line of createInterface(child.stdout)) {
      confirmed = Number(line)
      lines++
      if (lines === 5 + round * 7) child.kill('SIGKILL')
    }
    t.strictSame(await exited, [null, 'SIGKILL'])
    const store = new EmbeddedStore({ clock: new FakeClock() }, { path })
    const [one, two] = await Promise.all([store.get('/one'), store.get('/two')])
    t.strictSame(one?.value, two?.value, 'a transaction is whole or absent')
    t.ok(Number(utf8Text(one?.value ?? utf8(''))) >= confirmed, 'confirmed means on disk')
    const listing = await store.list('/')
    t.ok(listing.revision > revision, 'revisions never go back')
    revision = listing.revision
    await store.close()
  }
})

test('a second process is refused, and let in after the first', async (t) => {
  const path = join(folderOf(t), 'store.sqlite')
  const child = spawn(process.execPath, [join(import.meta.dirname, 'embedded-writer.ts'), path], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const exited = once(child, 'exit')
  await once(child.stdout, 'data')
  t.throws(() => new EmbeddedStore({ clock: new FakeClock() }, { path }), { code: 'STORE_BUSY' })
  child.kill('SIGKILL')
  await exited
  await new EmbeddedStore({ clock: new FakeClock() }, { path }).close()
})

test('a damaged file is refused by name', async (t) => {
  const folder = folderOf(t)
  const path = join(folder, 'store.sqlite')
  const open = () => new EmbeddedStore({ clock: new FakeClock() }, { path })
  const store = open()
  for (let at = 0; at < 50; at++) await store.transact([], [put(`/key${at}`, `value ${at} `.repeat(50))])
  await store.close()
  const whole = readFileSync(path)
  const refused = (what: string) => t.throws(open, { code: 'STORE_CORRUPT', message: new RegExp(path) }, what)
  writeFileSync(path, 'this is not a database, but it is long enough to be read as one '.repeat(100))
  refused('garbage')
  writeFileSync(path, whole)
  truncateSync(path, Math.floor(whole.length / 2))
  refused('truncated')
  const altered = Buffer.from(whole)
  altered.write('VALUE', whole.indexOf('value 30'))
  writeFileSync(path, altered)
  refused('one value altered')
  writeFileSync(path, whole)
  await open().close()
  t.throws(() => new EmbeddedStore({ clock: new FakeClock() }, { path: folder }), {
    code: 'STORE_UNREADABLE',
  })
  const under = join(path, 'store.sqlite')
  t.throws(() => new EmbeddedStore({ clock: new FakeClock() }, { path: under }), { code: 'STORE_UNREADABLE' })
})
