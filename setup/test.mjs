/**
 * `npm test`: installs the Debian packages that tests need (as root), then runs every test file with tap: unit
 * tests two at a time, then those that use the lab one by one. A failing file shows what it printed. The last
 * line is `N passed, N failed` (with `, N skipped` where some were), counted over assertions; exit code 1 when
 * anything failed. Arguments are test files or folders to run instead of all. Tests that take many minutes run when
 * they are named, with DROVER_NIGHTLY=1, or alone by `npm run nightly` (`--nightly`), which ends with a line per file.
 */
import { spawn } from 'node:child_process'
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { extraPackages, installPackages, missingPackages, vmPackages } from './packages.mjs'
import { complain, say, stop } from './say.mjs'
import { failures, TapOutput } from './tap-output.mjs'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const isRoot = process.getuid?.() === 0
const logFile = join(root, '.tap', 'npm-test.tap')
/** @type {{ok: boolean, line: string}[]} */
const verdicts = []

function setUp() {
  const vm = process.arch === 'x64' && process.env.DROVER_SKIP_VM !== '1' ? missingPackages(vmPackages) : []
  const missing = [...missingPackages(), ...missingPackages(extraPackages), ...vm]
  if (missing.length === 0) return
  if (!isRoot) return say(`drover: without ${missing.join(', ')}; \`sudo npm test\` installs them`)
  const left = installPackages(missing)
  if (left.length > 0)
    complain(`could not install ${left.join(', ')}; tests that need them are skipped or fail`)
}

/**
 * @param {string} folder
 * @returns {string[]}
 */
function testFiles(folder) {
  if (!existsSync(folder)) return []
  return readdirSync(folder, { withFileTypes: true })
    .flatMap((entry) => {
      const path = join(folder, entry.name)
      if (entry.isDirectory()) return testFiles(path)
      return entry.name.endsWith('.test.ts') ? [relative(root, path)] : []
    })
    .sort()
}

/** Those with tests that wait for the night (`vmNeedsNightly`, `labNeedsNightly`). */
const nightlyFiles = () =>
  testFiles(join(root, 'test')).filter((file) =>
    /NeedsNightly\(/.test(readFileSync(join(root, file), 'utf8')),
  )

/** @param {import('./tap-output.mjs').FileResult | undefined} result */
function tell(result) {
  if (result === undefined) return
  const { ok, name, took, skipped, lines } = result
  const skips = lines.flatMap((line) => /# SKIP (.+)$/.exec(line)?.[1] ?? [])
  const note =
    skipped ?? (skips.length > 0 ? `${skips.length} skipped: ${[...new Set(skips)].join('; ')}` : '')
  const line = `${ok ? '    ok' : 'not ok'} ${name} ${took}${note === '' ? '' : ` (${note})`}`
  verdicts.push({ ok, line })
  say(line)
  if (!ok) for (const line of failures(lines)) say(line)
}

/**
 * One run of tap; what it counted.
 * @param {string[]} files
 * @param {{jobs: number, seconds: number}} options
 */
async function run(files, { jobs, seconds }) {
  const none = { passed: 0, failed: 0, skipped: 0 }
  if (files.length === 0) return none
  const tap = join(root, 'node_modules', '.bin', 'tap')
  const flags = ['--disable-coverage', '--reporter=tap', `--jobs=${jobs}`, `--timeout=${seconds}`]
  const child = spawn(process.execPath, [tap, ...flags, ...files], {
    cwd: root,
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const exit = new Promise((resolve) => child.once('exit', (code) => resolve(code ?? 1)))
  const output = new TapOutput()
  for await (const line of createInterface({ input: child.stdout })) {
    appendFileSync(logFile, `${line}\n`)
    tell(output.read(line))
  }
  tell(output.end())
  const code = await exit
  const counts = output.counts ?? none
  // tap may fail without a failed assertion: a file that crashed, or tap itself.
  return code === 0 || counts.failed > 0 ? counts : { ...counts, failed: 1 }
}

if (Number.parseInt(process.versions.node, 10) < 24)
  stop('run this with `npm test`, which brings its own Node')
setUp()
if (!isRoot)
  say(
    'drover: not root: tests that need network namespaces or a Docker engine are skipped; `sudo npm test` runs them',
  )
mkdirSync(dirname(logFile), { recursive: true })
writeFileSync(logFile, '')
const nightly = process.argv.includes('--nightly')
const asked = nightly
  ? nightlyFiles()
  : process.argv.slice(2).flatMap((path) => {
      const whole = resolve(path)
      return statSync(whole, { throwIfNoEntry: false })?.isDirectory()
        ? testFiles(whole)
        : [relative(root, whole)]
    })
if (asked.length > 0) process.env.DROVER_NIGHTLY = '1'
const files = asked.length > 0 ? asked : testFiles(join(root, 'test'))
const usesLab = (/** @type {string} */ file) => file.startsWith('test/lab/')
const unit = await run(
  files.filter((file) => !usesLab(file)),
  { jobs: 2, seconds: 600 },
)
const lab = await run(files.filter(usesLab), {
  jobs: 1,
  seconds: process.env.DROVER_NIGHTLY === '1' ? 3600 : 900,
})
const passed = unit.passed + lab.passed
const failed = unit.failed + lab.failed
const skipped = unit.skipped + lab.skipped
// What failed, or all of a night, once more where its reader looks first.
const shown = verdicts.filter(({ ok }) => nightly || !ok)
if (verdicts.length > 1 && shown.length > 0) say(`\n${shown.map(({ line }) => line).join('\n')}`)
say(`\nThe whole output is in ${relative(root, logFile)}`)
say(`${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`)
process.exit(failed > 0 || passed === 0 ? 1 : 0)
