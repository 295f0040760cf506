/** Moving an environment from one store into another: whole, never over another one, and finished after a kill. */
import { test } from 'tap'
import { utf8 } from '../../model/bytes.ts'
import { MemoryStore } from '../../store/memory.ts'
import { copyStore } from '../../store/move.ts'
import type { Condition, Outcome, Store, Write } from '../../store/store.ts'
import { put } from '../compliance/store.ts'
import { FakeClock, SeededRandom } from '../support/ports.ts'

const prefix = '/drover/v1/default/'
const random = new SeededRandom(3)

async function filled(count = 450): Promise<MemoryStore> {
  const store = new MemoryStore({ clock: new FakeClock() })
  await store.transact([], [put(`${prefix}settings`, '{}'), put('/drover/v1/other/settings', 'other')])
  const lease = await store.grant(9)
  await store.transact([], [{ is: 'put', key: `${prefix}alive/h`, value: utf8('yes'), lease }])
  for (let at = 0; at < count; at++) {
    const value = random.bytes(random.below(4000))
    await store.transact([], [{ is: 'put', key: `${prefix}containers/h/${at}`, value }])
  }
  return store
}

const emptyStore = () => new MemoryStore({ clock: new FakeClock() })

async function content(store: Store): Promise<readonly (readonly [string, string])[]> {
  const { entries } = await store.list('')
  return entries
    .filter(({ key }) => !key.includes('/alive/') && !key.includes('/other/'))
    .map(({ key, value }) => [key, Buffer.from(value).toString('hex')] as const)
}

/** A store whose process dies at its n-th transaction: before it, or after it but before the answer. */
function mortal(store: Store, deaths: number, late: boolean): Store {
  let left = deaths
  const transact = async (conditions: readonly Condition[], writes: readonly Write[]): Promise<Outcome> => {
    left--
    if (left < 0) throw new Error('dead')
    const outcome = left > 0 || late ? await store.transact(conditions, writes) : undefined
    if (outcome === undefined || left === 0) throw new Error('killed')
    return outcome
  }
  return {
    get: (key) => store.get(key),
    list: (under) => store.list(under),
    grant: (ttl) => store.grant(ttl),
    watch: (under, options) => store.watch(under, options),
    close: () => store.close(),
    transact,
  }
}

test('an environment is copied whole, without what leases hold', async (t) => {
  const from = await filled()
  const to = emptyStore()
  t.equal(await copyStore(from, to, prefix), 451)
  t.strictSame(await content(to), await content(from))
  t.equal((await to.list('')).entries.length, 451, 'no marker, no alive key, no other environment')
  t.equal(await copyStore(from, to, prefix), 451, 'once more changes nothing')
})

test('it never goes over another environment', async (t) => {
  const from = await filled(3)
  const to = emptyStore()
  await to.transact([], [put(`${prefix}settings`, 'of somebody else')])
  await t.rejects(copyStore(from, to, prefix), { code: 'STORE_NOT_EMPTY', culprit: 'operator' })
  t.equal((await to.list('')).entries.length, 1)
  const neighbours = emptyStore()
  await neighbours.transact([], [put('/drover/v1/default2/settings', 'of somebody else')])
  await copyStore(from, neighbours, prefix)
  t.ok(await neighbours.get('/drover/v1/default2/settings'))
})

test('killed at any point, it is no environment yet, and the next run completes it', async (t) => {
  const from = await filled(250)
  for (const late of [false, true]) {
    for (let deaths = 1; deaths <= 20; deaths++) {
      const to = emptyStore()
      const killed = await copyStore(from, mortal(to, deaths, late), prefix).then(
        () => false,
        () => true,
      )
      const settings = await to.get(`${prefix}settings`)
      if (settings !== undefined) t.strictSame(await content(to), await content(from), 'settings come last')
      await from.transact([], [put(`${prefix}containers/h/new`, `${deaths}`)])
      if (settings === undefined) {
        await copyStore(from, to, prefix)
        t.strictSame(await content(to), await content(from))
      }
      if (!killed) break
    }
  }
})

test('a half-done copy that somebody else uses is left alone', async (t) => {
  const from = await filled(250)
  const to = emptyStore()
  await t.rejects(copyStore(from, mortal(to, 2, true), prefix))
  await to.transact([], [put(`${prefix}settings`, 'of somebody else')])
  const before = await content(to)
  await t.rejects(copyStore(from, to, prefix), { code: 'STORE_NOT_EMPTY' })
  t.strictSame(await content(to), before)
})
