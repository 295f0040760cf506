/**
 * Names are answered while things around them fail: etcd away, Docker stopped, the upstream resolver dead, garbage
 * in between, the daemon replaced; and again by themselves after the daemon was killed and started.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { type Test, test } from 'tap'
import { AdminClient } from '../../cli/client.ts'
import { isAlive, until } from '../../lab/command.ts'
import type { LabHost } from '../../lab/host.ts'
import { image, node, root } from '../../lab/layout.ts'
import { addressOf, labFor, labNeeds, pidOf, resolve, resolvesTo } from '../support/lab.ts'

const name = 'web.shop.rancher.internal'

interface Heard {
  readonly sent: number
  readonly answered: number
  readonly wrong: readonly string[]
  /** The longest time without an answer, in milliseconds. */
  readonly gap: number
}

/** Asks from inside a container fifty times a second until `stop`. */
class Asker {
  readonly #process: ChildProcess
  #said = ''

  constructor(pid: number, address: string) {
    const script = join(root, 'test/support/dns-asker.ts')
    const argv = [`--net=/proc/${pid}/ns/net`, node, script, name, address]
    this.#process = spawn('nsenter', argv, { stdio: ['pipe', 'pipe', 'inherit'] })
    this.#process.stdout?.on('data', (chunk: Buffer) => {
      this.#said += chunk.toString()
    })
  }

  async started(): Promise<this> {
    await until('the first answer', () => this.#said.includes('first') || undefined)
    return this
  }

  async stop(): Promise<Heard> {
    const closed = once(this.#process, 'close')
    this.#process.stdin?.end()
    await closed
    return JSON.parse(this.#said.split('\n')[1] ?? '') as Heard
  }
}

/** No question lost and none answered otherwise while something happens. */
async function undisturbed(
  t: Test,
  host: LabHost,
  address: string,
  act: () => Promise<unknown>,
): Promise<void> {
  const asker = await new Asker(await pidOf(host, 'client'), address).started()
  await act()
  const { sent, answered, wrong, gap } = await asker.stop()
  t.equal(answered, sent, `every one of ${sent} questions was answered`)
  t.strictSame(wrong, [], 'and rightly')
  t.comment(`longest gap ${Math.round(gap)} ms`)
}

test('names while things fail', labNeeds(), async (t) => {
  const lab = await labFor(t, { what: 'dns', hosts: 1, store: 'etcd' })
  const host = lab.host(1)
  // On a network of its own Docker gives it 127.0.0.11, which ends with the engine.
  await host.docker('network', 'create', 'app')
  const args = ['--dns', '192.0.2.53', '--network', 'app']
  await Promise.all([
    host.managed({ name: 'web', stack: 'shop', service: 'web' }),
    host.managed({ name: 'client', stack: 'shop', service: 'client', args }),
    host.docker('run', '-d', '--network', 'app', '--name', 'db', image, 'sleep', '86400'),
  ])
  const web = await addressOf(host, 'web')
  const db = await host.docker('inspect', '-f', '{{.NetworkSettings.Networks.app.IPAddress}}', 'db')
  await resolvesTo(host, 'client', name, [web])
  await resolvesTo(host, 'client', 'db', [db])
  const status = async () =>
    (await host.drover('status')) as { store: { connected: boolean }; docker: { connected: boolean } }
  const pid = await pidOf(host, 'client')

  await t.test('etcd is away', (t) =>
    undisturbed(t, host, web, async () => {
      await lab.killMember(1)
      await until('the loss to be noticed', async () => !(await status()).store.connected || undefined)
      await lab.startMember(1)
      await until('its return', async () => (await status()).store.connected || undefined)
    }),
  )

  await t.test('the upstream resolver is dead', (t) =>
    undisturbed(t, host, web, async () => {
      const dead = ['+time=3', '+tries=1', '@169.254.169.250']
      for (let n = 0; n < 20; n++)
        void host.exec(['nsenter', `--net=/proc/${pid}/ns/net`, 'dig', ...dead, `dead${n}.example.org`])
      const { stdout } = await host.exec([
        ...['nsenter', `--net=/proc/${pid}/ns/net`, 'dig', '+time=6', '+tries=1', '@169.254.169.250'],
        'last.example.org',
      ])
      t.match(stdout, /SERVFAIL/, 'what nobody answers fails, and says so')
    }),
  )

  await t.test('a container falls ill, and gets well', async (t) => {
    const check = ['--health-cmd', 'test ! -e /ill', '--health-interval', '1s', '--health-retries', '1']
    const ward = { stack: 'shop', service: 'ward' }
    await Promise.all([
      host.managed({ name: 'well', ...ward }),
      host.managed({ name: 'patient', ...ward, args: check }),
    ])
    const both = await Promise.all(['well', 'patient'].map((one) => addressOf(host, one)))
    await resolvesTo(host, 'client', 'ward.shop.rancher.internal', both)
    await host.inside('patient', 'touch', '/ill')
    await resolvesTo(host, 'client', 'ward.shop.rancher.internal', both.slice(0, 1))
    await host.inside('patient', 'rm', '/ill')
    await resolvesTo(host, 'client', 'ward.shop.rancher.internal', both)
    t.match(await resolve(host, 'client', 'patient.rancher.internal'), both.slice(1))
  })

  await t.test('the daemon is replaced', (t) =>
    undisturbed(t, host, web, async () => {
      const before = host.entry.pids.daemon
      for (let round = 0; round < 2; round++) await host.replaceDaemon()
      t.not(host.entry.pids.daemon, before)
      t.notOk(isAlive(before), 'the predecessor ends')
    }),
  )

  await t.test('a successor that does not start changes nothing', (t) =>
    undisturbed(t, host, web, async () => {
      const replaced = new AdminClient(host.entry.admin).post('/v1/replace', { program: ['/bin/false'] })
      await t.rejects(replaced, { code: 'DAEMON_REPLACE', message: /the successor has ended \(1\)/ })
      t.ok(isAlive(host.entry.pids.daemon))
    }),
  )

  await t.test('the daemon is killed, and started again', async (t) => {
    const asker = await new Asker(pid, web).started()
    await host.restart('daemon', 'SIGKILL')
    await resolvesTo(host, 'client', name, [web])
    const { wrong, gap } = await asker.stop()
    t.strictSame(wrong, [], 'what is answered is right, also by a daemon that has just begun')
    t.comment(`no answer for ${Math.round(gap)} ms`)
  })

  // The last: an engine that starts ends the containers of the one that was killed.
  await t.test('Docker is stopped', async (t) => {
    const asker = await new Asker(pid, web).started()
    await host.kill('dockerd', 'SIGKILL')
    await until('the loss to be noticed', async () => !(await status()).docker.connected || undefined)
    const { sent, answered, wrong } = await asker.stop()
    t.equal(answered, sent, `every one of ${sent} questions was answered`)
    t.strictSame(wrong, [])
    const namespaces = [`--net=/proc/${pid}/ns/net`, `--mount=/proc/${pid}/ns/mnt`]
    const ping = (what: string) => host.exec(['nsenter', ...namespaces, 'ping', '-c', '1', '-w', '5', what])
    t.match((await ping(name)).stdout, `(${web})`, 'as the container itself asks, by its resolv.conf')
    t.match((await ping('db')).stdout, `(${db})`, 'Docker’s own names as well')
    await host.start('dockerd')
    await until('its return', async () => (await status()).docker.connected || undefined)
  })
})
