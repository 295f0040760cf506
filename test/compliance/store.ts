/**
 * What every store must do. A new one is tested by giving a way to make it: `testStore(name, make)`.
 */
import { t as root, type Test } from 'tap'
import { utf8, utf8Text } from '../../model/bytes.ts'
import type { Change, Store, Update, Write } from '../../store/store.ts'

export interface StoreWorld {
  readonly store: Store
  /** Another client of the same truth, or the same one where there is only one. */
  readonly other: Store
  /** Lets time pass for the store. */
  pass(seconds: number): Promise<void>
  /** Makes it forget what changed. */
  readonly compact?: () => Promise<void>
  /** Makes `store`, not `other`, unable to reach the truth. */
  readonly cut?: () => Promise<void>
  readonly mend?: () => Promise<void>
  remove(): Promise<void>
}

type Make = () => Promise<StoreWorld>

/** For whatever must come, on a machine that does other things as well, in ms. */
export const patience = 30_000

/** Reads a watch and keeps the state that it tells. */
export class WatchReader {
  readonly updates: Update[] = []
  readonly state = new Map<string, string>()
  readonly #stop = new AbortController()
  readonly done: Promise<void>

  constructor(store: Store, prefix: string, after?: number) {
    const options = { signal: this.#stop.signal, ...(after !== undefined && { after }) }
    this.done = this.#read(store.watch(prefix, options))
  }

  get stale(): boolean {
    return this.updates.at(-1)?.is === 'stale'
  }

  get revision(): number {
    return this.updates.reduce((last, update) => (update.is === 'stale' ? last : update.revision), 0)
  }

  get changes(): readonly Change[] {
    return this.updates.flatMap((update) => (update.is === 'events' ? update.changes : []))
  }

  async stop(): Promise<void> {
    this.#stop.abort()
    await this.done
  }

  async #read(updates: AsyncIterable<Update>): Promise<void> {
    for await (const update of updates) {
      this.updates.push(update)
      if (update.is === 'snapshot') {
        this.state.clear()
        for (const { key, value } of update.entries) this.state.set(key, utf8Text(value) ?? '?')
      } else if (update.is === 'events') {
        for (const change of update.changes) {
          if (change.is === 'delete') this.state.delete(change.key)
          else this.state.set(change.entry.key, utf8Text(change.entry.value) ?? '?')
        }
      }
    }
  }
}

/** Waits for a state, letting the store's time pass. */
export async function until(
  world: Pick<StoreWorld, 'pass'>,
  what: string,
  holds: () => boolean | Promise<boolean>,
): Promise<void> {
  const deadline = Date.now() + patience
  while (!(await holds())) {
    if (Date.now() > deadline) throw new Error(`never came: ${what}`)
    await world.pass(0.05)
  }
}

export const put = (key: string, text: string): Write => ({ is: 'put', key, value: utf8(text) })

async function write(store: Store, ...writes: readonly Write[]): Promise<number> {
  const outcome = await store.transact([], writes)
  if (outcome.is === 'refused') throw new Error('refused')
  return outcome.revision
}

/** Among the tests of `on`, one after the other; they are not awaited. */
export function testStore(name: string, make: Make, on: Pick<Test, 'test'> = root): void {
  let serial = 0
  const check = (what: string, body: (t: Test, world: StoreWorld, prefix: string) => Promise<void>) =>
    on.test(`${name}: ${what}`, async (t) => {
      const world = await make()
      t.teardown(() => world.remove())
      serial++
      await body(t, world, `/t${serial}/`)
    })
  void Promise.all([
    check('reads what was written', readsBack),
    check('lists a prefix in order', lists),
    check('keeps the conditions of a transaction', conditions),
    check('lets one of many writers win', oneWins),
    check('refuses what etcd would refuse', misuse),
    check('ends keys with their lease', leases),
    check('keeps keys of a lease that is prolonged', prolongs),
    check('tells changes in order', watches),
    check('resumes a watch after a revision', resumes),
    check('gives a snapshot after compaction', compaction),
    check('says when it is out of reach, and when it is back', outage),
    check('ends watches when it is closed', closes),
  ])
}

