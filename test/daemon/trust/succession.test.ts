/**
 * A new CA beside the old one on several hosts: everybody believes both, certificates follow by themselves, the
 * former one goes when nothing needs it and not before; whoever slept, was killed or was lied to by the store ends up
 * at the same.
 */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Test, test } from 'tap'
import { AuthorityHolder } from '../../../daemon/trust/authority-holder.ts'
import { exportCa } from '../../../daemon/trust/ca.ts'
import { Renewal } from '../../../daemon/trust/renewal.ts'
import { Succession } from '../../../daemon/trust/succession.ts'
import { backupProblems } from '../../../daemon/trust/trust-admin.ts'
import { TrustKeeper } from '../../../daemon/trust/trust-keeper.ts'
import { utf8 } from '../../../model/bytes.ts'
import type { HostRecord } from '../../../model/records.ts'
import { millis, minutes } from '../../../model/time.ts'
import {
  type Authority,
  authorityFile,
  loadOrCreateAuthority,
  rollAuthority,
} from '../../../pki/authority.ts'
import { backupNoteFile } from '../../../pki/backup-note.ts'
import { readCertificate } from '../../../pki/certificate.ts'
import { loadOrCreateIdentity } from '../../../pki/identity.ts'
import { listOf, sealAuthorities } from '../../../pki/succession.ts'
import { writeTrustFile } from '../../../pki/trust-file.ts'
import { MemoryStore } from '../../../store/memory.ts'
import { keys } from '../../support/members.ts'
import { FakeClock, MemoryLog, MemoryMeter } from '../../support/ports.ts'
import { hostRecord, settings } from '../../support/records.ts'
import { SmallDisk, smallDiskNeeds } from '../../support/small-disk.ts'

const environment = { name: 'default', uuid: settings.uuid }
const days = (count: number) => millis(count * minutes(24 * 60))

