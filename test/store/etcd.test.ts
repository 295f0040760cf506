/**
 * EtcdStore against the compliance suite and real etcd: behind a proxy that can be cut, with members killed,
 * paused, wiped and led by another, with TLS and with users.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { t as root, type Test, test } from 'tap'
import { SystemClock } from '../../daemon/ports.ts'
import type { Log } from '../../model/ports.ts'
import { EtcdStore } from '../../store/etcd.ts'
import { openStore } from '../../store/open.ts'
import type { Store } from '../../store/store.ts'
import { patience, put, type StoreWorld, testStore, until, WatchReader } from '../compliance/store.ts'
import { etcdMissing, makeTestCertificates, TestEtcd, type TestEtcdOptions } from '../support/etcd.ts'
import { MemoryLog } from '../support/ports.ts'
import { TestProxy } from '../support/proxy.ts'

const missing = etcdMissing()
const skip = missing === undefined ? {} : { skip: missing }
/** Most of the time passes by waiting for etcd, and each has its own. */
const apart = { ...skip, buffered: true }
root.jobs = 4
const pass = (time: number) => delay(time * 1000)
const deps = (log: Log = new MemoryLog()) => ({ clock: new SystemClock(), log })

async function etcdFor(t: Test, options: TestEtcdOptions = {}): Promise<TestEtcd> {
  const etcd = await TestEtcd.start(options)
  t.teardown(() => etcd.remove())
  return etcd
}

function storeOn(t: Test, ...endpoints: readonly string[]): EtcdStore {
  const store = new EtcdStore(deps(), { endpoints })
  t.teardown(() => store.close())
  return store
}

async function worldOn(etcd: TestEtcd, how: 'silent' | 'reset'): Promise<StoreWorld> {
  await etcd.ctl('del', '', '--prefix')
  const proxy = await TestProxy.start(etcd.members[0]?.ports.client ?? 0)
  const store = new EtcdStore(deps(), { endpoints: [proxy.endpoint] })
  const other = new EtcdStore(deps(), { endpoints: etcd.endpoints })
  return {
    store,
    other,
    pass,
    compact: () => etcd.compact(),
    cut: async () => proxy.cut(how),
    mend: async () => proxy.mend(),
    remove: async () => {
      await Promise.all([store.close(), other.close()])
      proxy.remove()
    },
  }
}

const answers = (store: Store) => () =>
  store.get('/x').then(
    () => true,
    () => false,
  )

root.setTimeout(600_000)

if (missing === undefined) {
  for (const how of ['silent', 'reset'] as const)
    test(`the interface, cut by ${how}`, apart, async (t) => {
      const etcd = await etcdFor(t)
      testStore('etcd', () => worldOn(etcd, how), t)
    })
}

test('a member that is killed and comes back', apart, async (t) => {
  const etcd = await etcdFor(t)
  const [member] = etcd.members
  const store = storeOn(t, ...etcd.endpoints)
  await store.transact([], [put('/a', '1')])
  const reader = new WatchReader(store, '/')
  await until({ pass }, 'the snapshot', () => reader.state.size === 1)
  await member?.kill()
  await t.rejects(store.transact([], [put('/a', '2')]), { code: 'STORE_UNAVAILABLE' })
  await until({ pass }, 'it is stale', () => reader.stale)
  member?.start()
  await until({ pass }, 'it is fresh', () => !reader.stale)
  await store.transact([], [put('/b', '2')])
  await until({ pass }, 'it goes on', () => reader.state.size === 2)
  await reader.stop()
})

test('a member that hangs', apart, async (t) => {
  const etcd = await etcdFor(t)
  const [member] = etcd.members
  const store = storeOn(t, ...etcd.endpoints)
  const reader = new WatchReader(store, '/')
  await until({ pass }, 'the snapshot', () => reader.updates.length === 1)
  await member?.pause()
  const began = Date.now()
  await t.rejects(store.transact([], [put('/a', '1')]), { code: 'STORE_UNAVAILABLE' })
  t.ok(Date.now() - began < patience, 'a request has a deadline')
  await until({ pass }, 'a silent connection is found', () => reader.stale)
  member?.resume()
  await until({ pass }, 'it is fresh', () => !reader.stale)
  await reader.stop()
})

test('three members: one killed, the leader changed, the majority gone', apart, async (t) => {
  const etcd = await etcdFor(t, { members: 3 })
  const store = storeOn(t, ...etcd.endpoints)
  const reader = new WatchReader(store, '/')
  await until({ pass }, 'the snapshot', () => reader.updates.length === 1)
  const write = async (key: string) => {
    await until({ pass }, `${key} is written`, () =>
      store.transact([], [put(key, key)]).then(
        () => true,
        () => false,
      ),
    )
    await until({ pass }, `${key} is seen`, () => reader.state.has(key))
  }
  for (const member of etcd.members) {
    await member.kill()
    await write(`/without ${member.name}`)
    member.start()
    await etcd.ready()
  }
  const first = await etcd.leader()
  await etcd.members[first]?.pause()
  await write('/with another leader')
  etcd.members[first]?.resume()
  const leader = await etcd.leader()
  const others = etcd.members.filter((_, at) => at !== leader)
  for (const member of others) await member.pause()
  await until({ pass }, 'a member without a majority counts as gone', () => reader.stale)
  for (const member of others) member.resume()
  await until({ pass }, 'it is fresh', () => !reader.stale)
  await write('/after all')
  t.notOk(reader.stale)
  t.equal(reader.state.size, 5)
  await reader.stop()
})