async function readsBack(t: Test, { store, other }: StoreWorld, prefix: string): Promise<void> {
  t.equal(await store.get(`${prefix}a`), undefined)
  const bytes = Uint8Array.from({ length: 70_000 }, (_, at) => at % 256)
  const first = await write(store, { is: 'put', key: `${prefix}a`, value: bytes })
  const entry = await other.get(`${prefix}a`)
  t.ok(entry !== undefined && Buffer.compare(entry.value, bytes) === 0, 'all byte values come back')
  t.equal(entry?.revision, first)
  const second = await write(store, put(`${prefix}a`, ''), put(`${prefix}b`, 'B'))
  t.ok(second > first, 'revisions grow')
  t.equal((await store.get(`${prefix}a`))?.value.length, 0, 'an empty value is a value')
  t.equal((await store.get(`${prefix}b`))?.revision, second, 'one transaction, one revision')
  t.equal(await write(store, { is: 'delete', key: `${prefix}none` }), second, 'nothing changed')
  await write(store, { is: 'delete', key: `${prefix}a` })
  t.equal(await store.get(`${prefix}a`), undefined)
}

async function lists(t: Test, { store, other }: StoreWorld, prefix: string): Promise<void> {
  for (const key of ['b', 'a', 'ab/1', 'c', 'ab/0', 'abc']) await write(store, put(prefix + key, key))
  const keys = async (under: string) =>
    (await other.list(prefix + under)).entries.map(({ key }) => key.slice(prefix.length))
  t.strictSame(await keys(''), ['a', 'ab/0', 'ab/1', 'abc', 'b', 'c'])
  t.strictSame(await keys('ab'), ['ab/0', 'ab/1', 'abc'], 'a prefix need not end at a slash')
  t.strictSame(await keys('ab/'), ['ab/0', 'ab/1'])
  t.strictSame(await keys('x'), [])
  const { revision } = await other.list(`${prefix}x`)
  t.equal(revision, (await store.get(`${prefix}abc`))?.revision, 'the revision is that of the store')
  for (let batch = 0; batch < 21; batch++)
    await write(
      store,
      ...Array.from({ length: 100 }, (_, at) => put(`${prefix}many/${1000 + batch * 100 + at}`, 'x')),
    )
  const many = (await other.list(`${prefix}many/`)).entries.map(({ key }) => Number(key.slice(-4)))
  t.strictSame(
    many,
    Array.from({ length: 2100 }, (_, at) => 1000 + at),
    'more than a page',
  )
}

async function conditions(t: Test, { store, other }: StoreWorld, prefix: string): Promise<void> {
  const [key, sibling] = [`${prefix}block`, `${prefix}block/pin`]
  const claim = () => other.transact([{ key, is: 'absent' }], [put(key, 'mine')])
  t.equal((await claim()).is, 'done')
  t.equal((await claim()).is, 'refused')
  t.equal((await store.transact([{ key: sibling, is: 'present' }], [put(key, 'no')])).is, 'refused')
  t.equal((await store.transact([{ key, is: 'present' }], [put(sibling, 'pin')])).is, 'done')
  const revision = (await store.get(key))?.revision ?? 0
  const swap = () => store.transact([{ key, is: 'revision', revision }], [put(key, 'next')])
  t.equal((await swap()).is, 'done')
  const refused = await swap()
  t.equal(refused.is, 'refused')
  t.equal(refused.revision, (await store.get(key))?.revision, 'a refusal tells the revision')
  const empty = (under: string) =>
    store.transact([{ prefix: prefix + under, is: 'empty' }], [put(`${prefix}z`, 'z')])
  t.equal((await empty('block/')).is, 'refused')
  t.equal((await empty('bloc')).is, 'refused')
  t.equal((await empty('blocks')).is, 'done')
  const mixed = await store.transact(
    [
      { key, is: 'present' },
      { key: `${prefix}none`, is: 'present' },
    ],
    [put(`${prefix}y`, 'y'), { is: 'delete', key }],
  )
  t.equal(mixed.is, 'refused')
  t.equal(await store.get(`${prefix}y`), undefined, 'all or nothing')
  t.ok(await store.get(key))
}

