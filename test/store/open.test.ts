/** The operator's words for a store: what is understood, and how the rest is refused. */
import { mkdtempSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'tap'
import { openStore, parseStoreUrl } from '../../store/open.ts'
import { FakeClock, MemoryLog } from '../support/ports.ts'

const deps = { clock: new FakeClock(), log: new MemoryLog() }

test('addresses of stores', (t) => {
  t.strictSame(parseStoreUrl('embedded'), { is: 'embedded' })
  const etcd = (endpoints: readonly string[], tls = false) => ({ is: 'etcd' as const, endpoints, tls })
  t.strictSame(
    parseStoreUrl('etcd://h1:2379,10.0.0.2:4001,h3'),
    etcd(['h1:2379', '10.0.0.2:4001', 'h3:2379']),
  )
  t.strictSame(parseStoreUrl('etcds://[fd00::1]:2379,[::1]/'), etcd(['[fd00::1]:2379', '[::1]:2379'], true))
  const wrong = ['', 'embeded', 'http://h', 'etcd:', 'etcd://', 'etcd://,', 'etcd://h:0', 'etcd://h:70000']
  for (const url of [...wrong, 'etcd://h:x', 'etcd://u@h', 'etcd://h/p', 'etcd://h 1'])
    t.throws(() => parseStoreUrl(url), { code: 'STORE_URL', culprit: 'operator' }, url)
  t.end()
})

const { cache } = createRequire(import.meta.url)
const isLoaded = (name: string): boolean =>
  Object.keys(cache).some((path) => path.includes(`/node_modules/${name}/`))

test('opening', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'dt-open-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  const path = join(folder, 'store.sqlite')
  const embedded = await openStore({ url: 'embedded', path }, deps)
  t.notOk(isLoaded('etcd3'), 'who has no etcd does not pay for its client')
  t.equal((await embedded.transact([], [])).is, 'done')
  await t.rejects(openStore({ url: 'embedded', path }, deps), { code: 'STORE_BUSY' })
  await embedded.close()
  const etcd = (tls: object) => openStore({ url: 'etcd://h', path, tls }, deps)
  await t.rejects(etcd({ ca: join(folder, 'none.pem') }), { code: 'CONFIG_INVALID', message: /none\.pem/ })
  await t.rejects(etcd({ cert: 'c' }), { code: 'CONFIG_INVALID' })
  await t.rejects(etcd({ cert: 'c', key: 'k' }), { code: 'CONFIG_INVALID' })
  const lazy = await openStore({ url: 'etcd://127.0.0.1:1', path }, deps)
  t.ok(isLoaded('etcd3'))
  await t.rejects(lazy.get('/a'), { code: 'STORE_UNAVAILABLE', message: /127\.0\.0\.1:1/ })
  await lazy.close()
  await t.rejects(lazy.get('/a'), { code: 'STORE_UNAVAILABLE' })
})