function folderOf(t: Test): string {
  const folder = mkdtempSync(join(tmpdir(), 'dt-succession-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

interface World {
  readonly clock: FakeClock
  readonly store: MemoryStore
  readonly hosts: Host[]
  readonly storeNeeds: string[]
}

/** One host as its daemon holds it: `start` reads everything from the disk again, as after a kill. */
class Host {
  readonly name: string
  readonly folder: string
  readonly meter = new MemoryMeter()
  readonly #world: World
  keeper!: TrustKeeper
  holder!: AuthorityHolder
  renewal!: Renewal
  succession!: Succession
  rolled = 0

  constructor(t: Test, name: string, world: World, ca: Authority, folder = folderOf(t)) {
    this.name = name
    this.folder = folder
    this.#world = world
    const { id, signingKey } = loadOrCreateIdentity(folder)
    writeTrustFile(folder, {
      environment: settings.uuid,
      certificate: ca.issueHost(id, signingKey, world.clock.now()).pem,
      authorities: [ca.certificate.pem],
      revoked: [],
      listed: 0,
    })
    this.start()
  }

  start(): void {
    const { clock, store, hosts, storeNeeds } = this.#world
    const log = new MemoryLog()
    const identity = loadOrCreateIdentity(this.folder)
    this.keeper = TrustKeeper.open(this.folder, identity, clock.now())
    this.holder = new AuthorityHolder({ state: this.folder, ca: {} }, this.keeper, log)
    const parts = { store, keeper: this.keeper, clock, log, meter: this.meter }
    const all = (): readonly HostRecord[] => hosts.map((one) => one.record())
    this.renewal = new Renewal(
      { ...parts, hosts: all, authority: () => this.holder.authority, onRenewed: () => undefined },
      { keys, identity },
    )
    this.succession = new Succession(
      {
        ...parts,
        holder: this.holder,
        hosts: all,
        storeNeeds: async () => storeNeeds,
        onChange: () => undefined,
        onRolled: async () => ++this.rolled,
      },
      keys,
    )
  }

  record(): HostRecord {
    const { id, signingKey } = loadOrCreateIdentity(this.folder)
    return hostRecord(this.name, { id, signingKey, certificate: this.keeper.certificate })
  }

  /** What the watch shows, and what is done every minute. */
  async look(): Promise<void> {
    const update = { is: 'snapshot', ...(await this.#world.store.list(keys.prefix)) } as const
    this.succession.observe(update)
    this.renewal.observe(update)
    await this.succession.tend()
    await this.renewal.tend()
  }

  get believes(): readonly string[] {
    return this.keeper.trust.authorities.map(({ fingerprint }) => fingerprint)
  }

  get issuer(): string {
    const certificate = readCertificate(this.keeper.certificate)
    return certificate !== undefined && this.keeper.isOfNewest(certificate) ? 'newest' : 'other'
  }

  isGood(t: Test): void {
    t.equal(this.keeper.own(this.#world.clock.now()).is, 'good', `${this.name} has a good certificate`)
  }
}

function worldOf(t: Test) {
  const clock = new FakeClock()
  const world: World = { clock, store: new MemoryStore({ clock }), hosts: [], storeNeeds: [] }
  const folder = folderOf(t)
  const ca = loadOrCreateAuthority(folder, { environment, passphrase: undefined, now: clock.now() })
  for (const name of ['h1', 'h2', 'h3'])
    world.hosts.push(new Host(t, name, world, ca, name === 'h1' ? folder : folderOf(t)))
  const [first, second, third] = world.hosts
  if (first === undefined || second === undefined || third === undefined)
    throw new TypeError('three were made')
  const look = async (...which: Host[]): Promise<void> => {
    for (const host of which.length === 0 ? world.hosts : which) await host.look()
  }
  return { ...world, world, ca, first, second, third, look }
}

test('three hosts follow by themselves, and the former CA goes', async (t) => {
  const { first, second, third, hosts, ca, look, clock } = worldOf(t)
  const old = ca.certificate.fingerprint
  const { fingerprint, former, tokens } = await first.succession.roll()
  t.same([former, tokens], [old, 1])
  t.not(fingerprint, old)
  clock.advance(minutes(1))
  await look(second, third)
  for (const host of hosts) t.same(host.believes, [fingerprint, old], 'both, newest first')
  await look(first)
  t.match(first.succession.needs, [/host h1/, /host h2 has no certificate/, /host h3 has no certificate/])
  t.same(
    hosts.map(({ issuer }) => issuer),
    ['newest', 'other', 'other'],
    'offered now',
  )
  for (const host of hosts) host.isGood(t)
  await look(second, third)
  t.same(
    hosts.map(({ issuer }) => issuer),
    ['newest', 'newest', 'newest'],
  )
  await look()
  for (const host of hosts) {
    t.same(host.believes, [fingerprint], 'the former one is gone')
    host.isGood(t)
    host.start()
    host.isGood(t)
  }
  t.equal(first.holder.authority?.former, undefined)
  t.notMatch(readFileSync(authorityFile(first.folder), 'utf8'), 'former', 'its key is forgotten')
  clock.advance(days(20))
  await look()
  await look()
  for (const host of hosts) host.isGood(t)
  t.not((await first.succession.roll()).fingerprint, fingerprint, 'and once more')
})

test('a backup of the former CA is told of until there is a new one', async (t) => {
  const { first, second } = worldOf(t)
  const backup = (name: string) => exportCa({ state: first.folder }, join(first.folder, name))
  t.equal(first.holder.outdatedBackup, undefined, 'none')
  const { fingerprint } = backup('one')
  t.equal(first.holder.outdatedBackup, undefined, 'of the present CA')
  await first.succession.roll()
  t.match(first.holder.outdatedBackup, { authority: fingerprint })
  t.match(backupProblems(first.holder.outdatedBackup), [
    { severity: 'warning', what: /newest backup.*Z, is of/ },
  ])
  t.equal(second.holder.outdatedBackup, undefined, 'who holds no key has nothing to back up')
  backup('two')
  t.same(backupProblems(first.holder.outdatedBackup), [])
  const folder = backupNoteFile(first.folder)
  for (const text of ['', '[]', '{"authority":7,"at":1}', '{"authority":"x","at":"y"}']) {
    writeFileSync(folder, text)
    t.equal(first.holder.outdatedBackup, undefined, `${text} tells nothing`)
  }
  rmSync(folder)
  mkdirSync(folder)
  t.match(backup('three'), { unnoted: /backup-note\.json/ }, 'the backup is there, and that is what counts')
  t.ok(statSync(join(first.folder, 'three')).size > 0)
})

test('not before nothing needs it, unless forced', async (t) => {
  const { first, second, third, look, clock, storeNeeds, ca } = worldOf(t)
  await t.rejects(second.succession.roll(), { code: 'AUTHORITY_ELSEWHERE' })
  await t.rejects(first.succession.drop(false), { code: 'NOT_NOW', message: /ca roll/ })
  await first.succession.roll()
  await t.rejects(first.succession.roll(), { code: 'AUTHORITY_ROLLING' })
  clock.advance(minutes(1))
  await look(first, second)
  await look(first, second)
  await t.rejects(first.succession.drop(false), { code: 'AUTHORITY_NEEDED', message: /host h3/ })
  await look()
  storeNeeds.push('etcd 192.0.2.1:2379 does not know the new CA')
  await look()
  t.equal(first.believes.length, 2, 'etcd still needs it')
  t.match(first.succession.problems, [{ what: /etcd 192\.0\.2\.1/ }])
  await t.rejects(first.succession.drop(false), { code: 'AUTHORITY_NEEDED', message: /192\.0\.2\.1/ })
  t.match(await first.succession.drop(true), {
    fingerprint: ca.certificate.fingerprint,
    needs: [/192\.0\.2\.1/],
  })
  await look(third)
  t.equal(third.believes.length, 1)
  third.isGood(t)
})

test('a host that slept through all of it follows', async (t) => {
  const { first, second, third, hosts, look, clock } = worldOf(t)
  await first.succession.roll()
  clock.advance(minutes(1))
  for (let round = 0; round < 3; round++) await look(first, second)
  t.match(first.succession.needs, [/host h3/], 'while its certificate lasts it is waited for')
  clock.advance(days(21))
  for (let round = 0; round < 3; round++) await look(first, second)
  clock.advance(days(10))
  for (let round = 0; round < 3; round++) await look(first, second)
  t.same(first.believes.length, 1, 'not for ever')
  await look(third)
  t.same(third.believes, first.believes, 'it believes the new one by the word of the former')
  for (const host of hosts) host.isGood(t)
})

test('killed between any two steps', async (t) => {
  const made = () => worldOf(t)
  await t.test('the file of the CA is new, and nothing else', async (t) => {
    const { first, second, clock, look } = made()
    rollAuthority(first.folder, { passphrase: undefined, now: clock.now() })
    first.start()
    first.isGood(t)
    await look(first)
    await look(second)
    t.equal(first.believes.length, 2)
    t.same(second.believes, first.believes)
  })
  await t.test('believed here, and the store has not heard', async (t) => {
    const { first, second, store, look } = made()
    await first.succession.roll()
    await store.transact([], [{ is: 'delete', key: keys.authorities }])
    first.start()
    await look(first)
    await look(second)
    t.same(second.believes, first.believes)
  })
  await t.test('the former is no longer believed, but its key is still there', async (t) => {
    const { first, second, third, store, look, clock } = made()
    await first.succession.roll()
    clock.advance(minutes(1))
    const rolling = readFileSync(authorityFile(first.folder))
    for (let round = 0; round < 3; round++) await look()
    t.equal(first.believes.length, 1)
    writeFileSync(authorityFile(first.folder), rolling)
    await store.transact([], [{ is: 'delete', key: keys.authorities }])
    first.start()
    await look(first, second, third)
    t.notMatch(readFileSync(authorityFile(first.folder), 'utf8'), 'former')
    for (const host of [first, second, third]) host.isGood(t)
  })
})

test('lists that are deleted, old, altered or forged change nothing, and the newest comes back', async (t) => {
  const { first, second, third, store, look, clock, ca } = worldOf(t)
  await first.succession.roll()
  const rolling = (await store.get(keys.authorities))?.value ?? new Uint8Array()
  clock.advance(minutes(1))
  for (let round = 0; round < 3; round++) await look()
  const newest = (await store.get(keys.authorities))?.value ?? new Uint8Array()
  t.equal(second.believes.length, 1)
  const believed = second.believes
  const stranger = loadOrCreateAuthority(folderOf(t), {
    environment,
    passphrase: undefined,
    now: clock.now(),
  })
  const altered = newest.slice()
  altered[30] = (altered[30] ?? 0) ^ 1
  const forgeries = [
    rolling,
    altered,
    newest.slice(0, 40),
    utf8('garbage'),
    utf8('null'),
    sealAuthorities(listOf(stranger, 99), stranger),
    // Whoever stole the key of the former CA.
    sealAuthorities(listOf(ca, 99), ca),
    undefined,
  ]
  for (const value of forgeries) {
    await store.transact(
      [],
      [
        value === undefined
          ? { is: 'delete', key: keys.authorities }
          : { is: 'put', key: keys.authorities, value },
      ],
    )
    await look(second)
    t.same(second.believes, believed)
    t.same((await store.get(keys.authorities))?.value, newest, 'whoever has the newest puts it back')
    await look(third)
  }
  t.equal(second.meter.values.get('drover_records_rejected_total{"why":"authorities"}'), 6)
})

test('a list names authorities of this environment, and the former vouches for the new one', async (t) => {
  const { first, second, store, look, ca, clock } = worldOf(t)
  const folder = folderOf(t)
  const other = loadOrCreateAuthority(folder, { environment, passphrase: undefined, now: clock.now() })
  const host = ca.issueHost(first.record().id, first.record().signingKey, clock.now()).pem
  const { certificate } = ca
  const lists = [
    { ...listOf(ca, 5), authorities: [] },
    { ...listOf(ca, 5), authorities: [host] },
    { ...listOf(ca, 5), authorities: ['garbage'] },
    { ...listOf(ca, 5), authorities: [other.certificate.pem, certificate.pem] },
    { ...listOf(ca, 5), authorities: [other.certificate.pem, certificate.pem], cross: other.certificate.pem },
    { ...listOf(ca, 5), environment: '11111111-2222-3333-4444-555555555555' as never },
  ]
  for (const list of lists) {
    await store.transact([], [{ is: 'put', key: keys.authorities, value: sealAuthorities(list, ca) }])
    await look(second)
    t.same(second.believes, [certificate.fingerprint])
  }
  t.equal(second.meter.values.get('drover_records_rejected_total{"why":"authorities"}'), lists.length)
})

test(
  'a full disk: no CA is made or believed that cannot be kept, and with room it is',
  smallDiskNeeds,
  async (t) => {
    const { first, third, look } = worldOf(t)
    const disks = [first, third].map(({ folder }) => new SmallDisk(t, folder))
    const before = first.believes
    for (const disk of disks) disk.fill()
    await t.rejects(first.succession.roll(), { code: 'DISK_FULL', message: /authority\.json/ })
    t.same(first.believes, before)
    disks[0]?.makeRoom()
    await first.succession.roll()
    await look(third)
    t.same(third.believes, before, 'what is not on disk does not count')
    disks[1]?.makeRoom()
    await third.succession.tend()
    t.same(third.believes, first.believes, 'heard again within a minute')
  },
)
