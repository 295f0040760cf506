/**
 * Hosts that are removed: the CA's list reaches everybody, nobody else can write one, and what was seen once is not
 * forgotten, whatever becomes of the store.
 */
import { type Test, test } from 'tap'
import { Removal } from '../../../daemon/trust/removal.ts'
import { TrustKeeper } from '../../../daemon/trust/trust-keeper.ts'
import { utf8 } from '../../../model/bytes.ts'
import { DroverError } from '../../../model/errors.ts'
import type { Authority } from '../../../pki/authority.ts'
import { loadOrCreateIdentity } from '../../../pki/identity.ts'
import { openRemoved, sealRemoved } from '../../../pki/removed.ts'
import { writeTrustFile } from '../../../pki/trust-file.ts'
import { MemoryStore } from '../../../store/memory.ts'
import { authorityFor, began, folderOf, keys, Member } from '../../support/members.ts'
import { FakeClock, MemoryLog, MemoryMeter } from '../../support/ports.ts'
import { environment, host, settings } from '../../support/records.ts'
import { SmallDisk, smallDiskNeeds } from '../../support/small-disk.ts'

function hostOn(t: Test, store: MemoryStore, ca: Authority, holds: boolean, members: readonly Member[]) {
  const folder = folderOf(t)
  const identity = loadOrCreateIdentity(folder)
  const { id, signingKey } = identity
  writeTrustFile(folder, {
    environment: settings.uuid,
    certificate: ca.issueHost(id, signingKey, began).pem,
    authorities: [ca.certificate.pem],
    revoked: [],
    listed: 0,
  })
  const keeper = TrustKeeper.open(folder, identity, began)
  const meter = new MemoryMeter()
  let changes = 0
  const removal = new Removal(
    {
      store,
      keeper,
      holds: () => holds,
      authority: () => {
        if (holds) return ca
        throw new DroverError('AUTHORITY_ELSEWHERE', 'here')
      },
      environment: () => environment({ hosts: members.map(({ record }) => host(record.name, {}, record)) }),
      strangers: () => [],
      inherit: () => new Set(),
      clock: new FakeClock(began),
      log: new MemoryLog(),
      meter,
      onChange: () => void changes++,
    },
    { keys, self: id },
  )
  const look = async (): Promise<void> => {
    removal.observe({ is: 'snapshot', ...(await store.list(keys.prefix)) })
    await removal.settled()
  }
  return { folder, identity, keeper, meter, removal, look, changes: () => changes }
}

function worldOf(t: Test) {
  const { ca, trust } = authorityFor(t)
  const store = new MemoryStore({ clock: new FakeClock(began) })
  const [web, twin, other] = ['web', 'twin', 'twin'].map((name) => new Member(t, name, ca))
  if (web === undefined || twin === undefined || other === undefined) throw new TypeError('three were made')
  const members = [web, twin, other]
  const [first, second] = [true, false].map((holds) => hostOn(t, store, ca, holds, members))
  if (first === undefined || second === undefined) throw new TypeError('two were made')
  return { ca, trust, store, web, twin, first, second }
}

test('every host drops it, and its records go', async (t) => {
  const { store, web, first, second } = worldOf(t)
  const entries = [web.host(), web.claims(keys.block('10.42.0.0/26' as never)), web.head()]
  await store.transact(
    [],
    entries.map(({ key, value }) => ({ is: 'put' as const, key, value })),
  )
  t.match(await first.removal.remove('web'), { id: web.id, name: 'web', records: 3 })
  t.equal((await store.list(keys.prefix)).entries.length, 1, 'nothing but the list is left')
  await second.look()
  t.ok(second.keeper.trust.revoked.has(web.id))
  t.strictSame([first.changes(), second.changes()], [1, 1])
  await second.look()
  t.equal(second.changes(), 1, 'once')
  const again = TrustKeeper.open(second.folder, second.identity, began)
  t.ok(again.trust.revoked.has(web.id), 'also after a restart')
})

test('who cannot be removed, and by whom', async (t) => {
  const { first, second, twin } = worldOf(t)
  await t.rejects(second.removal.remove('web'), { code: 'AUTHORITY_ELSEWHERE' })
  await t.rejects(first.removal.remove('nobody'), { code: 'USAGE', message: /drover hosts/ })
  await t.rejects(first.removal.remove('twin'), { code: 'USAGE', message: /several/ })
  t.match(await first.removal.remove(twin.id), { id: twin.id })
})

test('a list that is deleted, altered, old or forged changes nothing', async (t) => {
  const { ca, trust, store, web, twin, first, second } = worldOf(t)
  await first.removal.remove('web')
  const old = (await store.get(keys.removed))?.value ?? new Uint8Array()
  await first.removal.remove(twin.id)
  await second.look()
  const { ca: other } = authorityFor(t)
  const forged = sealRemoved({ environment: settings.uuid, number: 99, hosts: [first.identity.id] }, other)
  const elsewhere = sealRemoved(
    { environment: '11111111-2222-3333-4444-555555555555' as never, number: 99, hosts: [first.identity.id] },
    ca,
  )
  const whole = (await store.get(keys.removed))?.value ?? new Uint8Array()
  const altered = whole.slice()
  altered[20] = (altered[20] ?? 0) ^ 1
  for (const value of [old, forged, elsewhere, altered, whole.slice(0, 50), utf8('garbage'), undefined]) {
    await store.transact(
      [],
      [value === undefined ? { is: 'delete', key: keys.removed } : { is: 'put', key: keys.removed, value }],
    )
    await second.look()
    t.strictSame([...second.keeper.trust.revoked].sort(), [web.id, twin.id].sort())
    await first.look()
    t.equal(
      openRemoved((await store.get(keys.removed))?.value ?? utf8(''), trust).is,
      'ok',
      'and the CA puts it back',
    )
  }
  t.equal(second.meter.values.get('drover_records_rejected_total{"why":"removed"}'), 5)
})

test('the host itself: told at once, and refused at its next start', async (t) => {
  const { ca, store, first } = worldOf(t)
  const self = hostOn(t, store, ca, false, [])
  const { environment: uuid, revoked } = self.keeper.trust
  const list = sealRemoved({ environment: uuid, number: 7, hosts: [...revoked, self.identity.id] }, ca)
  await store.transact([], [{ is: 'put', key: keys.removed, value: list }])
  await self.look()
  t.match(self.keeper.own(began), { is: 'bad', code: 'CERTIFICATE_REVOKED' })
  t.throws(() => TrustKeeper.open(self.folder, self.identity, began), { code: 'CERTIFICATE_REVOKED' })
  await first.look()
  t.ok(first.keeper.listed === 7)
})

test(
  'a full disk: nobody says that a host is out who cannot keep it, and it is kept with room',
  smallDiskNeeds,
  async (t) => {
    const { store, web, twin, first, second } = worldOf(t)
    await first.removal.remove('web')
    const disks = [first, second].map(({ folder }) => new SmallDisk(t, folder))
    for (const disk of disks) disk.fill()
    await second.look()
    t.notOk(second.keeper.trust.revoked.has(web.id), 'what is not on disk does not count')
    await t.rejects(first.removal.remove(twin.id), { code: 'DISK_FULL', message: /trust\.json/ })
    t.equal(JSON.stringify(await store.list(keys.prefix)).includes(twin.id), false)
    for (const disk of disks) disk.makeRoom()
    second.removal.again()
    t.ok(second.keeper.trust.revoked.has(web.id))
    await first.removal.remove(twin.id)
    await second.look()
    t.ok(second.keeper.trust.revoked.has(twin.id))
  },
)
