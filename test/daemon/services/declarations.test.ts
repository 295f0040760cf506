/**
 * Declared services on several hosts with one store: everybody sees them, the last word counts, nothing comes back
 * that was taken back, and what a removed host had said lives on.
 */
import { type Test, test } from 'tap'
import { Fold } from '../../../daemon/records/fold.ts'
import { Live } from '../../../daemon/records/live.ts'
import { Observer } from '../../../daemon/records/observer.ts'
import { Publisher } from '../../../daemon/records/publisher.ts'
import { Declarations } from '../../../daemon/services/declarations.ts'
import { servicesIn } from '../../../daemon/services/service-file.ts'
import { utf8 } from '../../../model/bytes.ts'
import { type DeclaredService, encodeRecord } from '../../../model/records.ts'
import { seconds } from '../../../model/time.ts'
import { openEnvelope } from '../../../pki/envelope.ts'
import { EnvelopeSealer } from '../../../pki/sealer.ts'
import type { Trust } from '../../../pki/trust.ts'
import { MemoryStore } from '../../../store/memory.ts'
import { authorityFor, began, keys, Member } from '../../support/members.ts'
import { FakeClock, MemoryLedger, MemoryLog, MemoryMeter } from '../../support/ports.ts'
import { settings } from '../../support/records.ts'

const settle = async (): Promise<void> => {
  for (let turn = 0; turn < 300; turn++) await Promise.resolve()
}

interface Ground {
  readonly store: MemoryStore
  readonly clock: FakeClock
  readonly trust: () => Trust
}

/** The part of a daemon that is bound to the store, put together as compose.ts does. */
function daemonOn({ store, clock, trust }: Ground, member: Member, ledger = new MemoryLedger()) {
  const [log, meter] = [new MemoryLog(), new MemoryMeter()]
  const { identity, id: self } = member
  const sealer = new EnvelopeSealer({ identity, ledger })
  const live: Live = new Live(
    { self, sealer, ledger, clock, onChange: () => publisher.headChanged(), keeps: () => false },
    keys,
  )
  const publisher: Publisher = new Publisher(
    {
      store,
      sealer,
      live,
      raise: (counter) => sealer.raise(counter),
      clock,
      log,
      meter,
    },
    { keys, self, signingKey: identity.signingKey },
  )
  const fold = new Fold(
    { log, meter, trust, now: () => clock.now(), isLive: (key, counter) => live.isLive(key, counter) },
    { keys, self, settings },
  )
  const publish = (): void =>
    publisher.publish(new Map<string, object>([[member.hostKey, member.record], ...declarations.own]))
  const declarations: Declarations = new Declarations(
    {
      store,
      live,
      clock,
      environment: () => observer.environment,
      fresh: () => observer.fresh,
      counts: (key) => observer.counts(key),
      signerOf: (key) => observer.signerOf(key),
      wentBack: () => observer.wentBack,
      onChange: publish,
      onForget: () => publisher.headChanged(),
    },
    { keys, self },
  )
  const observer: Observer = new Observer(
    {
      store,
      fold,
      snapshots: undefined,
      clock,
      log,
      meter,
      onArrival: () => undefined,
      onUpdate: (update) => {
        publisher.observe(update)
        declarations.observe(update)
      },
      onEnvironment: publish,
    },
    keys,
  )
  const following = observer.start()
  const end = async (): Promise<void> => {
    observer.close()
    await publisher.close()
  }
  const seen = (): Readonly<Record<string, string>> =>
    Object.fromEntries(
      [...(observer.environment?.services ?? [])].map(([name, one]) => [name, one.externalIps.join()]),
    )
  return { declarations, observer, publisher, member, ledger, following, end, seen }
}

type Daemon = ReturnType<typeof daemonOn>

function groundFor(t: Test) {
  const { ca, trust } = authorityFor(t)
  const clock = new FakeClock(began)
  const store = new MemoryStore({ clock })
  const revoked = new Set<never>()
  const ground: Ground = { store, clock, trust: () => ({ ...trust, revoked }) }
  const daemons: Daemon[] = []
  const start = (member: Member, ledger?: MemoryLedger): Daemon => {
    const daemon = daemonOn(ground, member, ledger)
    daemons.push(daemon)
    return daemon
  }
  t.teardown(async () => {
    for (const daemon of daemons) await daemon.end()
    await store.close()
    await Promise.all(daemons.map(({ following }) => following))
  })
  const [a, b] = ['a', 'b'].map((name) => start(new Member(t, name, ca)))
  if (a === undefined || b === undefined) throw new TypeError('two were started')
  return { store, clock, start, a, b, revoke: (member: Member) => revoked.add(member.id as never) }
}