async function oneWins(t: Test, { store, other }: StoreWorld, prefix: string): Promise<void> {
  const key = `${prefix}block`
  const attempts = Array.from({ length: 40 }, (_, at) =>
    (at % 2 === 0 ? store : other).transact([{ key, is: 'absent' }], [put(key, String(at))]),
  )
  const outcomes = await Promise.all(attempts)
  const winners = outcomes.flatMap(({ is }, at) => (is === 'done' ? [String(at)] : []))
  t.equal(winners.length, 1)
  t.equal(utf8Text((await store.get(key))?.value ?? utf8('')), winners[0])
  await write(store, put(key, '0'))
  const increment = async (door: Store): Promise<void> => {
    const entry = await door.get(key)
    if (entry === undefined) throw new Error('gone')
    const next = put(key, String(Number(utf8Text(entry.value)) + 1))
    const { is } = await door.transact([{ key, is: 'revision', revision: entry.revision }], [next])
    if (is === 'refused') await increment(door)
  }
  await Promise.all(Array.from({ length: 16 }, (_, at) => increment(at % 2 === 0 ? store : other)))
  t.equal(utf8Text((await store.get(key))?.value ?? utf8('')), '16', 'no increment is lost')
}

async function misuse(t: Test, { store }: StoreWorld, prefix: string): Promise<void> {
  const key = `${prefix}a`
  await t.rejects(store.transact([], [put(key, '1'), put(key, '2')]), { code: 'STORE_MISUSED' })
  await t.rejects(store.transact([], [put('', '1')]), { code: 'STORE_MISUSED' })
  const many = Array.from({ length: 129 }, (_, at) => put(key + at, 'x'))
  await t.rejects(store.transact([], many), { code: 'STORE_MISUSED' })
  t.equal((await store.list(prefix)).entries.length, 0)
}

async function leases(t: Test, world: StoreWorld, prefix: string): Promise<void> {
  const { store, other } = world
  const lease = await store.grant(2)
  await write(store, { ...put(`${prefix}alive`, 'a'), lease } as Write, put(`${prefix}stays`, 's'))
  await write(store, { ...put(`${prefix}detached`, 'd'), lease } as Write)
  await write(store, put(`${prefix}detached`, 'without a lease'))
  const reader = new WatchReader(other, prefix)
  await until(world, 'the leased key is gone', async () => (await other.get(`${prefix}alive`)) === undefined)
  await until(world, 'the watch tells', () => reader.changes.length > 0)
  t.strictSame([...reader.state.keys()].sort(), [`${prefix}detached`, `${prefix}stays`])
  t.equal(reader.changes[0]?.is, 'delete')
  t.equal(await lease.keepAlive(), false, 'it has ended')
  const late = await store.transact([], [{ ...put(`${prefix}late`, 'l'), lease } as Write])
  t.equal(late.is, 'refused', 'nothing can be put on a lease that has ended')
  await lease.revoke()
  const next = await store.grant(60)
  await write(store, { ...put(`${prefix}alive`, 'b'), lease: next } as Write)
  await next.revoke()
  t.equal(await other.get(`${prefix}alive`), undefined, 'revoking ends its keys at once')
  t.equal(await next.keepAlive(), false)
  await reader.stop()
}

async function prolongs(t: Test, world: StoreWorld, prefix: string): Promise<void> {
  const { store, other } = world
  const lease = await store.grant(3)
  await write(store, { ...put(`${prefix}alive`, 'a'), lease } as Write)
  for (let round = 0; round < 4; round++) {
    await world.pass(1)
    t.equal(await lease.keepAlive(), true)
  }
  t.ok(await other.get(`${prefix}alive`))
}

async function watches(t: Test, world: StoreWorld, prefix: string): Promise<void> {
  const { store, other } = world
  await write(store, put(`${prefix}w/a`, '1'), put(`${prefix}x`, 'elsewhere'))
  const reader = new WatchReader(other, `${prefix}w/`)
  await until(world, 'the snapshot', () => reader.updates.length > 0)
  t.equal(reader.updates[0]?.is, 'snapshot')
  t.strictSame([...reader.state], [[`${prefix}w/a`, '1']])
  for (let at = 0; at < 20; at++) await write(store, put(`${prefix}w/b`, String(at)), put(`${prefix}x`, 'y'))
  const last = await write(store, { is: 'delete', key: `${prefix}w/a` }, put(`${prefix}w/c`, 'c'))
  await until(world, 'the last change', () => reader.revision >= last)
  t.strictSame([...reader.state].sort(), [
    [`${prefix}w/b`, '19'],
    [`${prefix}w/c`, 'c'],
  ])
  const texts = reader.changes.flatMap((change) =>
    change.is === 'put' && change.entry.key.endsWith('b') ? [Number(utf8Text(change.entry.value))] : [],
  )
  t.strictSame(
    texts,
    Array.from({ length: 20 }, (_, at) => at),
  )
  const revisions = reader.updates.map((update) => (update.is === 'stale' ? -1 : update.revision))
  t.strictSame(
    revisions,
    revisions.toSorted((one, two) => one - two),
    'revisions only grow',
  )
  t.ok(reader.changes.every((change) => change.is === 'delete' || change.entry.key.startsWith(`${prefix}w/`)))
  await reader.stop()
}

