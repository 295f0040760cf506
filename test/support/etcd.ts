/**
 * Real etcd (Debian's) for tests, one member or three, on loopback with ports and data of its own. Members can
 * be killed, paused, started again and wiped. `remove()`, also run when the process ends, leaves nothing; a test
 * that is killed takes its members along.
 */
import { type ChildProcess, execFile, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { promisify } from 'node:util'

const run = promisify(execFile)

/** Why etcd cannot be started here; undefined where it can. */
export function etcdMissing(): string | undefined {
  return existsSync('/usr/bin/etcd') ? undefined : 'needs etcd (apt-get install etcd-server etcd-client)'
}

export interface TestEtcdOptions {
  readonly members?: 1 | 3
  /** Serves TLS only, and asks for client certificates of this authority. */
  readonly tls?: { readonly ca: string; readonly cert: string; readonly key: string }
}

interface Ports {
  readonly client: number
  readonly peer: number
}

export class TestEtcdMember {
  readonly name: string
  readonly ports: Ports
  readonly #folder: string
  readonly #args: readonly string[]
  #process: ChildProcess | undefined

  constructor(name: string, ports: Ports, folder: string, args: readonly string[]) {
    this.name = name
    this.ports = ports
    this.#folder = folder
    this.#args = args
  }

  /** `host:port` for clients. */
  get endpoint(): string {
    return `127.0.0.1:${this.ports.client}`
  }

  start(): void {
    const log = openSync(`${this.#folder}.log`, 'a')
    const command = ['--pdeathsig', 'KILL', '/usr/bin/etcd', ...this.#args, '--data-dir', this.#folder]
    const child = spawn('setpriv', command, {
      stdio: ['ignore', log, log],
      env: { PATH: process.env.PATH, ETCD_UNSUPPORTED_ARCH: process.arch },
    })
    this.#process = child
  }

  /** kill -9; resolves when it is gone. */
  async kill(): Promise<void> {
    const child = this.#process
    this.#process = undefined
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
    const gone = once(child, 'exit')
    child.kill('SIGKILL')
    await gone
  }

  /** Stops answering, but keeps its connections; resolves when all its threads stand still. */
  async pause(): Promise<void> {
    const child = this.#process
    child?.kill('SIGSTOP')
    while (child?.exitCode === null && !isStopped(child.pid ?? 0)) await delay(5)
  }

  resume(): void {
    this.#process?.kill('SIGCONT')
  }

  /** Forgets everything; only while it is killed. */
  wipe(): void {
    rmSync(this.#folder, { recursive: true, force: true })
  }

  killNow(): void {
    this.#process?.kill('SIGKILL')
  }
}

export class TestEtcd {
  readonly folder: string
  readonly members: readonly TestEtcdMember[]
  readonly #tls: TestEtcdOptions['tls']
  readonly #onExit = () => this.#removeNow()

  private constructor(folder: string, members: readonly TestEtcdMember[], tls: TestEtcdOptions['tls']) {
    this.folder = folder
    this.members = members
    this.#tls = tls
    process.once('exit', this.#onExit)
  }

  /** Started and ready. */
  static async start({ members = 1, tls }: TestEtcdOptions = {}): Promise<TestEtcd> {
    const folder = mkdtempSync(join(tmpdir(), 'dt-etcd-'))
    const ports = await freePorts(members * 2)
    const named = Array.from({ length: members }, (_, at) => ({
      name: `m${at}`,
      ports: { client: ports[2 * at] ?? 0, peer: ports[2 * at + 1] ?? 0 },
    }))
    const cluster = named.map(({ name, ports: { peer } }) => `${name}=http://127.0.0.1:${peer}`).join(',')
    const made = named.map(
      (member) =>
        new TestEtcdMember(
          member.name,
          member.ports,
          join(folder, member.name),
          argumentsOf(member.name, member.ports, cluster, tls),
        ),
    )
    const etcd = new TestEtcd(folder, made, tls)
    for (const member of made) member.start()
    try {
      await etcd.ready()
    } catch (thrown) {
      await etcd.remove()
      throw thrown
    }
    return etcd
  }

  get endpoints(): readonly string[] {
    return this.members.map((member) => member.endpoint)
  }

  /** For `drover init --store` and openStore. */
  get url(): string {
    return `${this.#tls === undefined ? 'etcd' : 'etcds'}://${this.endpoints.join(',')}`
  }

  /** Waits until a majority answers. */
  async ready(): Promise<void> {
    for (let tries = 0; ; tries++) {
      try {
        await this.ctl('get', 'ready', '--command-timeout=2s')
        return
      } catch (thrown) {
        if (tries === 100) throw thrown
        await delay(100)
      }
    }
  }

  /** The index of the member that leads. */
  async leader(): Promise<number> {
    for (const [at, member] of this.members.entries()) {
      const text = await this.ctlAt([member], 'endpoint', 'status', '-w', 'json').catch(() => '[]')
      const [status] = JSON.parse(text) as readonly {
        readonly Status: { readonly header: { readonly member_id: number }; readonly leader: number }
      }[]
      if (status !== undefined && status.Status.leader === status.Status.header.member_id) return at
    }
    throw new Error('no leader')
  }

  /** Forgets the history up to now. */
  async compact(): Promise<void> {
    const { header } = JSON.parse(await this.ctl('get', 'none', '-w', 'json')) as {
      readonly header: { readonly revision: number }
    }
    await this.ctl('compaction', String(header.revision))
  }

  /** etcdctl against all members. */
  ctl(...args: readonly string[]): Promise<string> {
    return this.ctlAt(this.members, ...args)
  }

  async ctlAt(members: readonly TestEtcdMember[], ...args: readonly string[]): Promise<string> {
    const tls = this.#tls
    const secure = tls === undefined ? [] : ['--cacert', tls.ca, '--cert', tls.cert, '--key', tls.key]
    const scheme = tls === undefined ? 'http' : 'https'
    const endpoints = members.map(({ endpoint }) => `${scheme}://${endpoint}`).join(',')
    const { stdout } = await run('etcdctl', ['--endpoints', endpoints, ...secure, ...args], {
      env: { PATH: process.env.PATH, ETCDCTL_API: '3' },
    })
    return stdout
  }

  async remove(): Promise<void> {
    await Promise.all(this.members.map((member) => member.kill()))
    this.#removeNow()
    process.removeListener('exit', this.#onExit)
  }

  #removeNow(): void {
    for (const member of this.members) member.killNow()
    rmSync(this.folder, { recursive: true, force: true })
  }
}

function argumentsOf(name: string, ports: Ports, cluster: string, tls: TestEtcdOptions['tls']): string[] {
  const client = `${tls === undefined ? 'http' : 'https'}://127.0.0.1:${ports.client}`
  const peer = `http://127.0.0.1:${ports.peer}`
  return [
    ...['--name', name, '--initial-cluster', cluster, '--unsafe-no-fsync'],
    ...['--listen-client-urls', client, '--advertise-client-urls', client],
    ...['--listen-peer-urls', peer, '--initial-advertise-peer-urls', peer],
    ...['--heartbeat-interval', '50', '--election-timeout', '500'],
    ...(tls === undefined ? [] : ['--cert-file', tls.cert, '--key-file', tls.key, '--client-cert-auth']),
    ...(tls === undefined ? [] : ['--trusted-ca-file', tls.ca]),
  ]
}

function isStopped(pid: number): boolean {
  const tasks = `/proc/${pid}/task`
  return readdirSync(tasks).every((task) => /\) T /.test(readFileSync(join(tasks, task, 'stat'), 'latin1')))
}

/** Ports that nobody listens on now. */
async function freePorts(count: number): Promise<readonly number[]> {
  const servers = Array.from({ length: count }, () => createServer().listen(0, '127.0.0.1'))
  await Promise.all(servers.map((server) => once(server, 'listening')))
  const ports = servers.map((server) => {
    const address = server.address()
    return typeof address === 'object' && address !== null ? address.port : 0
  })
  await Promise.all(servers.map((server) => once(server.close(), 'close')))
  return ports
}

export interface TestCertificate {
  readonly ca: string
  readonly cert: string
  readonly key: string
}

/** An authority, and by it a certificate of the name `root` for 127.0.0.1, good for servers and clients. */
export function makeTestCertificates(folder: string): TestCertificate {
  const [ca, caKey] = [join(folder, 'ca.pem'), join(folder, 'ca-key.pem')]
  openssl('req', '-x509', ...newKey, '-days', '2', '-subj', '/CN=test-ca', '-keyout', caKey, '-out', ca)
  const server = 'subjectAltName=IP:127.0.0.1,DNS:localhost\nextendedKeyUsage=serverAuth,clientAuth\n'
  return issueTestCertificate(folder, 'root', server)
}

/** Another certificate of the authority in the folder; without `extensions` for a client. */
export function issueTestCertificate(
  folder: string,
  name: string,
  extensions = 'extendedKeyUsage=clientAuth\n',
): TestCertificate {
  const at = (what: string) => join(folder, what)
  const [ca, cert, key] = [at('ca.pem'), at(`${name}.pem`), at(`${name}-key.pem`)]
  openssl('req', '-new', ...newKey, '-subj', `/CN=${name}`, '-keyout', key, '-out', at('csr.pem'))
  writeFileSync(at('extensions'), extensions)
  const signing = ['-CA', ca, '-CAkey', at('ca-key.pem'), '-CAcreateserial', '-days', '2']
  openssl('x509', '-req', '-in', at('csr.pem'), ...signing, '-extfile', at('extensions'), '-out', cert)
  return { ca, cert, key }
}

const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes']

const openssl = (...args: readonly string[]) => execFileSync('openssl', args, { stdio: 'pipe' })
