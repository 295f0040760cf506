/**
 * From signed bytes in the store to a snapshot: what verifies counts, whatever order it comes in; what does not
 * is counted and changes nothing.
 */
import { test } from 'tap'
import { Fold } from '../../daemon/fold.ts'
import { utf8 } from '../../model/bytes.ts'
import { keysOf } from '../../model/keys.ts'
import type { HostRecord } from '../../model/records.ts'
import { sealRecord } from '../../pki/envelope.ts'
import { type HostIdentity, loadOrCreateIdentity } from '../../pki/identity.ts'
import type { Entry } from '../../store/store.ts'
import { MemoryLog, MemoryMeter, SeededRandom } from '../support/ports.ts'
import { container, hostRecord, ip, settings } from '../support/records.ts'

const keys = keysOf('default')

test('fold', async (t) => {
  const one = loadOrCreateIdentity(t.testdir({ one: {} }))
  const two = loadOrCreateIdentity(t.testdir({ two: {} }))
  const fresh = () => {
    const meter = new MemoryMeter()
    const fold = new Fold({ log: new MemoryLog(), meter }, { keys, self: one.id, settings })
    return { fold, meter, rejected: () => [...meter.values.values()].reduce((sum, value) => sum + value, 0) }
  }
  const sealed = (who: HostIdentity, key: string, body: object): Entry => ({
    key,
    value: sealRecord(who, key, body, 1),
    revision: 1,
  })
  const hostOf = (who: HostIdentity, name: string, over: Partial<HostRecord> = {}): Entry =>
    sealed(who, keys.host(who.id), hostRecord(name, { id: who.id, signingKey: who.signingKey, ...over }))
  const web = container('web', { host: one.id, address: ip('10.42.0.2') })
  const webEntry = sealed(one, keys.container(one.id, web.id), web)
  const view = { fresh: true, reachability: new Map() }

  t.test('whatever order they come in', (t) => {
    const { fold, rejected } = fresh()
    fold.apply({ is: 'snapshot', revision: 7, entries: [webEntry] })
    t.equal(fold.environment(view).containers.size, 0, 'its host is not known yet')
    fold.apply({ is: 'events', revision: 8, changes: [{ is: 'put', entry: hostOf(one, 'h1') }] })
    const environment = fold.environment(view)
    t.equal(environment.revision, 8)
    t.equal(environment.containers.get(web.id)?.address, ip('10.42.0.2'))
    fold.apply({ is: 'events', revision: 9, changes: [{ is: 'delete', key: webEntry.key, revision: 9 }] })
    t.equal(fold.environment(view).containers.size, 0)
    t.equal(environment.containers.size, 1, 'a snapshot never changes')
    t.equal(rejected(), 0)
    t.end()
  })

  t.test('what does not verify is counted and changes nothing', (t) => {
    const { fold, rejected } = fresh()
    fold.apply({ is: 'snapshot', revision: 1, entries: [hostOf(one, 'h1'), hostOf(two, 'h2'), webEntry] })
    const bad: Entry[] = [
      { key: `${keys.prefix}nonsense/1`, value: utf8('x'), revision: 2 },
      { key: keys.host(one.id), value: utf8('{"name":"evil"}'), revision: 2 },
      sealed(two, webEntry.key, { ...web, address: ip('10.42.9.9') }),
      { ...webEntry, key: keys.container(two.id, web.id) },
      sealed(two, keys.host(one.id), hostRecord('evil', { id: one.id, signingKey: two.signingKey })),
      sealed(two, keys.container(two.id, web.id), { ...web, host: two.id, name: 5 }),
      sealed(two, keys.block('10.42.0.0/26' as never), { host: one.id, epoch: 9 }),
    ]
    for (const entry of bad) fold.apply({ is: 'events', revision: 2, changes: [{ is: 'put', entry }] })
    t.equal(rejected(), bad.length)
    const environment = fold.environment(view)
    t.equal(environment.blocks.size, 0)
    t.notOk([...environment.hosts.values()].some(({ record }) => record.name === 'evil'))
    t.end()
  })

  t.test('random garbage never throws', (t) => {
    const { fold } = fresh()
    const random = new SeededRandom(11)
    const alphabet = [
      keys.host(one.id),
      webEntry.key,
      keys.settings,
      keys.alive(two.id),
      `${keys.prefix}blocks/x`,
      keys.prefix,
    ]
    for (let at = 0; at < 2000; at++) {
      const key = alphabet[random.below(alphabet.length)] ?? ''
      const value =
        random.below(2) === 0
          ? random.bytes(random.below(300))
          : webEntry.value.slice(0, random.below(webEntry.value.length))
      fold.apply({
        is: 'events',
        revision: at,
        changes: [{ is: 'put', entry: { key, value, revision: at } }],
      })
    }
    t.equal(fold.environment(view).containers.size, 0)
    t.end()
  })

  t.test('whose containers count', (t) => {
    const { fold } = fresh()
    const alive = sealed(two, keys.alive(two.id), { host: two.id, since: 1 })
    fold.apply({ is: 'snapshot', revision: 1, entries: [hostOf(one, 'h1'), hostOf(two, 'h2'), alive] })
    const present = (fresh: boolean, state: 'answers' | 'silent' | 'unknown'): boolean | undefined =>
      fold.environment({ fresh, reachability: new Map([[two.id, state]]) }).hosts.get(two.id)?.present
    t.equal(present(true, 'answers'), true)
    t.equal(present(true, 'unknown'), true, 'fresh store and alive key')
    t.equal(present(true, 'silent'), false, 'probes decide')
    t.equal(present(false, 'answers'), true, 'cut off from the store, not from peers')
    t.equal(present(false, 'silent'), true, 'we are the ones cut off: keep everything')
    fold.apply({ is: 'events', revision: 2, changes: [{ is: 'delete', key: alive.key, revision: 2 }] })
    t.equal(present(true, 'unknown'), false, 'no alive key, nothing known')
    t.equal(present(true, 'answers'), true)
    t.equal(fold.environment(view).hosts.get(one.id)?.present, true, 'always ourselves')
    t.end()
  })
})
