/**
 * `drover init` and `drover join` as processes, killed at any moment: what is begun is finished by the next try,
 * with the same identity, and nothing is half done.
 */
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { t as root, type Test, test } from 'tap'
import { readMembership } from '../../../daemon/membership/membership.ts'
import { SystemClock, SystemRandom } from '../../../daemon/ports.ts'
import { Door } from '../../../daemon/trust/door.ts'
import { Tokens } from '../../../daemon/trust/tokens.ts'
import { TrustKeeper } from '../../../daemon/trust/trust-keeper.ts'
import { keysOf } from '../../../model/keys.ts'
import { instant } from '../../../model/time.ts'
import { loadAuthority } from '../../../pki/authority.ts'
import { loadIdentity, loadOrCreateIdentity } from '../../../pki/identity.ts'
import { EnvelopeSealer } from '../../../pki/sealer.ts'
import { MemoryStore } from '../../../store/memory.ts'
import { etcdMissing, TestEtcd } from '../../support/etcd.ts'
import { freePort } from '../../support/free-port.ts'
import { MemoryLedger, MemoryLog, MemoryMeter } from '../../support/ports.ts'

root.setTimeout(600_000)

const program = join(import.meta.dirname, '../../../cli/main.ts')
const now = () => instant(Date.now())