const external = (name: string, address: string): readonly DeclaredService[] =>
  servicesIn(`services: { ${name}: { addresses: [${address}] } }`, 'test')

const key = keys.service('shop', 'db')

test('declared on one host, seen by all, taken back on any', async (t) => {
  const { store, a, b } = groundFor(t)
  await settle()
  t.strictSame(await a.declarations.declare(external('shop/db', '203.0.113.7')), { names: ['shop/db'] })
  await settle()
  t.strictSame([a.seen(), b.seen()], [{ 'shop/db': '203.0.113.7' }, { 'shop/db': '203.0.113.7' }])
  const environment = b.observer.environment
  t.match(environment === undefined ? [] : b.declarations.view(environment), [{ name: 'shop/db', host: 'a' }])

  const written = (await store.get(key))?.revision
  await a.declarations.declare(external('shop/db', '203.0.113.7'))
  await settle()
  t.equal((await store.get(key))?.revision, written, 'the same again writes nothing')

  await b.declarations.declare(external('shop/db', '203.0.113.8'))
  await settle()
  t.strictSame(a.seen(), { 'shop/db': '203.0.113.8' }, 'the last word counts')
  t.equal(a.declarations.own.size, 0, 'and is signed by who said it')

  await a.declarations.withdraw(['shop/db'])
  await settle()
  t.strictSame([a.seen(), b.seen(), await store.get(key)], [{}, {}, undefined])
  t.equal(b.declarations.own.size, 0)
  await t.rejects(a.declarations.withdraw(['shop/db']), { code: 'USAGE', message: /no service shop\/db/ })
})

test('garbage and old bytes change nothing, and ours is put back', async (t) => {
  const { store, a, b } = groundFor(t)
  await settle()
  await a.declarations.declare(external('shop/db', '203.0.113.7'))
  const old = (await store.get(key))?.value ?? utf8('')
  await a.declarations.declare(external('shop/db', '203.0.113.8'))
  const newer = (await store.get(key))?.value ?? utf8('')
  const opened = openEnvelope(newer)
  if (opened.is !== 'ok') throw new TypeError('an envelope was written')
  const forged = JSON.stringify({ ...opened.value, body: opened.value.body.replace('113.8', '113.9') })
  for (const value of [old, utf8('garbage'), utf8(forged)]) {
    await store.transact([], [{ is: 'put', key, value }])
    await settle()
    t.strictSame([a.seen(), b.seen()], [{ 'shop/db': '203.0.113.8' }, { 'shop/db': '203.0.113.8' }])
    const standing = openEnvelope((await store.get(key))?.value ?? utf8(''))
    t.match(standing, { is: 'ok', value: { key: a.member.id, body: /203.0.113.8/ } }, 'put back')
  }
})

test('a restart takes up what its host has declared, and nothing that was taken back meanwhile', async (t) => {
  const { store, a, b, start } = groundFor(t)
  await settle()
  await a.declarations.declare([
    ...external('shop/db', '203.0.113.7'),
    ...external('shop/old', '203.0.113.9'),
  ])
  await a.end()
  await b.declarations.withdraw(['shop/old'])
  const written = (await store.get(key))?.revision
  const again = start(a.member, a.ledger)
  await settle()
  t.strictSame(again.seen(), { 'shop/db': '203.0.113.7' })
  t.strictSame([...again.declarations.own.keys()], [key])
  t.equal((await store.get(key))?.revision, written, 'nothing is written anew')
  await again.declarations.declare(external('shop/more', '203.0.113.10'))
  await settle()
  t.strictSame(b.seen(), { 'shop/db': '203.0.113.7', 'shop/more': '203.0.113.10' })
})

test('a removed host leaves its services to the one that removes it', async (t) => {
  const { store, a, b, revoke } = groundFor(t)
  await settle()
  await b.declarations.declare(external('shop/db', '203.0.113.7'))
  await b.end()
  t.strictSame([...a.declarations.inherit(b.member.id)], [key])
  revoke(b.member)
  a.observer.again()
  await settle()
  const standing = openEnvelope((await store.get(key))?.value ?? utf8(''))
  t.match(standing, { is: 'ok', value: { key: a.member.id } })
  t.strictSame(a.seen(), { 'shop/db': '203.0.113.7' })
  t.equal(a.declarations.own.size, 1)
})

