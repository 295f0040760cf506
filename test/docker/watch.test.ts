/** The watch on a real Docker Engine: what runs before it, what changes, an engine that goes and comes, TLS. */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { type AddressInfo, connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createServer } from 'node:tls'
import { test } from 'tap'
import { engineEndpoint } from '../../docker/endpoint.ts'
import { DockerEngine } from '../../docker/engine.ts'
import { type EngineState, EngineWatch } from '../../docker/watch.ts'
import type { EngineContainer } from '../../model/engine.ts'
import { dockerdMissing, TestDockerd } from '../support/dockerd.ts'
import { MemoryLog, MemoryMeter } from '../support/ports.ts'
import { realClock } from '../support/real-clock.ts'

/** Follows a watch and waits for states. */
class Follower {
  state: EngineState | undefined
  readonly log = new MemoryLog()
  readonly arrivals: number[] = []
  readonly #waiting = new Set<() => void>()
  readonly #stop = new AbortController()
  readonly #done: Promise<void>

  constructor(engine: DockerEngine) {
    const watch = new EngineWatch({ engine, clock: realClock, log: this.log, meter: new MemoryMeter() })
    this.#done = watch.run((state) => this.#take(state), this.#stop.signal)
  }

  named(name: string): EngineContainer | undefined {
    return [...(this.state?.containers.values() ?? [])].find((container) => container.name === name)
  }

  async until(what: string, holds: (state: EngineState) => boolean): Promise<EngineState> {
    const deadline = AbortSignal.timeout(30_000)
    for (;;) {
      if (this.state !== undefined && holds(this.state)) return this.state
      if (deadline.aborted) throw new TypeError(`never came: ${what}`)
      await new Promise<void>((resolve) => {
        this.#waiting.add(resolve)
        deadline.addEventListener('abort', () => resolve(), { once: true })
      })
    }
  }

  async stop(): Promise<void> {
    this.#stop.abort()
    await this.#done
  }

  #take(state: EngineState): void {
    this.state = state
    if (state.at !== undefined) this.arrivals.push(Date.now() - state.at)
    for (const resolve of this.#waiting) resolve()
    this.#waiting.clear()
  }
}

const running = (state: EngineState, name: string): boolean =>
  [...state.containers.values()].some((one) => one.name === name && one.state === 'running')

