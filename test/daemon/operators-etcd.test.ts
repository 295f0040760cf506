/**
 * An etcd of the operator's, as docs/operations.md sets it up: three members, mutual TLS by a CA that is not ours, and a
 * user who may do nothing outside of our prefix. Commands and daemons come in, nobody else does, and a member that is
 * killed stops nobody.
 */
import { execFile } from 'node:child_process'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { t as root, type Test, test } from 'tap'
import { openStore } from '../../store/open.ts'
import type { Store } from '../../store/store.ts'
import { etcdMissing, issueTestCertificate, makeTestCertificates, TestEtcd } from '../support/etcd.ts'
import { authorityFor, folderOf } from '../support/members.ts'
import { MemoryLog } from '../support/ports.ts'
import { realClock as clock } from '../support/real-clock.ts'
import { containerId } from '../support/records.ts'
import { StoreHost, until } from '../support/store-host.ts'

root.setTimeout(180_000)

const needsEtcd = etcdMissing() === undefined ? {} : { skip: etcdMissing() ?? '' }
const page = readFileSync(join(import.meta.dirname, '../../docs/operations.md'), 'utf8')

/** Each `etcdctl …` of the page that is about users. */
const commands = [...page.matchAll(/etcdctl ((?:role|user|auth) [^\n`]*)/g)].map(([, words = '']) =>
  words.trim().split(/ +/),
)

interface Access {
  readonly ca?: string
  readonly cert?: string
  readonly key?: string
  readonly user?: string
  readonly password?: string
}

/** Exit code and what was said by a command of a machine with this in its configuration. */
async function drover(state: string, store: Access, ...words: readonly string[]) {
  mkdirSync(state, { recursive: true })
  const config = join(state, 'drover.yaml')
  writeFileSync(config, JSON.stringify({ state, run: state, host: { address: '127.0.0.1' }, store }))
  const program = join(import.meta.dirname, '../../cli/main.ts')
  try {
    const argv = [program, ...words, '--config', config, '--docker-host', `unix://${state}/no-engine`]
    const { stdout } = await promisify(execFile)(process.execPath, argv)
    return { code: 0, said: stdout }
  } catch (error) {
    const { code, stderr } = error as { code: number; stderr: string }
    return { code, said: stderr }
  }
}

async function operatorsEtcd(t: Test) {
  const folder = folderOf(t)
  const etcd = await TestEtcd.start({ members: 3, tls: makeTestCertificates(folder) })
  t.teardown(() => etcd.remove())
  t.equal(commands.length, 7)
  const mayHaveIt = (words: readonly string[]): boolean => words[0] !== 'auth'
  // Users are switched on last, whatever the order on the page.
  for (const words of [...commands.filter(mayHaveIt), ...commands.filter((one) => !mayHaveIt(one))])
    await etcd.ctl(...words)
  const access = { ...issueTestCertificate(folder, 'host1'), user: 'drover', password: 'PASSWORD' }
  const storeOf = async (over: object = {}): Promise<Store> => {
    const { ca, cert, key, user, password } = { ...access, ...over }
    const store = await openStore(
      { url: etcd.url, path: '', tls: { ca, cert, key }, user, password },
      { clock, log: new MemoryLog() },
    )
    t.teardown(() => store.close())
    return store
  }
  return { etcd, access, storeOf }
}

test('by client certificate, user and password, in a role that ends at our prefix', needsEtcd, async (t) => {
  const { etcd, access, storeOf } = await operatorsEtcd(t)

  await t.test('commands say what is in the way, and then come in', async (t) => {
    const state = folderOf(t)
    const init = (over: Access) =>
      drover(join(state, 'one'), over, 'init', '--store', etcd.url, '--subnet', '10.77.0.0/16')
    const { cert: _, key: __, ...noCertificate } = access
    const { ca: ___, ...noCa } = noCertificate
    const refused = await init(noCertificate)
    t.match(refused, { code: 2, said: /does not accept the certificate.*store\.cert/ })
    t.equal(refused.said.trim().split('\n').length, 1, 'in one line')
    t.match(await init(noCa), { code: 2, said: /is of no authority that counts here \(store\.ca\)/ })
    t.match(await init({ ...access, password: 'wrong' }), {
      code: 2,
      said: /refuses this host.*store\.password/,
    })
    t.match(await init(access), { code: 0, said: /created the environment default/ })
    // What a host that joins is told; its certificate is the operator's.
    const file = join(state, 'one/membership.json')
    const { ca, cert, key, user, password } = access
    const membership = JSON.parse(readFileSync(file, 'utf8')) as object
    writeFileSync(file, JSON.stringify({ ...membership, access: { ca, user, password } }))
    const joined = await drover(join(state, 'one'), { cert, key }, 'daemon', '--check')
    t.match(joined, { code: 0 }, joined.said)
  })

  await t.test('nothing outside of the prefix, and a lease that ended is no refusal', async (t) => {
    const store = await storeOf()
    await t.rejects(store.get('/others'), { code: 'STORE_REFUSED' })
    await t.rejects(store.list('/'), { code: 'STORE_REFUSED' })
    const lease = await store.grant(5)
    await lease.revoke()
    const write = { is: 'put', key: '/drover/v1/x/leased', value: new Uint8Array([1]), lease } as const
    t.match(await store.transact([], [write]), { is: 'refused' })
  })

  await t.test('hosts go on whichever member is killed', async (t) => {
    const { ca, trust } = authorityFor(t, clock.now())
    await etcd.ctl('del', '/drover/v1/default/', '--prefix')
    const one = new StoreHost(t, 'one', await storeOf(), ca, trust)
    const two = new StoreHost(t, 'two', await storeOf(), ca, trust)
    for (const member of etcd.members) {
      await member.kill()
      const address = await one.run(`without ${member.name}`)
      await until('the other host to see it', () =>
        two.view?.containers.get(containerId(`without ${member.name}`))?.address === address
          ? true
          : undefined,
      )
      t.same([...one.lost, ...two.lost], [])
      member.start()
      await etcd.ready()
    }
    await until('both to hear the store again', () => (one.fresh && two.fresh ? true : undefined))
    t.ok(two.view?.hosts.get(one.id)?.alive, 'and the lease goes on')
  })
})
