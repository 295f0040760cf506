/**
 * Runs before `npm start`, `npm test`, `npm run lab` and `npm run bench` on whatever Node ≥ 18 the machine has,
 * without any dependency: installs from the lockfile when what is installed differs, builds tap for tests, and
 * checks that the Node which the lockfile brought runs here. Never replaces node_modules under a running daemon.
 */
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { isInstalled, markInstalled, processesOn } from './installed.mjs'
import { say, stop } from './say.mjs'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const lockedNode = join(root, 'node_modules', '.bin', 'node')

/** The npm that started us runs on the machine's own Node, which stays while node_modules is replaced. */
function npmCommand() {
  const script = process.env.npm_execpath
  if (script === undefined) return ['npm']
  return [process.env.npm_node_execpath ?? process.execPath, script]
}

function install() {
  const busy = existsSync(join(root, 'node_modules')) ? processesOn(root) : []
  if (busy.length > 0) {
    const list = busy.map(({ pid, command }) => `${pid} (${command})`).join(', ')
    stop(
      `package-lock.json has changed, and node_modules is in use by process ${list}; stop it and try again`,
    )
  }
  say('drover: installing what package-lock.json names …')
  const [command = 'npm', ...first] = npmCommand()
  const flags = ['--ignore-scripts', '--include=dev', '--include=optional', '--loglevel=error']
  const quiet = ['--no-audit', '--no-fund', '--no-update-notifier', '--no-progress']
  const { status, error } = spawnSync(command, [...first, 'ci', ...flags, ...quiet], {
    cwd: root,
    stdio: ['ignore', 'inherit', 'inherit'],
    // Variables of the npm above us would turn into settings of the npm below.
    env: Object.fromEntries(
      Object.entries(process.env).filter(([name]) => !/^npm_(config|package)_/.test(name)),
    ),
  })
  if (status !== 0)
    stop(`npm ci failed (${error?.message ?? `exit code ${status}`}); mend what it says and try again`)
  markInstalled(root)
}

/** .taprc takes the TypeScript plugin out of tap; tap has to write itself anew once after each install. */
function buildTap() {
  const stamp = join(root, 'node_modules', '.drover-tap')
  const wanted = createHash('sha256')
    .update(readFileSync(join(root, 'package-lock.json')))
    .update(readFileSync(join(root, '.taprc')))
    .digest('hex')
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === wanted) return
  const { status, stderr } = spawnSync(lockedNode, [join(root, 'node_modules/.bin/tap'), 'build'], {
    cwd: root,
    encoding: 'utf8',
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  if (status !== 0) stop('`tap build` failed', ...stderr.trim().split('\n').slice(-5))
  writeFileSync(stamp, wanted)
}

function checkNode() {
  const { status, stdout } = spawnSync(lockedNode, ['-p', 'process.versions.node'], { encoding: 'utf8' })
  if (status === 0 && Number.parseInt(stdout, 10) >= 24) return
  const here = `${process.platform} ${process.arch}`
  stop(
    `the Node that package-lock.json brings does not run on this machine (${here}); Drover needs Linux on x64 or arm64`,
  )
}

if (!isInstalled(root)) install()
checkNode()
if (existsSync(join(root, '.taprc')) && existsSync(join(root, 'node_modules/.bin/tap'))) buildTap()