test('etcd that lost its history gives a snapshot', apart, async (t) => {
  const etcd = await etcdFor(t)
  const [member] = etcd.members
  const store = storeOn(t, ...etcd.endpoints)
  for (let at = 0; at < 20; at++) await store.transact([], [put(`/${at}`, 'old')])
  const reader = new WatchReader(store, '/')
  await until({ pass }, 'the snapshot', () => reader.state.size === 20)
  await member?.kill()
  member?.wipe()
  member?.start()
  await etcd.ready()
  await until({ pass }, 'the new state', () => reader.state.size === 0)
  await until({ pass }, 'it answers', answers(store))
  await store.transact([], [put('/new', '1')])
  await until({ pass }, 'it goes on', () => reader.state.has('/new'))
  await reader.stop()
})

test(
  'etcd that was emptied, and has grown beyond what a watch had seen before it returns',
  apart,
  async (t) => {
    const etcd = await etcdFor(t)
    const [member] = etcd.members
    const proxy = await TestProxy.start(member?.ports.client ?? 0)
    t.teardown(() => proxy.remove())
    const [store, other] = [storeOn(t, proxy.endpoint), storeOn(t, ...etcd.endpoints)]
    for (let at = 0; at < 20; at++) await other.transact([], [put(`/${at}`, 'old')])
    const reader = new WatchReader(store, '/')
    await until({ pass }, 'the snapshot', () => reader.state.size === 20)
    proxy.cut('reset')
    await until({ pass }, 'it is stale', () => reader.stale)
    await member?.kill()
    member?.wipe()
    member?.start()
    await etcd.ready()
    await until({ pass }, 'it answers', answers(other))
    // The same key at the same revision as before, with another value, and more after it.
    for (let at = 0; at < 30; at++) await other.transact([], [put(`/${at < 18 ? 'x' : at}`, 'new')])
    proxy.mend()
    await until({ pass }, 'the new state', () => reader.state.has('/29') && !reader.state.has('/0'))
    t.equal(reader.state.size, 13)
    await reader.stop()
  },
)

test('a watch that was cut goes on where it stood, without a list of everything', apart, async (t) => {
  const etcd = await etcdFor(t)
  const proxy = await TestProxy.start(etcd.members[0]?.ports.client ?? 0)
  t.teardown(() => proxy.remove())
  const [store, other] = [storeOn(t, proxy.endpoint), storeOn(t, ...etcd.endpoints)]
  await other.transact([], [put('/a', '1')])
  const reader = new WatchReader(store, '/')
  await until({ pass }, 'the snapshot', () => reader.state.size === 1)
  proxy.cut('reset')
  await until({ pass }, 'it is stale', () => reader.stale)
  await other.transact([], [put('/b', '2')])
  proxy.mend()
  await until({ pass }, 'it goes on', () => reader.state.has('/b'))
  t.equal(reader.updates.filter(({ is }) => is === 'snapshot').length, 1)
  await reader.stop()
})

test('TLS with client certificates', apart, async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'dt-tls-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  const tls = makeTestCertificates(folder)
  const etcd = await etcdFor(t, { tls })
  const open = async (options: object) => {
    const store = await openStore({ url: etcd.url, path: '', ...options }, deps())
    t.teardown(() => store.close())
    return store
  }
  const store = await open({ tls })
  t.equal((await store.transact([], [put('/a', '1')])).is, 'done')
  const proxy = await TestProxy.start(etcd.members[0]?.ports.client ?? 0, '127.0.0.2')
  t.teardown(() => proxy.remove())
  const elsewhere = await open({ tls, url: `etcd://${proxy.endpoint}` })
  await t.rejects(elsewhere.get('/a'), { code: 'STORE_UNAVAILABLE', message: /127\.0\.0\.2 is not in/ })
  const byName = await open({ tls, url: etcd.url.replace('127.0.0.1', 'localhost') })
  t.ok(await byName.get('/a'), 'by name')
  await t.rejects((await open({ tls: { ca: tls.ca } })).get('/a'), { code: 'STORE_UNAVAILABLE' })
  await t.rejects((await open({})).get('/a'), { code: 'STORE_UNAVAILABLE' })
})

test('user and password', apart, async (t) => {
  const etcd = await etcdFor(t)
  await etcd.ctl('user', 'add', 'root:secret')
  await etcd.ctl('auth', 'enable')
  const open = async (options: object) => {
    const store = await openStore({ url: etcd.url, path: '', ...options }, deps())
    t.teardown(() => store.close())
    return store
  }
  await t.rejects((await open({})).get('/a'), { code: 'STORE_REFUSED' })
  await t.rejects((await open({ user: 'root', password: 'wrong' })).get('/a'), { code: 'STORE_REFUSED' })
  const store = await open({ user: 'root', password: 'secret' })
  t.equal((await store.transact([], [put('/a', '1')])).is, 'done')
  const reader = new WatchReader(store, '/')
  await until({ pass }, 'the snapshot', () => reader.state.size === 1)
  await etcd.members[0]?.kill()
  etcd.members[0]?.start()
  await until({ pass }, 'it answers with a new token', answers(store))
  await store.transact([], [put('/b', '1')])
  await until({ pass }, 'the watch too', () => reader.state.size === 2)
  t.equal(await (await store.grant(5)).keepAlive(), true)
  await reader.stop()
})
