/**
 * Runs before `npm pack`, and only then: writes dist/, the JavaScript and declarations of what the package holds,
 * because Node does not strip types under node_modules. A clone never reads dist/. Plain JavaScript without
 * dependencies of its own.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { stop } from './say.mjs'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const compiler = join(root, 'node_modules', '.bin', 'tsc')

if (!existsSync(compiler)) stop('npm pack needs the compiler: run `npm ci` first')
rmSync(join(root, 'dist'), { recursive: true, force: true })
const { status, stdout, stderr } = spawnSync(compiler, ['--project', 'tsconfig.pack.json'], {
  cwd: root,
  encoding: 'utf8',
})
if (status !== 0) stop('the compiler refuses the sources', ...`${stdout}${stderr}`.trim().split('\n'))
