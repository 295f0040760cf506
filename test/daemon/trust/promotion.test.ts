/**
 * A second host is given the key of the CA: by the word of the holder only, through a store in which nobody can read
 * it, and it arrives or the holder hears why not.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Test, test } from 'tap'
import { Promotion } from '../../../daemon/trust/promotion.ts'
import { utf8Text } from '../../../model/bytes.ts'
import { DroverError } from '../../../model/errors.ts'
import { minutes, seconds } from '../../../model/time.ts'
import { authorityFile, authorityText, loadOrCreateAuthority } from '../../../pki/authority.ts'
import { type HostIdentity, loadOrCreateIdentity } from '../../../pki/identity.ts'
import { newReader, sealText } from '../../../pki/sealed-text.ts'
import { EnvelopeSealer } from '../../../pki/sealer.ts'
import { MemoryStore } from '../../../store/memory.ts'
import { began, keys } from '../../support/members.ts'
import { FakeClock, MemoryLedger, MemoryLog, SeededRandom } from '../../support/ports.ts'
import { environment, host, settings } from '../../support/records.ts'

function folderOf(t: Test): string {
  const folder = mkdtempSync(join(tmpdir(), 'dt-promotion-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

/** Three members on one store; h1 holds the CA. Everything that ever stood in the store is kept. */
function worldOf(t: Test) {
  const clock = new FakeClock(began)
  const store = new MemoryStore({ clock })
  const folder = folderOf(t)
  loadOrCreateAuthority(folder, {
    environment: { name: 'default', uuid: settings.uuid },
    passphrase: undefined,
    now: clock.now(),
  })
  const names = ['h1', 'h2', 'h3'] as const
  const identities = new Map(names.map((name) => [name, loadOrCreateIdentity(folderOf(t))]))
  const identityOf = (name: (typeof names)[number]): HostIdentity => {
    const identity = identities.get(name)
    if (identity === undefined) throw new TypeError(name)
    return identity
  }
  const away = new Set<string>()
  const records = () =>
    names.map((name) => {
      const { id, signingKey } = identityOf(name)
      const alive = away.has(name) ? undefined : { host: id, since: began }
      return host(name, { alive }, { id, signingKey })
    })
  const taken = new Map<string, string>()
  const refusals = new Map<string, string>()
  const log = new MemoryLog()
  const make = (name: (typeof names)[number]): Promotion => {
    const identity = identityOf(name)
    return new Promotion(
      {
        store,
        sealer: new EnvelopeSealer({ identity, ledger: new MemoryLedger() }),
        clock,
        random: new SeededRandom(7),
        log,
        environment: () => environment({ hosts: records() }),
        give: () => {
          if (name === 'h1') return authorityText(folder)
          throw new DroverError('AUTHORITY_ELSEWHERE', name)
        },
        take: (text) => {
          const why = refusals.get(name)
          if (why !== undefined) throw new DroverError('STATE_UNUSABLE', why)
          taken.set(name, text)
        },
      },
      { keys, self: identity.id },
    )
  }
  const hosts = { h1: make('h1'), h2: make('h2'), h3: make('h3') }
  const written: string[] = []
  const stop = new AbortController()
  t.teardown(() => stop.abort())
  void (async () => {
    for await (const update of store.watch(keys.prefix, { signal: stop.signal })) {
      if (update.is === 'events')
        for (const change of update.changes)
          if (change.is === 'put') written.push(utf8Text(change.entry.value) ?? '')
      for (const [name, one] of Object.entries(hosts)) if (!away.has(name)) one.observe(update)
    }
  })()
  return { clock, store, hosts, folder, taken, refusals, away, written, log, identityOf }
}

test('the key arrives, and nothing of it is left or was ever in the clear', async (t) => {
  const { hosts, taken, folder, written, store } = worldOf(t)
  t.match(await hosts.h1.promote('h2'), { name: 'h2' })
  t.same([...taken], [['h2', readFileSync(authorityFile(folder), 'utf8')]], 'h2 alone')
  t.equal(written.length, 4, 'asked, ready, given, held')
  const { key } = JSON.parse(authorityText(folder)) as { readonly key: string }
  for (const line of key.split('\n').filter((text) => text.length > 40))
    t.notOk(written.some((text) => text.includes(line)))
  t.same((await store.list(keys.promotions)).entries, [])
})

test('only at the word of the holder, and to a member that is there', async (t) => {
  const { hosts, away, identityOf } = worldOf(t)
  await t.rejects(hosts.h2.promote('h3'), { code: 'AUTHORITY_ELSEWHERE' })
  await t.rejects(hosts.h1.promote('h9'), { code: 'USAGE', message: /no host h9/ })
  await t.rejects(hosts.h1.promote(identityOf('h1').id), { code: 'NOT_NOW', message: /already/ })
  away.add('h3')
  await t.rejects(hosts.h1.promote('h3'), { code: 'NOT_NOW', message: /is away/ })
})

test('what the other one says against it reaches the operator; silence too', async (t) => {
  const { hosts, refusals, clock, store, identityOf } = worldOf(t)
  refusals.set('h2', '/var/lib/drover: no space left on device')
  await t.rejects(hosts.h1.promote('h2'), { code: 'AUTHORITY_NOT_TAKEN', message: /no space left/ })
  hosts.h3.observe = () => undefined
  const silent = t.rejects(hosts.h1.promote('h3'), {
    code: 'AUTHORITY_NOT_TAKEN',
    message: /does not answer/,
  })
  while ((await store.get(keys.promotion(identityOf('h3').id))) === undefined)
    await new Promise((resolve) => setImmediate(resolve))
  clock.advance(seconds(20))
  await silent
  t.same((await store.list(keys.promotions)).entries, [])
})

test('who can write to the store, or is another member, gets nothing', async (t) => {
  const { hosts, taken, store, identityOf, clock } = worldOf(t)
  const key = keys.promotion(identityOf('h2').id)
  const stranger = loadOrCreateIdentity(folderOf(t))
  hosts.h2.observe = () => undefined
  const attempt = hosts.h1.promote('h2').catch((error: Error) => error.message)
  let asked = await store.get(key)
  while (asked === undefined) asked = await store.get(key)
  const text = (JSON.parse(utf8Text(asked.value) ?? '') as { readonly body: string }).body
  const { nonce } = JSON.parse(text) as { readonly nonce: string }
  const mine = newReader()
  for (const identity of [stranger, identityOf('h3')]) {
    const sealer = new EnvelopeSealer({ identity, ledger: new MemoryLedger() })
    const value = sealer.seal(key, { is: 'ready', nonce, key: mine.key })
    await store.transact([], [{ is: 'put', key, value }])
    for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve))
    t.match(utf8Text((await store.get(key))?.value ?? new Uint8Array()), /ready/, 'no answer')
  }
  clock.advance(minutes(1))
  t.match(await attempt, /does not answer/)
  t.equal(taken.size, 0)
})

test('a sealed text opens for its reader, in its context, and whole', (t) => {
  const [reader, other] = [newReader(), newReader()]
  const sealed = sealText('secret', reader.key, 'here')
  t.equal(reader.open(sealed, 'here'), 'secret')
  t.equal(reader.open(sealed, 'there'), undefined)
  t.equal(other.open(sealed, 'here'), undefined)
  t.equal(reader.open({ ...sealed, box: sealed.box.slice(0, 8) }, 'here'), undefined)
  t.equal(reader.open({ ...sealed, key: '' }, 'here'), undefined)
  t.not(sealText('secret', reader.key, 'here').box, sealed.box)
  t.end()
})
