/**
 * Certificates renew themselves at two thirds of their life, through a store that nobody trusts, without a restart.
 */
import { mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Test, test } from 'tap'
import { certificateProblems, Renewal } from '../../daemon/renewal.ts'
import { TrustKeeper } from '../../daemon/trust-keeper.ts'
import { utf8 } from '../../model/bytes.ts'
import { keysOf } from '../../model/keys.ts'
import type { HostRecord } from '../../model/records.ts'
import { instant, millis, minutes } from '../../model/time.ts'
import { type Authority, loadOrCreateAuthority } from '../../pki/authority.ts'
import { readCertificate } from '../../pki/certificate.ts'
import { loadOrCreateIdentity } from '../../pki/identity.ts'
import { writeTrustFile } from '../../pki/trust-file.ts'
import { MemoryStore } from '../../store/memory.ts'
import { FakeClock, MemoryLog, MemoryMeter } from '../support/ports.ts'
import { hostRecord, settings } from '../support/records.ts'

const keys = keysOf('default')
const day = minutes(24 * 60)
const days = (count: number) => millis(count * day)
const environment = { name: 'default', uuid: settings.uuid }

function folderOf(t: Test): string {
  const folder = mkdtempSync(join(tmpdir(), 'dt-renewal-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

function hostOn(t: Test, clock: FakeClock, store: MemoryStore, ca: Authority, holds: boolean) {
  const folder = folderOf(t)
  const identity = loadOrCreateIdentity(folder)
  writeTrustFile(folder, {
    environment: settings.uuid,
    certificate: ca.issueHost(identity.id, identity.signingKey, clock.now()).pem,
    authorities: [ca.certificate.pem],
    revoked: [],
    listed: 0,
  })
  const keeper = TrustKeeper.open(folder, identity, clock.now())
  const meter = new MemoryMeter()
  const records: HostRecord[] = []
  let renewed = 0
  const renewal = new Renewal(
    {
      store,
      keeper,
      authority: () => (holds ? ca : undefined),
      clock,
      log: new MemoryLog(),
      meter,
      hosts: () => records,
      onRenewed: () => {
        renewed++
      },
    },
    { keys, identity },
  )
  const { id, signingKey } = identity
  const record = (): HostRecord => hostRecord('h', { id, signingKey, certificate: keeper.certificate })
  const end = (): number => readCertificate(keeper.certificate)?.notAfter ?? 0
  return { folder, identity, keeper, meter, records, renewal, record, end, renewed: () => renewed }
}

function worldOf(t: Test) {
  const clock = new FakeClock()
  const store = new MemoryStore({ clock })
  const ca = loadOrCreateAuthority(folderOf(t), { environment, passphrase: undefined, now: clock.now() })
  const first = hostOn(t, clock, store, ca, true)
  const second = hostOn(t, clock, store, ca, false)
  /** What the watches would tell. */
  const look = async (): Promise<void> => {
    first.records.splice(0, 2, first.record(), second.record())
    await first.renewal.tend()
    const listing = await store.list(keys.prefix)
    for (const { renewal } of [first, second]) renewal.observe({ is: 'snapshot', ...listing })
  }
  return { clock, store, ca, first, second, look }
}

test('at two thirds, on both hosts, and not before', async (t) => {
  const { clock, first, second, look } = worldOf(t)
  const began = [first.end(), second.end()]
  clock.advance(days(19))
  await look()
  t.strictSame([first.end(), second.end()], began)
  t.strictSame(certificateProblems(second.keeper, clock), [])
  clock.advance(days(1))
  await look()
  t.strictSame([first.renewed(), second.renewed()], [1, 1])
  t.ok(first.end() > (began[0] ?? 0) && second.end() > (began[1] ?? 0))
  await look()
  t.strictSame([first.renewed(), second.renewed()], [1, 1], 'once')
  t.equal(
    TrustKeeper.open(second.folder, second.identity, clock.now()).certificate,
    second.keeper.certificate,
  )
  for (let round = 0; round < 5; round++) {
    clock.advance(days(20))
    await look()
    t.equal(second.keeper.own(clock.now()).is, 'good', 'for ever')
  }
})

test("without the CA's host nothing stops before the end, and it is said long before", async (t) => {
  const { clock, second, look } = worldOf(t)
  clock.advance(days(21))
  t.match(certificateProblems(second.keeper, clock), [
    { what: /should have been renewed/, remedy: /CA's host/ },
  ])
  t.equal(second.keeper.own(clock.now()).is, 'good')
  clock.advance(days(10))
  t.match(certificateProblems(second.keeper, clock), [{ what: /it ended/, remedy: /check the clock/ }])
  await look()
  t.equal(second.keeper.own(clock.now()).is, 'good', 'also an expired one renews when the CA is back')
})

test('what somebody else puts there is not taken', async (t) => {
  const { clock, store, ca, first, second, look } = worldOf(t)
  clock.advance(days(20))
  const key = keys.certificate(second.identity.id)
  const stranger = loadOrCreateAuthority(folderOf(t), {
    environment,
    passphrase: undefined,
    now: clock.now(),
  })
  const before = second.keeper.certificate
  for (const pem of [
    'garbage',
    stranger.issueHost(second.identity.id, second.identity.signingKey, clock.now()).pem,
    ca.issueHost(first.identity.id, first.identity.signingKey, clock.now()).pem,
    ca.issueHost(second.identity.id, second.identity.signingKey, instant(clock.now() - days(25))).pem,
  ]) {
    await store.transact([], [{ is: 'put', key, value: utf8(pem) }])
    second.renewal.observe({ is: 'snapshot', ...(await store.list(keys.prefix)) })
    t.equal(second.keeper.certificate, before)
  }
  await look()
  await look()
  t.not(second.keeper.certificate, before)
})

test('a restart between the offer and the taking loses nothing', async (t) => {
  const { clock, store, first, second } = worldOf(t)
  clock.advance(days(20))
  first.records.push(second.record())
  await first.renewal.tend()
  const again = TrustKeeper.open(second.folder, second.identity, clock.now())
  t.equal(again.certificate, second.keeper.certificate, 'killed before it took it')
  second.renewal.observe({ is: 'snapshot', ...(await store.list(keys.prefix)) })
  t.equal(second.renewed(), 1)
  t.strictSame(readdirSync(second.folder).sort(), ['identity.json', 'trust.json'])
  t.match(readFileSync(join(second.folder, 'trust.json'), 'utf8'), /BEGIN CERTIFICATE/)
})

test('a disk that refuses keeps the old certificate, and the next minute brings the new one', async (t) => {
  const { clock, store, first, second } = worldOf(t)
  clock.advance(days(20))
  first.records.push(second.record())
  await first.renewal.tend()
  const before = second.keeper.certificate
  const moved = `${second.folder}-moved`
  renameSync(second.folder, moved)
  writeFileSync(second.folder, 'no folder')
  second.renewal.observe({ is: 'snapshot', ...(await store.list(keys.prefix)) })
  t.equal(second.keeper.certificate, before)
  t.equal(second.meter.values.get('drover_failures_total{"what":"renewal"}'), 1)
  rmSync(second.folder)
  renameSync(moved, second.folder)
  const running = second.renewal.run()
  second.renewal.close()
  clock.advance(minutes(1))
  await running
  t.not(second.keeper.certificate, before)
})
