/** The alive key: renewed, spoilt by others, and put again after what this host has lost. */
import { test } from 'tap'
import { millis, seconds } from '../../../model/time.ts'
import { MemoryStore } from '../../../store/memory.ts'
import { FakeClock, MemoryLedger } from '../../support/ports.ts'
import { counterAt, daemonOn, keys, settle } from '../../support/store-side.ts'

test('the alive key lives as long as it is renewed', async (t) => {
  const clock = new FakeClock()
  const store = new MemoryStore({ clock })
  const { aliveKey, observer, renewals, self, takenOut } = daemonOn(
    store,
    clock,
    t.testdir(),
    new MemoryLedger(),
  )
  const running = [observer.start(), aliveKey.run()]
  for (let second = 0; second < 60; second++) {
    await settle()
    t.ok(await store.get(keys.alive(self)), `alive after ${second} s`)
    clock.advance(seconds(1))
  }
  t.ok(renewals.length >= 15)
  t.equal(new Set(renewals).size, 1, 'written once')
  t.strictSame(takenOut, [])
  aliveKey.close()
  observer.close()
  await settle()
  clock.advance(seconds(5))
  t.ok(await store.get(keys.alive(self)), 'a restart within its time goes unnoticed')
  clock.advance(seconds(20))
  t.notOk(await store.get(keys.alive(self)))
  await store.close()
  await Promise.all(running)
})

test('an alive key that somebody else spoils is put again with the next renewal', async (t) => {
  const clock = new FakeClock()
  const store = new MemoryStore({ clock })
  const daemon = daemonOn(store, clock, t.testdir(), new MemoryLedger())
  const { aliveKey, observer, publisher, renewals, self, takenOut } = daemon
  const key = keys.alive(self)
  const running = [observer.start(), aliveKey.run()]
  publisher.publish(daemon.wanted)
  await settle()
  const alive = () => daemon.seen.at(-1)?.hosts.get(self)?.alive
  t.ok(alive())
  const former = (await store.get(key))?.value ?? new Uint8Array()
  const renewed = async () => {
    await settle()
    clock.advance(seconds(3))
    await settle()
  }
  await store.transact([], [{ is: 'delete', key }])
  await renewed()
  t.ok(alive(), 'taken out')
  t.strictSame(takenOut, [key], 'and told of')
  t.equal((await store.get(key))?.revision, renewals.at(-1), 'renewals tell of the new one')
  for (const value of [former, new Uint8Array([1])]) {
    await store.transact([], [{ is: 'put', key, value }])
    await renewed()
    t.equal((await store.get(key))?.revision, renewals.at(-1))
    t.equal(observer.counts(key), true)
  }
  for (let turn = 0; turn < 4; turn++) await renewed()
  t.ok(await store.get(key), 'and it has the lease again')
  aliveKey.close()
  await settle()
  clock.advance(seconds(20))
  t.notOk(await store.get(key))
  t.strictSame(takenOut, [key])
  observer.close()
  await publisher.close()
  await store.close()
  await Promise.all(running)
})

test('after a lease that ended and a lost ledger the alive key has a number that counts', async (t) => {
  const clock = new FakeClock()
  const store = new MemoryStore({ clock })
  const door = store.door()
  const folder = t.testdir()
  const first = daemonOn(door, clock, folder, new MemoryLedger())
  const running = [first.observer.start(), first.aliveKey.run()]
  first.publisher.publish(first.wanted)
  await settle()
  door.cut()
  clock.advance(seconds(20))
  await settle()
  t.notOk(await store.get(keys.alive(first.self)))
  door.mend()
  await settle()
  clock.advance(millis(500))
  await settle()
  t.ok(await store.get(keys.alive(first.self)), 'back as soon as the store is')
  t.strictSame(first.takenOut, [], 'nobody took it out')
  const [alive = 0, head = 0] = await Promise.all(
    [keys.alive(first.self), keys.head(first.self)].map((key) => counterAt(store, key)),
  )
  t.ok(alive > head)
  first.aliveKey.close()
  first.observer.close()
  await first.publisher.close()

  const second = daemonOn(store, clock, folder, new MemoryLedger())
  running.push(second.observer.start(), second.aliveKey.run())
  await settle()
  t.ok((await counterAt(store, keys.alive(first.self))) > alive, 'with a number that others accept')
  second.aliveKey.close()
  second.observer.close()
  await store.close()
  await Promise.all(running)
})