async function resumes(t: Test, world: StoreWorld, prefix: string): Promise<void> {
  const { store, other } = world
  const first = await write(store, put(`${prefix}a`, '1'))
  const second = await write(store, put(`${prefix}a`, '2'))
  await write(store, put(`${prefix}b`, '3'))
  const reader = new WatchReader(other, prefix, first)
  await until(world, 'both changes', () => reader.changes.length === 2)
  t.ok(reader.updates.every(({ is }) => is === 'events'))
  const [change] = reader.changes
  t.equal(change?.is === 'put' && change.entry.revision, second)
  await write(store, put(`${prefix}c`, '4'))
  await until(world, 'the next one', () => reader.changes.length === 3)
  await reader.stop()
  const future = new WatchReader(other, prefix, first + 1_000_000)
  await until(world, 'a snapshot', () => future.updates.some(({ is }) => is === 'snapshot'))
  t.equal(future.state.size, 3, 'a revision that the store never had gives a snapshot')
  await future.stop()
}

async function compaction(t: Test, world: StoreWorld, prefix: string): Promise<void> {
  const { store, other, compact } = world
  if (compact === undefined) return void t.pass('this store cannot be compacted')
  const first = await write(store, put(`${prefix}a`, '1'))
  await write(store, put(`${prefix}a`, '2'), put(`${prefix}b`, '2'))
  await write(store, { is: 'delete', key: `${prefix}b` })
  await compact()
  const reader = new WatchReader(other, prefix, first)
  await until(world, 'a snapshot', () => reader.updates.length > 0)
  t.equal(reader.updates[0]?.is, 'snapshot')
  t.strictSame([...reader.state], [[`${prefix}a`, '2']])
  await write(store, put(`${prefix}c`, '3'))
  await until(world, 'it goes on', () => reader.state.size === 2)
  await reader.stop()
}

async function outage(t: Test, world: StoreWorld, prefix: string): Promise<void> {
  const { store, other, cut, mend, compact } = world
  if (cut === undefined || mend === undefined) return void t.pass('this store is always in reach')
  const lease = await store.grant(2)
  await write(store, put(`${prefix}a`, '1'), { ...put(`${prefix}alive`, '1'), lease } as Write)
  const reader = new WatchReader(store, prefix)
  await until(world, 'the snapshot', () => reader.state.size === 2)
  await cut()
  await until(world, 'it is stale', () => reader.stale)
  const asked = Date.now()
  await t.rejects(store.get(`${prefix}a`), { code: 'STORE_UNAVAILABLE' })
  await t.rejects(store.transact([], [put(`${prefix}a`, 'x')]), { code: 'STORE_UNAVAILABLE' })
  t.ok(Date.now() - asked < patience, 'requests do not hang')
  await write(other, put(`${prefix}b`, '2'), { is: 'delete', key: `${prefix}a` })
  await until(world, 'the lease ends', async () => (await other.get(`${prefix}alive`)) === undefined)
  await compact?.()
  await mend()
  await until(world, 'it has caught up', () => !reader.stale && reader.state.size === 1)
  t.strictSame([...reader.state], [[`${prefix}b`, '2']])
  t.equal(await lease.keepAlive(), false, 'the lease ended meanwhile')
  await cut()
  await until(world, 'it is stale again', () => reader.stale)
  await mend()
  await until(world, 'it is fresh though nothing changed', () => !reader.stale)
  await write(other, put(`${prefix}c`, '3'))
  await until(world, 'it goes on', () => reader.state.size === 2)
  await reader.stop()
}

async function closes(t: Test, world: StoreWorld, prefix: string): Promise<void> {
  const { store } = world
  const reader = new WatchReader(store, prefix)
  await until(world, 'the snapshot', () => reader.updates.length > 0)
  await store.close()
  await reader.done
  await t.rejects(store.get(`${prefix}a`), { code: 'STORE_UNAVAILABLE' })
  const late = new WatchReader(store, prefix)
  await late.done
  t.strictSame(late.updates, [])
  const stopped = new AbortController()
  stopped.abort()
  for await (const _ of store.watch(prefix, { signal: stopped.signal }))
    t.fail('an aborted watch yields nothing')
}
