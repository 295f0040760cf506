/**
 * Observer and publisher against a store: what is wanted stands there, whatever happens in between, and the last
 * snapshot outlives both the store and the daemon.
 */
import { join } from 'node:path'
import { test } from 'tap'
import { Live } from '../../daemon/records/live.ts'
import type { Cidr } from '../../model/ip.ts'
import { seconds } from '../../model/time.ts'
import { sealRecord } from '../../pki/envelope.ts'
import { loadOrCreateIdentity } from '../../pki/identity.ts'
import { EnvelopeSealer } from '../../pki/sealer.ts'
import { SqliteLedger } from '../../store/ledger.ts'
import { MemoryStore } from '../../store/memory.ts'
import { folderOf } from '../support/members.ts'
import { FakeClock, MemoryLedger } from '../support/ports.ts'
import { SmallDisk, smallDiskNeeds } from '../support/small-disk.ts'
import { counterAt, daemonOn, keys, settle } from '../support/store-side.ts'

test('what is wanted stands in the store, and is put back when somebody spoils it', async (t) => {
  const clock = new FakeClock()
  const store = new MemoryStore({ clock })
  const { observer, publisher, seen, wanted, web, self } = daemonOn(
    store,
    clock,
    t.testdir(),
    new MemoryLedger(),
  )
  const following = observer.start()
  publisher.publish(wanted)
  await settle()
  t.equal(seen.at(-1)?.containers.get(web.id)?.name, 'web')
  await store.transact([], [{ is: 'put', key: keys.container(self, web.id), value: new Uint8Array([1]) }])
  await settle()
  t.equal(seen.at(-1)?.containers.get(web.id)?.name, 'web', 'garbage over our record is replaced')
  await store.transact([], [{ is: 'delete', key: keys.host(self) }])
  await settle()
  t.ok(seen.at(-1)?.hosts.get(self), 'a deleted record is written again')
  publisher.publish(new Map([...wanted].slice(0, 1)))
  await settle()
  t.equal(seen.at(-1)?.containers.size, 0, 'what is no longer wanted goes')
  observer.close()
  await publisher.close()
  await store.close()
  await following
})

test('without the store the last snapshot stays, also for the next daemon', async (t) => {
  const clock = new FakeClock()
  const store = new MemoryStore({ clock })
  const snapshots = new MemoryLedger()
  const folder = t.testdir()
  const first = daemonOn(store, clock, folder, snapshots)
  const following = first.observer.start()
  first.publisher.publish(first.wanted)
  await settle()
  store.cut()
  clock.advance(seconds(10))
  await settle()
  t.equal(first.observer.fresh, false)
  t.equal(first.observer.environment?.containers.size, 1, 'nothing that works stops')
  first.observer.close()
  await first.publisher.close()

  const cutOff = store.door()
  cutOff.cut()
  const second = daemonOn(cutOff, clock, folder, snapshots)
  const again = second.observer.start()
  await settle()
  t.equal(second.seen.at(-1)?.containers.get(first.web.id)?.name, 'web', 'read from disk')
  t.equal(second.observer.fresh, false)
  second.observer.close()
  store.mend()
  await store.close()
  await Promise.all([following, again])
})

test('a restart takes up what its head lists, and its numbers go on although the ledger is lost', async (t) => {
  const clock = new FakeClock()
  const store = new MemoryStore({ clock })
  const folder = t.testdir()
  const first = daemonOn(store, clock, folder, new MemoryLedger())
  const following = first.observer.start()
  await settle()
  first.publisher.publish(first.wanted)
  await settle()
  const [webKey, headKey] = [keys.container(first.self, first.web.id), keys.head(first.self)]
  const [written, head] = [(await store.get(webKey))?.revision, await counterAt(store, headKey)]
  first.observer.close()
  await first.publisher.close()

  const second = daemonOn(store, clock, folder, new MemoryLedger())
  const again = second.observer.start()
  await settle()
  t.equal(second.seen.at(-1)?.containers.get(second.web.id)?.name, 'web', 'its own records count at once')
  second.publisher.publish(second.wanted)
  await settle()
  t.equal((await store.get(webKey))?.revision, written, 'nothing is written twice')
  t.ok((await counterAt(store, headKey)) > head)
  second.observer.close()
  await second.publisher.close()
  await store.close()
  await Promise.all([following, again])
})

test('old bytes in the store do not reach the disk either', async (t) => {
  const clock = new FakeClock()
  const store = new MemoryStore({ clock })
  const folder = t.testdir()
  const snapshots = new MemoryLedger()
  const first = daemonOn(store, clock, folder, snapshots)
  const following = first.observer.start()
  await settle()
  first.publisher.publish(first.wanted)
  await settle()
  const [webKey, headKey] = [keys.container(first.self, first.web.id), keys.head(first.self)]
  const old = await Promise.all([webKey, headKey].map((key) => store.get(key)))
  first.publisher.publish(new Map(first.wanted).set(webKey, { ...first.web, name: 'renamed' }))
  await settle()
  await first.publisher.close()
  const writes = old.flatMap((entry) =>
    entry === undefined ? [] : [{ is: 'put' as const, key: entry.key, value: entry.value }],
  )
  await store.transact([], writes)
  await settle()
  t.equal(first.seen.at(-1)?.containers.get(first.web.id)?.name, 'renamed')
  first.observer.close()
  const second = daemonOn(store, clock, folder, snapshots)
  const again = second.observer.start()
  await settle()
  t.equal(second.seen.at(-1)?.containers.get(first.web.id)?.name, 'renamed', 'after a restart')
  second.observer.close()
  await store.close()
  await Promise.all([following, again])
})