function folderOf(t: Test): string {
  const folder = mkdtempSync(join(tmpdir(), 'dt-enter-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

const argvOf = (state: string, ...words: readonly string[]): readonly string[] => [
  program,
  ...words,
  ...['--state', state, '--run', state, '--docker-host', `unix://${state}/no-engine`],
  ...['--host-address', '127.0.0.1', '--config', '/dev/null'],
]

/** Exit code and what it said. */
async function drover(state: string, ...words: readonly string[]) {
  try {
    const { stdout } = await promisify(execFile)(process.execPath, argvOf(state, ...words))
    return { code: 0, said: stdout }
  } catch (error) {
    const { code, stderr } = error as { code: number; stderr: string }
    return { code, said: stderr }
  }
}

let template: Promise<string> | undefined

/** The folder of a first host: a copy of what one `drover init` made, since making a CA takes a second. */
async function memberOf(t: Test): Promise<string> {
  template ??= initialised(root)
  const state = folderOf(t)
  cpSync(await template, state, { recursive: true })
  return state
}

async function initialised(t: Test): Promise<string> {
  const state = folderOf(t)
  const { code, said } = await drover(state, 'init', '--subnet', '10.77.0.0/16')
  if (code !== 0) throw new TypeError(said)
  return state
}

/** kill -9 in the moment in which a file appears, or a little later. */
async function killedAt(file: string, state: string, ...words: readonly string[]): Promise<void> {
  const child = spawn(process.execPath, argvOf(state, ...words), { stdio: 'ignore' })
  const exited = once(child, 'exit')
  while (child.exitCode === null && !existsSync(join(state, file)))
    await new Promise((resolve) => setTimeout(resolve, 1))
  child.kill('SIGKILL')
  await exited
}

/** The whole state of a member, read as the daemon does. */
function isMember(t: Test, state: string): void {
  const identity = loadIdentity(state)
  if (identity === undefined) throw new TypeError('no identity')
  const keeper = TrustKeeper.open(state, identity, now())
  t.equal(keeper.own(now()).is, 'good')
  t.equal(readMembership(state)?.settings.uuid, keeper.trust.environment)
}

test('init says what it did, and does it once', async (t) => {
  const state = folderOf(t)
  const { code, said } = await drover(state, 'init', '--subnet', '10.77.0.0/16')
  t.equal(code, 0, said)
  t.match(said, /created the environment default \(10\.77\.0\.0\/16\) in embedded/)
  t.match(said, /open UDP 51820/)
  isMember(t, state)
  t.match(await drover(state, 'init'), { code: 2, said: /already belongs to an environment/ })
  const check = await drover(state, 'daemon', '--check')
  t.match(check, { code: 0, said: /default in embedded/ })
  const whole = readFileSync(join(state, 'trust.json'), 'utf8')
  writeFileSync(join(state, 'trust.json'), whole.slice(0, 400))
  t.match(await drover(state, 'daemon', '--check'), {
    code: 2,
    said: /trust\.json: it is cut off.*; restore/,
  })
  rmSync(join(state, 'trust.json'))
  t.match(await drover(state, 'daemon', '--check'), { code: 2, said: /has no certificate/ })
})

test('the domain of the names is chosen at init', async (t) => {
  const state = folderOf(t)
  for (const [domain, why] of [
    ['a..b', /--domain a\.\.b is not a domain/],
    ['com', /is a top-level domain of the Internet/],
  ] as const)
    t.match(await drover(state, 'init', '--subnet', '10.77.0.0/16', '--domain', domain), {
      code: 2,
      said: why,
    })
  t.notOk(readMembership(state), 'nothing is left of what was refused')
  const { code, said } = await drover(state, 'init', '--subnet', '10.77.0.0/16', '--domain', 'Shop.Internal.')
  t.equal(code, 0, said)
  t.equal(readMembership(state)?.settings.domain, 'shop.internal')
})

test('the CA: shown, backed up, and taken from the backup', async (t) => {
  const [state, other] = [await memberOf(t), folderOf(t)]
  const shown = JSON.parse((await drover(state, 'ca', 'show', '--json')).said)
  t.match(shown, {
    authorities: [{ held: true, problem: null }],
    certificate: { problem: null },
    removed: [],
    backup: null,
  })
  const backup = join(state, 'backup.json')
  t.match(await drover(state, 'ca', 'export', backup), { code: 0, said: /in clear/ })
  t.equal(statSync(backup).mode & 0o777, 0o600)
  const { backup: noted } = JSON.parse((await drover(state, 'ca', 'show', '--json')).said)
  t.equal(noted.authority, shown.authorities[0].fingerprint)
  t.match(await drover(state, 'ca', 'show'), { said: /newest backup: 20[^,]*Z\n/ })
  t.match(await drover(state, 'ca', 'export', backup), { code: 2, said: /EEXIST/ }, 'nothing is written over')
  t.match(await drover(state, 'ca', 'import', backup), { code: 2, said: /is there already/ })
  rmSync(join(state, 'authority.json'))
  t.match(await drover(state, 'ca', 'show'), { code: 0, said: /on another host/ })
  writeFileSync(join(state, 'cut.json'), readFileSync(backup, 'utf8').slice(0, 900))
  t.match(await drover(state, 'ca', 'import', join(state, 'cut.json')), {
    code: 2,
    said: /cut off.*; restore/,
  })
  t.match(await drover(state, 'ca', 'import', backup), { code: 0, said: /holds the key of the CA/ })
  t.match(await drover(state, 'ca', 'show'), { code: 0, said: /on this host/ })
  await drover(other, 'init', '--subnet', '10.78.0.0/16')
  rmSync(join(other, 'authority.json'))
  t.match(await drover(other, 'ca', 'import', backup), { code: 2, said: /another environment/ })
})

test('somebody else has the environment: join is the way', async (t) => {
  const [state, other] = [await memberOf(t), folderOf(t)]
  writeFileSync(join(other, 'store.db'), readFileSync(join(state, 'store.db')))
  t.match(await drover(other, 'init'), { code: 2, said: /already holds an environment.*drover join TOKEN/ })
  t.notOk(existsSync(join(other, 'membership.json')))
  t.equal(loadAuthority(other, undefined), undefined, 'no CA is left')
})

test('kill -9 in the middle of init', async (t) => {
  for (const file of ['identity.json', 'store.db', 'authority.json', 'trust.json']) {
    const state = folderOf(t)
    await killedAt(file, state, 'init', '--subnet', '10.77.0.0/16')
    const [before, ca] = [loadIdentity(state)?.id, loadAuthority(state, undefined)?.certificate.fingerprint]
    const done = readMembership(state) !== undefined
    const { code, said } = await drover(state, 'init', '--subnet', '10.77.0.0/16')
    t.equal(code, done ? 2 : 0, `at ${file}: ${said}`)
    isMember(t, state)
    if (before !== undefined) t.equal(loadIdentity(state)?.id, before)
    if (ca !== undefined) t.equal(loadAuthority(state, undefined)?.certificate.fingerprint, ca)
  }
})

test('kill -9 in the middle of join', async (t) => {
  const first = await memberOf(t)
  const [identity, authority, membership] = [
    loadOrCreateIdentity(first),
    loadAuthority(first, undefined),
    readMembership(first),
  ]
  if (authority === undefined || membership === undefined) throw new TypeError('init made no CA')
  const [clock, random, ledger] = [new SystemClock(), new SystemRandom(), new MemoryLedger()]
  const store = new MemoryStore({ clock })
  const sealer = new EnvelopeSealer({ identity, ledger })
  const { signingKey } = identity
  const tokens = new Tokens({ store, ledger, sealer, clock, random }, { keys: keysOf('default'), signingKey })
  const { trust } = TrustKeeper.open(first, identity, now())
  const [log, meter] = [new MemoryLog(), new MemoryMeter()]
  const door = new Door(
    { tokens, authority: () => authority, trust: () => trust, clock, log, meter },
    {
      settings: membership.settings,
      address: '127.0.0.1',
      port: await freePort(),
      // A store that answers at once, so that a kill also hits what comes after the answer.
      store: { url: 'embedded', user: null, password: null, ca: null },
    },
  )
  t.teardown(() => door.close())
  for (const file of ['identity.json', 'trust.json']) {
    const state = folderOf(t)
    const { id, token } = await door.create({ uses: 1 })
    await killedAt(file, state, 'join', token)
    const before = loadIdentity(state)?.id
    const done = readMembership(state) !== undefined
    const { code, said } = await drover(state, 'join', token)
    t.equal(code, done ? 2 : 0, `at ${file}: ${said}`)
    if (!done) t.match(said, /joined the environment default/)
    isMember(t, state)
    if (before !== undefined) t.equal(loadIdentity(state)?.id, before)
    t.match(
      (await door.list()).find((one) => one.id === id),
      { used: 1 },
      'one use, however often it was tried',
    )
  }
  const { token } = await door.create({})
  const altered = `${token.slice(0, 60)}${token[60] === 'x' ? 'y' : 'x'}${token.slice(61)}`
  t.match(await drover(folderOf(t), 'join', altered), { code: 2, said: /cut off or altered/ })
  const [once, twice] = [folderOf(t), folderOf(t)]
  t.match(await drover(once, 'join', token), { code: 0 })
  t.match(
    await drover(twice, 'join', token),
    { code: 2, said: /token was refused.*token create/ },
    'replayed',
  )
  t.notOk(existsSync(join(twice, 'membership.json')))
})

const needsEtcd = etcdMissing() === undefined ? {} : { skip: etcdMissing() ?? '' }

test('etcd with mutual TLS by the CA of the environment', needsEtcd, async (t) => {
  const [state, folder] = [await memberOf(t), folderOf(t)]
  t.match(await drover(state, 'ca', 'issue', join(folder, 'x'), '--address', 'nowhere'), { code: 2 })
  const issued = await drover(state, 'ca', 'issue', folder, '--address', '127.0.0.1')
  t.equal(issued.code, 0, issued.said)
  const files = { ca: 'ca.pem', cert: 'server.pem', key: 'server-key.pem' }
  const [ca = '', cert = '', key = ''] = Object.values(files).map((name) => join(folder, name))
  const etcd = await TestEtcd.start({ tls: { ca, cert, key } })
  t.teardown(() => etcd.remove())
  const moved = await drover(state, 'store', 'move', etcd.url)
  t.equal(moved.code, 0, `${moved.said}: the host shows its own certificate`)
  const stranger = folderOf(t)
  await drover(stranger, 'init', '--subnet', '10.78.0.0/16')
  t.match(await drover(stranger, 'store', 'move', etcd.url), { code: 2 }, 'no other CA comes in')
})
