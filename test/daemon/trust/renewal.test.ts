/**
 * Certificates renew themselves at two thirds of their life, through a store that nobody trusts, without a restart.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Test, test } from 'tap'
import { certificateProblems, Renewal } from '../../../daemon/trust/renewal.ts'
import { TrustKeeper } from '../../../daemon/trust/trust-keeper.ts'
import { utf8 } from '../../../model/bytes.ts'
import { keysOf } from '../../../model/keys.ts'
import type { HostRecord } from '../../../model/records.ts'
import { instant, millis, minutes } from '../../../model/time.ts'
import { type Authority, loadOrCreateAuthority } from '../../../pki/authority.ts'
import { readCertificate } from '../../../pki/certificate.ts'
import { loadOrCreateIdentity } from '../../../pki/identity.ts'
import { writeTrustFile } from '../../../pki/trust-file.ts'
import { MemoryStore } from '../../../store/memory.ts'
import { FakeClock, MemoryLog, MemoryMeter } from '../../support/ports.ts'
import { hostRecord, settings } from '../../support/records.ts'
import { SmallDisk, smallDiskNeeds } from '../../support/small-disk.ts'

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

test(
  'a full disk keeps the old certificate, and the next minute with room brings the new one',
  smallDiskNeeds,
  async (t) => {
    const { clock, store, first, second } = worldOf(t)
    clock.advance(days(20))
    first.records.push(second.record())
    await first.renewal.tend()
    const before = second.keeper.certificate
    const disk = new SmallDisk(t, second.folder)
    disk.fill()
    second.renewal.observe({ is: 'snapshot', ...(await store.list(keys.prefix)) })
    t.equal(second.keeper.certificate, before)
    t.equal(
      TrustKeeper.open(second.folder, second.identity, clock.now()).certificate,
      before,
      'what is on disk is whole',
    )
    t.equal(second.meter.values.get('drover_failures_total{"what":"renewal"}'), 1)
    t.match(second.renewal.problems, [
      { what: /could not be renewed yet: .*trust\.json: ENOSPC/, remedy: /room/ },
    ])
    disk.makeRoom()
    const running = second.renewal.run()
    second.renewal.close()
    clock.advance(minutes(1))
    await running
    t.not(second.keeper.certificate, before)
    t.strictSame(second.renewal.problems, [])
  },
)

/** Takes one certificate after the other, as fast as the disk allows, until it is killed. */
const renewing = `
  import { TrustKeeper } from ${JSON.stringify(join(import.meta.dirname, '../../../daemon/trust/trust-keeper.ts'))}
  import { loadOrCreateIdentity } from ${JSON.stringify(join(import.meta.dirname, '../../../pki/identity.ts'))}
  const [folder, text] = process.argv.slice(1)
  const { now, pems } = JSON.parse(text)
  const keeper = TrustKeeper.open(folder, loadOrCreateIdentity(folder), now)
  for (const pem of pems) keeper.renew(pem, now)
`

test('kill -9 in the middle of a renewal leaves a whole certificate, the old one or the new one', async (t) => {
  const { clock, ca, second } = worldOf(t)
  const { folder, identity } = second
  const now = clock.now()
  const pems = Array.from(
    { length: 60 },
    (_, at) => ca.issueHost(identity.id, identity.signingKey, instant(now + (at + 1) * 1000)).pem,
  )
  let interrupted = 0
  for (let round = 0; round < 6; round++) {
    const argv = ['--input-type=module', '-e', renewing, folder, JSON.stringify({ now, pems })]
    const child = spawn(process.execPath, argv, { stdio: 'ignore' })
    const ended = once(child, 'exit')
    // At another moment in each round: before, in or after the writing of a draft.
    for (let drafts = 0; child.exitCode === null && drafts <= round; ) {
      if (readdirSync(folder).some((name) => name.endsWith('.new'))) drafts++
      await new Promise((resolve) => setImmediate(resolve))
    }
    child.kill('SIGKILL')
    await ended
    if (child.signalCode === 'SIGKILL') interrupted++
    const again = TrustKeeper.open(folder, identity, now)
    t.equal(again.own(now).is, 'good')
    t.ok(again.certificate === second.keeper.certificate || pems.includes(again.certificate))
    writeTrustFile(folder, { ...rest(ca), certificate: second.keeper.certificate })
    t.same(readdirSync(folder).sort(), ['identity.json', 'trust.json'], 'no draft is left')
  }
  t.ok(interrupted > 0)
})

const rest = (ca: Authority) => ({
  environment: settings.uuid,
  authorities: [ca.certificate.pem],
  revoked: [],
  listed: 0,
})