test('the head is signed anew every minute, and when somebody puts an old one back', async (t) => {
  const clock = new FakeClock()
  const store = new MemoryStore({ clock })
  const { observer, publisher, wanted, self } = daemonOn(store, clock, t.testdir(), new MemoryLedger())
  const following = observer.start()
  const signing = publisher.keepHead()
  publisher.publish(wanted)
  await settle()
  const old = (await store.get(keys.head(self)))?.value ?? new Uint8Array()
  const first = await counterAt(store, keys.head(self))
  clock.advance(seconds(60))
  await settle()
  const second = await counterAt(store, keys.head(self))
  t.ok(second > first)
  await store.transact([], [{ is: 'put', key: keys.head(self), value: old }])
  await settle()
  t.ok((await counterAt(store, keys.head(self))) > second)
  observer.close()
  await publisher.close()
  clock.advance(seconds(60))
  await store.close()
  await Promise.all([following, signing])
})

test('a claim counts from when it is sealed until it is given back, also across a restart', (t) => {
  const clock = new FakeClock()
  const ledger = new MemoryLedger()
  const identity = loadOrCreateIdentity(t.testdir())
  let changes = 0
  const kept = false
  const { id: self } = identity
  const liveOn = () => {
    const sealer = new EnvelopeSealer({ identity, ledger })
    return new Live({ self, sealer, ledger, clock, onChange: () => void changes++, keeps: () => kept }, keys)
  }
  const block = keys.block('10.42.0.0/26' as Cidr)
  const first = liveOn()
  first.seal(block, { host: identity.id })
  const counter = first.counter(block)
  t.ok(first.isLive(block, counter))
  t.notOk(first.isLive(block, counter - 1), 'nothing older')
  t.ok(liveOn().isLive(block, counter), 'killed before the store has it')
  first.observe({ is: 'snapshot', revision: 1, entries: [] })
  t.ok(first.isLive(block, counter), 'it is on its way')
  first.unseal(block)
  t.notOk(liveOn().isLive(block, counter), 'the store refused it')
  first.seal(block, { host: identity.id })
  clock.advance(seconds(31))
  first.observe({ is: 'events', revision: 2, changes: [{ is: 'delete', key: block, revision: 2 }] })
  t.equal(first.counter(block), -1, 'given back')
  t.equal(liveOn().counter(block), -1)
  t.equal(changes, 4)
  t.end()
})

test('a claim that only the store can have lost is missing until it stands again', (t) => {
  const clock = new FakeClock()
  const identity = loadOrCreateIdentity(t.testdir())
  const ledger = new MemoryLedger()
  const sealer = new EnvelopeSealer({ identity, ledger })
  let kept = true
  const deps = { self: identity.id, sealer, ledger, clock, onChange: () => undefined, keeps: () => kept }
  const live = new Live(deps, keys)
  const block = keys.block('10.42.0.0/26' as Cidr)
  const value = live.seal(block, { host: identity.id })
  clock.advance(seconds(31))
  const stands = (now: Uint8Array | undefined) =>
    live.observe({
      is: 'snapshot',
      revision: 1,
      entries: now === undefined ? [] : [{ key: block, value: now, revision: 1 }],
    })
  stands(undefined)
  t.same([...live.missing()], [block])
  t.ok(live.isLive(block, live.counter(block)), 'the head goes on to list it')
  stands(value)
  t.equal(live.missing().size, 0)
  // The other one's counter is the same number.
  const other = loadOrCreateIdentity(join(t.testdirName, 'other'))
  stands(sealRecord(other, block, { host: other.id }, live.counter(block)))
  t.same([...live.missing()], [block], "somebody's older claim lies there")
  const again = live.seal(block, { host: identity.id })
  live.observe({
    is: 'events',
    revision: 2,
    changes: [{ is: 'put', entry: { key: block, value: again, revision: 2 } }],
  })
  t.equal(live.missing().size, 0)
  clock.advance(seconds(31))
  kept = false
  stands(undefined)
  t.same([live.missing().size, live.counter(block)], [0, -1], 'lost to somebody else')
  t.end()
})

test('a full disk: the last snapshot waits, and is whole once there is room', smallDiskNeeds, async (t) => {
  const [clock, folder] = [new FakeClock(), folderOf(t)]
  const disk = new SmallDisk(t, folder)
  const store = new MemoryStore({ clock })
  const snapshots = new SqliteLedger({ path: join(folder, 'snapshot.db') })
  const { observer, publisher, wanted, host } = daemonOn(store, clock, folder, snapshots)
  const following = observer.start()
  disk.fill()
  publisher.publish(wanted)
  await settle()
  clock.advance(seconds(1))
  t.match(snapshots.trouble, { code: 'DISK_FULL', message: /snapshot\.db/ })
  t.equal(observer.environment?.hosts.size, 1, 'what it sees counts all the same')
  disk.makeRoom()
  clock.advance(seconds(5))
  t.equal(snapshots.trouble, undefined)
  t.ok(snapshots.entries().has(keys.host(host.id)), 'nothing of it is lost')
  observer.close()
  await publisher.close()
  await following
  snapshots.close()
})
