/**
 * `npm start`: checks what Drover needs of the system, with `-- --yes` installs it, and then becomes the daemon.
 * npm gives arguments to this script and not to `prestart`, which is why the check is here.
 * All other arguments (`--leave`, `--subnet`, …) are the daemon's.
 */
import { spawn } from 'node:child_process'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { complain, stop } from './say.mjs'
import { engineNote, lacks, loadModules, repair } from './system.mjs'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const yes = process.argv.includes('--yes')
const args = process.argv.slice(2).filter((arg) => arg !== '--yes')

function check() {
  for (const lack of lacks()) {
    const command = lack.commands.join(' && ')
    const failed = yes ? repair(lack) : undefined
    if (!yes) complain(`${lack.what}: run \`${command}\`, or \`npm start -- --yes\``)
    else if (failed !== undefined) complain(`${lack.what}, and \`${failed}\` failed`)
  }
  if (lacks().length > 0) process.exit(2)
  if (process.getuid?.() !== 0) stop('needs root: run `sudo npm start`')
}

/** The daemon takes this process' place, so that Ctrl-C and signals reach it directly. */
function become() {
  const drover = join(root, 'bin', 'drover')
  const first = args.includes('--leave') ? [] : ['--init']
  const argv = ['daemon', ...first, ...args]
  if (typeof process.execve === 'function') process.execve(drover, [drover, ...argv], process.env)
  const child = spawn(drover, argv, { stdio: 'inherit' })
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal))
  child.on('exit', (code, signal) => process.exit(code ?? (signal === null ? 1 : 128)))
}

if (!args.includes('--help')) {
  check()
  loadModules()
  const note = engineNote()
  if (note !== undefined && !args.includes('--leave')) complain(note)
}
become()