test('the watch follows a real engine', { skip: dockerdMissing() ?? false, timeout: 120_000 }, async (t) => {
  const dockerd = new TestDockerd()
  t.teardown(() => dockerd.remove())
  await dockerd.start()
  const early = await dockerd.runContainer(['--name', 'early', '--restart', 'always'])
  const engine = new DockerEngine(engineEndpoint({ DOCKER_HOST: `unix://${dockerd.socket}` }))
  t.match(await engine.version(), { version: /^20\.|^2\d\./, api: /^1\./ })
  const follower = new Follower(engine)
  t.teardown(() => follower.stop())

  const first = await follower.until('the first listing', ({ connected }) => connected)
  t.ok(running(first, 'early'), 'what ran before is there')

  await t.test('changes arrive at once', async (t) => {
    for (const name of ['aa', 'bb', 'cc', 'dd', 'ee']) {
      await dockerd.runContainer(['--name', name, '--label', 'io.rancher.container.network=true'])
      await follower.until(`${name} runs`, (state) => running(state, name))
    }
    const kept = follower.named('early')
    t.equal(
      kept,
      first.containers.get(kept?.id ?? first.containers.keys().next().value ?? raise()),
      'same object',
    )
    const sorted = follower.arrivals.toSorted((one, other) => one - other)
    t.ok(
      (sorted[sorted.length >> 1] ?? 9999) < 1000,
      `median ${sorted[sorted.length >> 1]} ms after the event`,
    )
    await dockerd.docker('rename', 'aa', 'anew')
    await follower.until('the new name', (state) => running(state, 'anew'))
    await dockerd.docker('pause', 'bb')
    await follower.until('a pause', () => follower.named('bb')?.state === 'paused')
    await dockerd.docker('unpause', 'bb')
    await follower.until('no pause', () => follower.named('bb')?.state === 'running')
    await dockerd.docker('kill', 'cc')
    await follower.until('an exit', () => follower.named('cc')?.state === 'exited')
    await dockerd.docker('rm', '-f', 'cc', 'dd')
    await follower.until('gone', () => !follower.named('cc') && !follower.named('dd'))
  })

  await t.test('networks and health', async (t) => {
    await dockerd.docker('network', 'create', '--subnet', '172.30.1.0/24', 'shop')
    await follower.until('a network', ({ networks }) => networks.some(({ name }) => name === 'shop'))
    const args = [
      '--name',
      'sick',
      '--health-cmd',
      'false',
      '--health-interval',
      '200ms',
      '--health-retries',
      '1',
    ]
    await dockerd.runContainer([...args, '--network', 'shop', '--network-alias', 'DB'])
    const state = await follower.until('unhealthy', () => follower.named('sick')?.health === 'unhealthy')
    const shop = state.networks.find(({ name }) => name === 'shop')
    t.match(shop, { subnets: ['172.30.1.0/24'], endpoints: [{ address: /^172\.30\.1\./ }] })
    t.ok(shop?.endpoints[0]?.names.includes('db'))
    await dockerd.docker('network', 'disconnect', 'shop', 'sick')
    await follower.until('nobody on it', ({ networks }) =>
      networks.some(({ name, endpoints }) => name === 'shop' && endpoints.length === 0),
    )
    await dockerd.docker('rm', '-f', 'sick')
    await dockerd.docker('network', 'rm', 'shop')
    await follower.until('no network', ({ networks }) => networks.length === 0)
  })

  await t.test('TLS over TCP', async (t) => {
    const folder = mkdtempSync(join(tmpdir(), 'dt-tls-'))
    t.teardown(() => rmSync(folder, { recursive: true }))
    makeCertificates(folder)
    const read = (name: string): Buffer => readFileSync(join(folder, name))
    const options = { ca: read('ca.pem'), cert: read('cert.pem'), key: read('key.pem'), requestCert: true }
    const server = createServer(options, (socket) => {
      const inner = connect(dockerd.socket)
      socket.pipe(inner).pipe(socket)
      for (const end of [socket, inner]) end.on('error', () => end.destroy())
      socket.on('close', () => inner.destroy())
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    t.teardown(() => server.close())
    const host = `tcp://127.0.0.1:${(server.address() as AddressInfo).port}`
    const variables = { DOCKER_HOST: host, DOCKER_TLS_VERIFY: '1', DOCKER_CERT_PATH: folder }
    const remote = new Follower(new DockerEngine(engineEndpoint(variables)))
    t.teardown(() => remote.stop())
    await remote.until('connected', (state) => state.connected && running(state, 'early'))
    await dockerd.docker('rename', 'bb', 'bnew')
    await remote.until('an event through TLS', (state) => running(state, 'bnew'))
    const bare = new DockerEngine(
      engineEndpoint({ DOCKER_HOST: host }, { tls: { ca: join(folder, 'ca.pem') } }),
    )
    await t.rejects(bare.version(), { code: 'ENGINE_UNAVAILABLE' }, 'no certificate, no entry')
    await remote.stop()
    t.throws(() => new DockerEngine(engineEndpoint({ ...variables, DOCKER_CERT_PATH: '/nowhere' })), {
      code: 'CONFIG_UNREADABLE',
    })
  })

  await t.test('an engine that is killed and comes back', async (t) => {
    await dockerd.kill()
    const away = await follower.until('away', ({ connected }) => !connected)
    t.ok(away.containers.has(first.containers.keys().next().value ?? raise()), 'the last state stays')
    const warned = follower.log.lines.filter(({ level }) => level === 'warn').length
    t.equal(warned, 1, 'it is said once')
    await dockerd.start()
    const back = await follower.until('back', ({ connected }) => connected)
    t.ok([...back.containers.keys()].some((id) => id === early))
    t.ok(back.containers.size > 0)
  })

  await t.test('no engine at all', async (t) => {
    const nobody = new Follower(
      new DockerEngine(engineEndpoint({ DOCKER_HOST: 'unix:///nowhere/docker.sock' })),
    )
    await nobody.until('away', ({ connected }) => !connected)
    await nobody.stop()
    t.equal(nobody.log.lines.length, 1)
  })
  await follower.stop()
})

function raise(): never {
  throw new TypeError('there is nothing')
}

function makeCertificates(folder: string): void {
  const run = (...args: readonly string[]): unknown =>
    execFileSync('openssl', args, { cwd: folder, stdio: 'pipe' })
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes']
  run('req', '-x509', ...key, '-keyout', 'ca.key', '-out', 'ca.pem', '-subj', '/CN=ca', '-days', '2')
  const san = ['-addext', 'subjectAltName=IP:127.0.0.1']
  run('req', ...key, '-keyout', 'key.pem', '-out', 'cert.csr', '-subj', '/CN=engine', ...san)
  run(
    'x509',
    '-req',
    '-in',
    'cert.csr',
    '-CA',
    'ca.pem',
    '-CAkey',
    'ca.key',
    '-copy_extensions',
    'copy',
    '-out',
    'cert.pem',
  )
}