test('circles are refused; without the store nothing is', async (t) => {
  const { store, clock, a } = groundFor(t)
  await settle()
  const alias = (name: string, of: string) => servicesIn(`services: { ${name}: { alias: [${of}] } }`, 'test')
  await a.declarations.declare(alias('shop/one', 'two'))
  await t.rejects(a.declarations.declare(alias('shop/two', 'shop/one')), {
    code: 'SERVICE_INVALID',
    message: /one\.shop\.rancher\.internal → two\.shop\.rancher\.internal → one\.shop/,
  })
  const named = servicesIn('services: { shop/a: { hostname: A.shop.rancher.internal } }', 'test')
  await t.rejects(a.declarations.declare(named), { code: 'SERVICE_INVALID' }, 'a CNAME to itself')
  t.equal(a.declarations.own.size, 1, 'what was refused is not kept')
  store.cut()
  clock.advance(seconds(10))
  await settle()
  await t.rejects(a.declarations.declare(external('shop/db', '203.0.113.7')), { code: 'STORE_UNAVAILABLE' })
  t.equal(a.declarations.own.size, 1)
  store.mend()
})

test('the text of a declaration', (t) => {
  const [one] = servicesIn(
    'services:\n  shop/web:\n    links: { db: database, other/api: api }\n    metadata: { limits: { carts: 5 } }\n' +
      '    health_check: { port: 80 }\n    scale: 2\n',
    'f.yaml',
  )
  t.strictSame(one, {
    stack: 'shop',
    name: 'web',
    kind: 'service',
    externalIps: [],
    hostname: null,
    targets: [],
    links: { 'shop/db': 'database', 'other/api': 'api' },
    labels: {},
    metadata: { limits: { carts: 5 } },
    scale: 2,
    healthCheck: { port: 80 },
  })
  const json = JSON.stringify({ services: { 'shop/all': { alias: ['a', 'x/b'] } } })
  t.match(servicesIn(json, 'f.json'), [{ kind: 'dnsService', targets: ['shop/a', 'x/b'] }])
  t.match(servicesIn('services: { shop/m: { hostname: mail.example.org } }', 'f'), [
    { kind: 'externalService', hostname: 'mail.example.org' },
  ])
  t.ok(encodeRecord(one ?? {}).includes('"carts":5'))
  t.end()
})

test('what is wrong with a file, and where', (t) => {
  const wrong: readonly (readonly [text: string, message: RegExp])[] = [
    ['', /f\.yaml: must be a map with the key `services`/],
    ['service: {}', /f\.yaml:1: unknown key `service`, did you mean `services`\?/],
    [
      'services:\n  shop/db:\n    adresses: [1.2.3.4]',
      /f\.yaml:3: unknown key `services\.shop\/db\.adresses`, did you mean `addresses`\?/,
    ],
    [
      'services:\n  shop/db:\n    health_check:\n      prt: 80',
      /f\.yaml:4: unknown key `services\.shop\/db\.health_check\.prt`, did you mean `port`\?/,
    ],
    [
      'services:\n  shop/db:\n    addresses:\n      - 1.2.3.4\n      - 300.1.1.1',
      /f\.yaml:5: `services\.shop\/db\.addresses\.1` must be an IP address/,
    ],
    [
      'services:\n  shop/db:\n    addresses: 1.2.3.4',
      /f\.yaml:3: `services\.shop\/db\.addresses` must be a list/,
    ],
    ['services:\n  db:\n    addresses: [1.2.3.4]', /f\.yaml:2: `services\.db` must be STACK\/SERVICE/],
    ['services:\n  shop/d b:\n    addresses: [1.2.3.4]', /f\.yaml:2: .*must be STACK\/SERVICE/],
    ['services:\n  shop/db: {}', /f\.yaml:2: `services\.shop\/db` says nothing/],
    [
      'services:\n  shop/db: { alias: [a], addresses: [1.2.3.4] }',
      /f\.yaml:2: `services\.shop\/db` is an alias of other services and cannot/,
    ],
    [
      'services:\n  shop/db: { hostname: a.b, addresses: [1.2.3.4] }',
      /f\.yaml:2: `services\.shop\/db` has both addresses and a hostname/,
    ],
    ['services:\n  shop/db: { hostname: "a b" }', /must be a host name/],
    ['services:\n  shop/db: { alias: ["a/b/c"] }', /must be STACK\/SERVICE/],
    ['services:\n  shop/db: { links: { a: "x.y" } }', /must be a DNS label/],
    ['services:\n  shop/db: { scale: many }', /`services\.shop\/db\.scale` must be a number/],
    ['services:\n  shop/db: { scale: 1 }\n  shop/db: { scale: 2 }', /f\.yaml:3: .*unique/],
    ['services: [', /f\.yaml:1/],
  ]
  for (const [text, message] of wrong) {
    t.throws(() => servicesIn(text, 'f.yaml'), { code: 'SERVICE_INVALID', message }, JSON.stringify(text))
  }
  t.end()
})
