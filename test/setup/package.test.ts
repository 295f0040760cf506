/**
 * The package that `npm pack` makes, installed elsewhere: what is in it, the client for plain JavaScript and for the
 * compiler, the executables, and a daemon that runs from it.
 */
import { execFile } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { after, test } from 'tap'
import { metadataOf, shopOf } from '../support/metadata.ts'
import { NetnsWorld, needsRoot, until } from '../support/netns.ts'
import { packedIn } from '../support/packed.ts'

const execute = promisify(execFile)
const root = join(import.meta.dirname, '../..')
const folder = mkdtempSync(join(tmpdir(), 'drover-package-'))
after(() => rmSync(folder, { recursive: true, force: true }))
const { files, user } = packedIn(folder)
const drover = join(user, 'node_modules/.bin/drover')

interface Failure {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

const failureOf = (promise: Promise<unknown>): Promise<Failure> =>
  promise.then(
    () => ({ code: 0, stdout: '', stderr: '' }),
    (error: Failure) => error,
  )

test('what is in it', async (t) => {
  const sources = files.filter((file) => /\.ts$/.test(file) && !file.endsWith('.d.ts'))
  t.strictSame(sources, [], 'no TypeScript')
  t.strictSame(
    files.filter((file) => /^(test|lab|bench|setup|node_modules)\//.test(file)),
    [],
  )
  for (const file of [
    'bin/drover',
    'dist/cli/main.js',
    'dist/client/client.d.ts',
    'docs/openapi.json',
    'LICENSE',
  ]) {
    t.ok(files.includes(file), file)
  }
})

test('the client for plain JavaScript', async (t) => {
  const { url } = await metadataOf(t, shopOf())
  const program = `
    import { MetadataClient, MetadataError } from 'drover/metadata'
    const metadata = new MetadataClient({ url: process.argv[2] })
    for await (const services of metadata.watch('/services')) {
      console.log(services.map(({ name }) => name).join(' '))
      break
    }
    await metadata.get('/nobody').catch((error) => console.log(error instanceof MetadataError, error.code))`
  writeFileSync(join(user, 'program.mjs'), program)
  const { stdout, stderr } = await execute(process.execPath, [join(user, 'program.mjs'), url])
  t.equal(stdout, 'log web db mail shopfront\ntrue NOT_FOUND\n')
  t.equal(stderr, '')
  const required = `const { MetadataClient } = require('drover/metadata'); console.log(typeof MetadataClient)`
  writeFileSync(join(user, 'program.cjs'), required)
  t.equal((await execute(process.execPath, [join(user, 'program.cjs')])).stdout, 'function\n')
})

test('the client for the compiler', async (t) => {
  const program = `
    import { type Container, MetadataClient } from 'drover/metadata'
    const metadata = new MetadataClient()
    const name: string = await metadata.get('/self/container/name')
    const containers: readonly Container[] | null = await metadata.get('/services/web/containers')
    // @ts-expect-error: an address may be null
    const address: string = await metadata.get('/self/container/primary_ip')
    // @ts-expect-error: a list has no name
    const wrong: string = await metadata.get('/containers')
    // @ts-expect-error: a path begins with a slash
    await metadata.get('containers')
    export { address, containers, name, wrong }`
  const options = {
    strict: true,
    noEmit: true,
    module: 'nodenext',
    target: 'es2024',
    types: ['node'],
    skipLibCheck: true,
  }
  writeFileSync(join(user, 'program.mts'), program)
  writeFileSync(
    join(user, 'tsconfig.json'),
    JSON.stringify({ compilerOptions: options, files: ['program.mts'] }),
  )
  // Under tap each process is given NODE_OPTIONS that the compiler does not start with.
  const compiler = ['-u', 'NODE_OPTIONS', join(root, 'node_modules/.bin/tsc'), '--project', user]
  t.match(await failureOf(execute('env', compiler)), { code: 0, stdout: '' })
  writeFileSync(join(user, 'program.mts'), program.replaceAll('@ts-expect-error', ''))
  const { stdout } = await failureOf(execute('env', compiler))
  t.equal(stdout.match(/error TS/g)?.length, 3, 'and each of the three is one')
})

/** As systemd and wg-quick have it: no Node of ours in PATH. */
const PATH = '/usr/sbin:/usr/bin:/sbin:/bin'

test('the executable', async (t) => {
  const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
    readonly version: string
  }
  t.equal((await execute(drover, ['--version'], { env: { PATH } })).stdout, `${manifest.version}\n`)
  const status = await failureOf(
    execute(drover, ['status', '--admin', join(folder, 'none.sock')], { env: { PATH } }),
  )
  t.equal(status.code, 2)
  t.match(status.stderr, /^drover: the daemon does not answer: .*\n$/)
})

test('a daemon runs from it, with all of its threads and its tunnel', {
  ...needsRoot,
  timeout: 120_000,
}, async (t) => {
  const world = await NetnsWorld.open()
  t.teardown(() => world.close())
  const [space, other] = [await world.netns('pack'), await world.netns('peer')]
  await world.wire(space, 'u0 192.168.63.1/24', other, 'u0 192.168.63.2/24')
  await space.sh('ip route add default via 192.168.63.2')
  const config = join(folder, 'drover.yaml')
  const tunnel = `dtp${process.pid}`
  writeFileSync(
    config,
    `state: ${folder}/state\nrun: ${folder}/run\nhost: { name: packed }\ndocker: { host: 'unix://${folder}/none.sock' }
tunnel: { interface: ${tunnel}, engine: userspace, sockets: ${folder}/sockets }\n`,
  )
  const daemon = world.spawn(space, [drover, 'daemon', '--init', '--config', config])
  let said = ''
  for (const stream of [daemon.stdout, daemon.stderr]) {
    stream?.on('data', (chunk: Buffer) => {
      said += String(chunk)
    })
  }
  const ended = new Promise((resolve) => daemon.once('exit', resolve))
  const leave = () => space.runner.run([drover, 'daemon', '--leave', '--config', config])
  t.teardown(() => space.runner.attempt([drover, 'daemon', '--leave', '--config', config]))
  await until(
    'it listens',
    () => {
      if (daemon.exitCode !== null) throw new TypeError(said)
      return said.includes('"listening"')
    },
    60_000,
  )
  // Exit code 1: without a Docker engine there is a problem.
  const { stdout } = await space.runner.attempt([drover, 'status', '--config', config, '--json'])
  const status: unknown = JSON.parse(stdout)
  t.match(status, { host: 'packed', tunnel: { engine: 'userspace', running: true } })
  t.equal(
    await space.sh('curl -s http://169.254.169.250/latest/self/host/name'),
    'packed',
    'the metadata thread',
  )
  const name = await space.sh('dig +short @169.254.169.250 rancher-metadata.rancher.internal')
  t.equal(name, '169.254.169.250\n', 'the DNS thread')
  daemon.kill('SIGTERM')
  t.equal(await ended, 0, 'nothing holds it')
  t.match(await space.sh(`ip -br link show ${tunnel}`), tunnel, 'the tunnel process outlives the daemon')
  await leave()
  t.notMatch(await space.sh('ip -br link'), tunnel)
})
