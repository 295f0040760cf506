/**
 * The way from a clone to something that runs, with npm replaced by a script that writes down how it is called.
 * Each case has a folder of its own with a lockfile, our setup/, and perhaps an installed node_modules.
 */
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import {
  chmodSync,
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { type Test, test } from 'tap'

const root = join(import.meta.dirname, '..', '..')

const lock = (version: string): string =>
  JSON.stringify({
    packages: {
      '': {},
      'node_modules/one': { version },
      'node_modules/other': { version: '1', optional: true },
    },
  })

/** A clone whose npm writes its arguments to `npm.log` and installs what the lock says. */
function clone(t: Test): string {
  const folder = t.testdir({ 'package.json': '{}', 'package-lock.json': lock('1.0.0') })
  for (const part of ['bin', 'setup']) cpSync(join(root, part), join(folder, part), { recursive: true })
  const npm = `
    const fs = require('node:fs')
    fs.appendFileSync('npm.log', process.argv.slice(2).join(' ') + '\\n')
    if (fs.existsSync('npm-fails')) process.exit(1)
    fs.rmSync('node_modules', { recursive: true, force: true })
    fs.mkdirSync('node_modules/.bin', { recursive: true })
    fs.mkdirSync('node_modules/one')
    fs.writeFileSync('node_modules/one/package.json', '{}')
    fs.symlinkSync(${JSON.stringify(process.execPath)}, 'node_modules/.bin/node')
    const { packages } = JSON.parse(fs.readFileSync('package-lock.json', 'utf8'))
    delete packages['']
    delete packages['node_modules/other']
    fs.writeFileSync('node_modules/.package-lock.json', JSON.stringify({ packages }))`
  writeFileSync(join(folder, 'npm.cjs'), npm)
  return folder
}

function prestart(folder: string): { code: number | null; said: string } {
  const env = { ...process.env, npm_execpath: join(folder, 'npm.cjs'), npm_node_execpath: process.execPath }
  const { status, stdout, stderr } = spawnSync(process.execPath, [join(folder, 'setup/prestart.mjs')], {
    cwd: folder,
    encoding: 'utf8',
    env,
  })
  return { code: status, said: `${stdout}${stderr}` }
}

const calls = (folder: string): number => {
  const log = join(folder, 'npm.log')
  return existsSync(log) ? readFileSync(log, 'utf8').trim().split('\n').length : 0
}

test('installs once, and again only when the lock changes', async (t) => {
  const folder = clone(t)
  t.equal(prestart(folder).code, 0)
  t.match(readFileSync(join(folder, 'npm.log'), 'utf8'), /^ci --ignore-scripts .*--loglevel=error/)
  t.equal(prestart(folder).said, '', 'nothing to do, nothing to say')
  t.equal(calls(folder), 1)
  writeFileSync(join(folder, 'package-lock.json'), lock('1.0.1'))
  t.equal(prestart(folder).code, 0)
  t.equal(calls(folder), 2)
})

test("somebody's own npm ci counts", async (t) => {
  const folder = clone(t)
  spawnSync(process.execPath, ['npm.cjs', 'by hand'], { cwd: folder })
  t.equal(prestart(folder).code, 0)
  t.equal(calls(folder), 1)
})

test('a half install is done again', async (t) => {
  const folder = clone(t)
  prestart(folder)
  rmSync(join(folder, 'node_modules', '.package-lock.json'))
  t.equal(prestart(folder).code, 0)
  t.equal(calls(folder), 2)
  rmSync(join(folder, 'node_modules', '.drover-installed'))
  rmSync(join(folder, 'node_modules', 'one'), { recursive: true })
  t.equal(prestart(folder).code, 0)
  t.equal(calls(folder), 3)
})

test('npm that fails is one line and exit code 2', async (t) => {
  const folder = clone(t)
  writeFileSync(join(folder, 'npm-fails'), '')
  const { code, said } = prestart(folder)
  t.equal(code, 2)
  t.match(said, /drover: npm ci failed \(exit code 1\)/)
})

test('node_modules is not replaced under a process that runs on it', async (t) => {
  const folder = clone(t)
  prestart(folder)
  const own = join(folder, 'node_modules', 'own-node')
  copyFileSync(process.execPath, own)
  chmodSync(own, 0o755)
  const daemon = spawn(own, ['-e', 'setInterval(() => {}, 1000); console.log("up")'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  t.teardown(() => daemon.kill('SIGKILL'))
  await once(daemon.stdout, 'data')
  t.equal(prestart(folder).code, 0, 'the lock is the same')
  writeFileSync(join(folder, 'package-lock.json'), lock('2.0.0'))
  const { code, said } = prestart(folder)
  t.equal(code, 2)
  t.match(said, `in use by process ${daemon.pid}`)
  t.equal(calls(folder), 1)
})

test('a Node that does not run here', async (t) => {
  const folder = clone(t)
  prestart(folder)
  const node = join(folder, 'node_modules', '.bin', 'node')
  rmSync(node)
  writeFileSync(node, 'not a program')
  chmodSync(node, 0o755)
  const { code, said } = prestart(folder)
  t.equal(code, 2)
  t.match(said, /does not run on this machine/)
})

/** `npm start` with a PATH of its own; the daemon is a script that prints its arguments. */
function start(folder: string, programs: readonly string[], ...args: readonly string[]) {
  const path = join(folder, 'path')
  rmSync(path, { recursive: true, force: true })
  mkdirSync(path)
  mkdirSync(join(folder, 'cli'), { recursive: true })
  writeFileSync(join(folder, 'cli', 'main.ts'), 'console.log("daemon:", process.argv.slice(2).join(" "))')
  for (const program of programs) symlinkSync('/bin/true', join(path, program))
  for (const program of ['dirname', 'readlink']) symlinkSync(`/usr/bin/${program}`, join(path, program))
  const system = readFileSync(join(root, 'setup/system.mjs'), 'utf8')
  const only = system.replace("'/usr/sbin', '/sbin', '/usr/bin', '/bin'", '')
  writeFileSync(join(folder, 'setup/system.mjs'), only)
  const { status, stdout, stderr } = spawnSync(process.execPath, [join(folder, 'setup/start.mjs'), ...args], {
    cwd: folder,
    encoding: 'utf8',
    env: { PATH: path, DOCKER_HOST: 'unix:///nowhere' },
  })
  return { code: status, stdout, stderr }
}

/** A tap that passes every file but those named so. */
const fakeTap = `
let number = 0
for (const file of process.argv.slice(2).filter((word) => word.endsWith('.test.ts')))
  console.log((file.includes('bad') ? 'not ok ' : 'ok ') + ++number + ' - ' + file + ' # time=1ms')
console.log('# { total: 2, pass: 1, fail: 1 }')`

test('npm run nightly: the tests that wait for the night, and a line for each at the end', async (t) => {
  const folder = clone(t)
  prestart(folder)
  writeFileSync(join(folder, 'node_modules/.bin/tap'), fakeTap)
  mkdirSync(join(folder, 'test/lab'), { recursive: true })
  for (const [name, text] of [
    ['long', 'const needs = await vmNeedsNightly()'],
    ['bad', 'labNeedsNightly()'],
    ['short', 'labNeeds()'],
  ] as const)
    writeFileSync(join(folder, `test/lab/${name}.test.ts`), text)
  const env = { ...process.env, DROVER_SKIP_VM: '1' }
  const run = (...words: string[]) =>
    spawnSync(process.execPath, ['setup/test.mjs', ...words], { cwd: folder, encoding: 'utf8', env })
  const { status, stdout } = run('--nightly')
  t.equal(status, 1)
  t.match(
    stdout.split('\n\n').at(-2),
    /^not ok test\/lab\/bad\.test\.ts 1ms\n {4}ok test\/lab\/long\.test\.ts 1ms$/,
  )
  t.match(stdout, /\n1 passed, 1 failed\n$/)
  t.notMatch(stdout, 'short')
  t.match(run().stdout.split('\n\n').at(-2), /^not ok test\/lab\/bad\.test\.ts 1ms$/, 'of all: what failed')
})

test('npm start names the exact command for what is missing', async (t) => {
  const folder = clone(t)
  prestart(folder)
  const { code, stderr, stdout } = start(folder, ['ip', 'iptables', 'nsenter'])
  t.equal(code, 2)
  t.match(stderr, /needs nft: run `apt-get update && apt-get install -y --no-install-recommends nftables`/)
  t.equal(stdout, '', 'and the daemon does not start')
})

test('npm start -- --yes runs that command', async (t) => {
  const folder = clone(t)
  prestart(folder)
  const { code, stderr } = start(folder, ['ip', 'iptables', 'nsenter', 'apt-get'], '--yes')
  t.equal(code, 2, 'this apt-get brings nothing')
  t.notMatch(stderr, /run `/)
})

const asRoot = process.getuid?.() === 0 && existsSync('/dev/net/tun') ? {} : { skip: 'needs root' }

test('npm start becomes the daemon and hands its arguments on', asRoot, async (t) => {
  const folder = clone(t)
  prestart(folder)
  const programs = ['ip', 'iptables', 'nsenter', 'nft']
  t.equal(
    start(folder, programs, '--subnet', '10.9.0.0/16').stdout,
    'daemon: daemon --init --subnet 10.9.0.0/16\n',
  )
  t.equal(start(folder, programs, '--leave').stdout, 'daemon: daemon --leave\n')
})
