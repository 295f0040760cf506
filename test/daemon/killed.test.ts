/**
 * Killed at each change of the disk that `drover init`, `drover join` and a renewal make, one after the other:
 * the same command, run again, ends as if nothing had happened, and leaves no half file behind. Real kills, at
 * fewer places, are in enter.test.ts and renewal.test.ts.
 */
import crypto from 'node:crypto'
import { mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { t as root, type Test, test } from 'tap'
import type { ConfigSources } from '../../daemon/config/load.ts'
import { configOf } from '../../daemon/config/machine-config.ts'
import type { Config } from '../../daemon/config/resolve.ts'
import { silentLog } from '../../daemon/log.ts'
import { createEnvironment, enterEnvironment, type Machine } from '../../daemon/membership/enter.ts'
import { readMembership } from '../../daemon/membership/membership.ts'
import { PrometheusMeter } from '../../daemon/meter.ts'
import { systemOf } from '../../daemon/system.ts'
import { Door } from '../../daemon/trust/door.ts'
import { Renewal } from '../../daemon/trust/renewal.ts'
import { Tokens } from '../../daemon/trust/tokens.ts'
import { TrustKeeper } from '../../daemon/trust/trust-keeper.ts'
import { keysOf } from '../../model/keys.ts'
import type { Clock } from '../../model/ports.ts'
import { later, type Millis, millis, minutes } from '../../model/time.ts'
import { loadAuthority, loadOrCreateAuthority } from '../../pki/authority.ts'
import { readCertificate } from '../../pki/certificate.ts'
import { type HostIdentity, loadIdentity, loadOrCreateIdentity } from '../../pki/identity.ts'
import { EnvelopeSealer } from '../../pki/sealer.ts'
import { parseToken } from '../../pki/token.ts'
import { writeTrustFile } from '../../pki/trust-file.ts'
import { EmbeddedStore } from '../../store/embedded.ts'
import { MemoryStore } from '../../store/memory.ts'
import { cutAt } from '../support/disk-cut.ts'
import { freePort } from '../support/free-port.ts'
import { MemoryLedger, MemoryLog, MemoryMeter } from '../support/ports.ts'
import { realClock as clock } from '../support/real-clock.ts'
import { hostRecord, settings } from '../support/records.ts'

root.setTimeout(600_000)

/** More than any of the commands has. */
const manySteps = 500
const flags = { subnet: '10.77.0.0/16' }

function folderOf(t: Test): string {
  const folder = mkdtempSync(join(tmpdir(), 'dt-killed-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

const configOn = (state: string): Config => {
  const set = { state, run: state, 'docker.host': `unix://${state}/no-engine`, 'host.address': '127.0.0.1' }
  const sources: ConfigSources = { variables: {}, flags: new Map(Object.entries(set)) }
  return configOf(sources)
}

const log = silentLog
const system = systemOf({ log, meter: new PrometheusMeter() }, configOn(tmpdir()), {})
// Asked once: what else uses the machine's networks is not the subject, and each look starts processes.
const [links, routes, tables] = await Promise.all([
  system.ip.links(),
  system.ip.routes(),
  system.nft.tables('inet'),
])
Object.assign(system.ip, { links: async () => links, routes: async () => routes })
Object.assign(system.nft, { tables: async () => tables })

const machineOn = (state: string): Machine => ({ config: configOn(state), log, system })

/** The whole state of a member, read as the daemon does, and nothing beside it. */
function isMember(t: Test, state: string, files: readonly string[]): HostIdentity {
  const identity = loadIdentity(state)
  if (identity === undefined) throw new TypeError('no identity')
  const keeper = TrustKeeper.open(state, identity, clock.now())
  t.equal(keeper.own(clock.now()).is, 'good')
  t.equal(readMembership(state)?.settings.uuid, keeper.trust.environment)
  // SQLite takes its journal up at the next opening.
  const left = readdirSync(state).filter((name) => !name.startsWith('store.db-'))
  t.same(left.sort(), files, 'no draft is left')
  return identity
}

/** Stops at each step of `work` in turn, and gives what was left of it to `again`. */
async function atEachStep(
  t: Test,
  work: (state: string, step: number) => Promise<unknown>,
  again: (t: Test, state: string, step: number) => Promise<unknown>,
  prepare: (state: string) => void = () => undefined,
): Promise<void> {
  const base = folderOf(t)
  for (let step = 1; step < manySteps; step++) {
    const [folder, copy] = [join(base, `${step}`), join(base, `${step}-killed`)]
    mkdirSync(folder)
    prepare(folder)
    const cut = await cutAt(step, { folder, copy }, () => work(folder, step))
    if (!cut.happened) {
      t.ok(step > 10, `${step - 1} steps`)
      return
    }
    await t.test(`killed before step ${step}: ${cut.at}`, (t) => again(t, copy, step))
    rmSync(folder, { recursive: true })
    rmSync(copy, { recursive: true })
  }
  t.fail('it never ends')
}

test('init', async (t) => {
  oneRsaKey(t)
  const files = ['authority.json', 'identity.json', 'membership.json', 'store.db', 'trust.json']
  await atEachStep(
    t,
    (state) => createEnvironment(machineOn(state), flags),
    async (t, state) => {
      const [before, ca] = [loadIdentity(state)?.id, loadAuthority(state, undefined)?.certificate.fingerprint]
      if (readMembership(state) === undefined) await createEnvironment(machineOn(state), flags)
      const { id } = isMember(t, state, files)
      t.equal(id, before ?? id, 'it is the same host')
      const now = loadAuthority(state, undefined)?.certificate.fingerprint
      t.equal(now, ca ?? now, 'and the same CA')
    },
  )
})

/** Making an RSA key takes a third of a second, and changes nothing on disk: one serves all. */
function oneRsaKey(t: Test): void {
  const { generateKeyPairSync } = crypto
  const pair = generateKeyPairSync('rsa', { modulusLength: 3072 })
  const calls = crypto as unknown as Record<string, unknown>
  const make = generateKeyPairSync as unknown as (...args: unknown[]) => unknown
  calls.generateKeyPairSync = (...args: unknown[]) => (args[0] === 'rsa' ? pair : make(...args))
  syncBuiltinESMExports()
  t.teardown(() => {
    calls.generateKeyPairSync = generateKeyPairSync
    syncBuiltinESMExports()
  })
}

/** A minute later at each look: the endpoint answers ten tries a minute. */
function hurried(): Clock {
  let looks = 0
  return {
    now: () => clock.now(),
    after: (...args) => clock.after(...args),
    boot: () => millis(++looks * minutes(1)),
  }
}

async function doorOn(t: Test): Promise<Door> {
  const state = folderOf(t)
  const { settings } = await createEnvironment(machineOn(state), flags)
  const [identity, authority] = [loadOrCreateIdentity(state), loadAuthority(state, undefined)]
  if (authority === undefined) throw new TypeError('init made no CA')
  const { trust } = TrustKeeper.open(state, identity, clock.now())
  const [store, ledger] = [new MemoryStore({ clock }), new MemoryLedger()]
  const sealer = new EnvelopeSealer({ identity, ledger })
  const { signingKey } = identity
  const tokens = new Tokens(
    { store, ledger, sealer, clock, random: system.random },
    { keys: keysOf('default'), signingKey },
  )
  const deps = { tokens, authority: () => authority, trust: () => trust, clock: hurried() }
  const door = new Door(
    { ...deps, log: new MemoryLog(), meter: new MemoryMeter() },
    {
      settings,
      address: '127.0.0.1',
      port: await freePort(),
      store: { url: 'etcd://192.0.2.1', user: null, password: null, ca: 'of the store' },
    },
  )
  t.teardown(() => door.close())
  return door
}

test('join, with a token for one machine', async (t) => {
  oneRsaKey(t)
  const door = await doorOn(t)
  const made = new Map<number, string>()
  const join = (state: string, step: number): Promise<unknown> =>
    enterEnvironment(machineOn(state), parseToken(made.get(step) ?? ''))
  await atEachStep(
    t,
    async (state, step) => {
      made.set(step, (await door.create({ uses: 1 })).token)
      await join(state, step)
    },
    async (t, state, step) => {
      const before = loadIdentity(state)?.id
      if (readMembership(state) === undefined) await join(state, step)
      const { id } = isMember(t, state, ['identity.json', 'membership.json', 'store-ca.pem', 'trust.json'])
      t.equal(id, before ?? id, 'it is the same host')
      const { id: token } = parseToken(made.get(step) ?? '')
      t.match(
        (await door.list()).filter((one) => one.id === token),
        [{ used: 1 }],
        'one use, however often it was tried',
      )
    },
  )
})

const name = { name: 'default', uuid: settings.uuid }
const files = ['identity.json', 'trust.json']

/** A holder of the CA and another host, both with certificates that should have been renewed today. */
function prepareHosts(state: string): void {
  const passphrase = undefined
  const issued = later(clock.now(), -minutes(20 * 24 * 60) as Millis)
  const ca = loadOrCreateAuthority(join(state, 'ca'), { environment: name, passphrase, now: issued })
  for (const host of ['holder', 'host']) {
    const { id, signingKey } = loadOrCreateIdentity(join(state, host))
    const certificate = ca.issueHost(id, signingKey, issued).pem
    const authorities = [ca.certificate.pem]
    writeTrustFile(join(state, host), {
      environment: name.uuid,
      certificate,
      authorities,
      revoked: [],
      listed: 0,
    })
  }
}

/** The holder issues what is due, for itself and into the store; the other host takes what is there. */
async function renewing(state: string): Promise<void> {
  const store = new EmbeddedStore({ clock }, { path: join(state, 'holder/store.db') })
  const keys = keysOf('default')
  const ca = loadAuthority(join(state, 'ca'), undefined)
  const [holder, host] = ['holder', 'host'].map((which) => {
    const identity = loadOrCreateIdentity(join(state, which))
    return { identity, keeper: TrustKeeper.open(join(state, which), identity, clock.now()) }
  })
  if (holder === undefined || host === undefined) throw new TypeError('two hosts')
  const { id, signingKey } = host.identity
  const record = hostRecord('h', { id, signingKey, certificate: host.keeper.certificate })
  const deps = { store, clock, log, meter: new MemoryMeter(), onRenewed: () => undefined }
  const authority = () => ca
  try {
    await new Renewal(
      { ...deps, keeper: holder.keeper, authority, hosts: () => [record] },
      { keys, identity: holder.identity },
    ).tend()
    const taking = new Renewal(
      { ...deps, keeper: host.keeper, authority: () => undefined, hosts: () => [] },
      { keys, identity: host.identity },
    )
    taking.observe({ is: 'snapshot', ...(await store.list(keys.prefix)) })
    // What it could not keep it says, and tries again; a killed one says nothing.
    if (taking.problems.length > 0) throw new Error(taking.problems[0]?.what)
  } finally {
    await store.close()
  }
}

test('a renewal, by who issues and by who takes', async (t) => {
  oneRsaKey(t)
  await atEachStep(
    t,
    renewing,
    async (t, state) => {
      await renewing(state)
      for (const host of ['holder', 'host']) {
        const folder = join(state, host)
        const { certificate } = TrustKeeper.open(folder, loadOrCreateIdentity(folder), clock.now())
        const end = readCertificate(certificate)?.notAfter ?? 0
        t.ok(end > clock.now() + minutes(29 * 24 * 60), `${host} has the new certificate`)
        const left = readdirSync(folder).filter((name) => !name.startsWith('store.db'))
        t.same(left.sort(), files, 'no draft is left')
      }
    },
    prepareHosts,
  )
})
