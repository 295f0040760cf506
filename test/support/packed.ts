/**
 * What `npm pack` makes of this clone, installed in a folder of its own as npm would lay it out: the package unpacked,
 * its executables linked, its dependencies beside it. Nothing is fetched, and the clone itself is not touched: a copy
 * of it is packed.
 */
import { spawnSync } from 'node:child_process'
import { cpSync, mkdirSync, readdirSync, renameSync, symlinkSync } from 'node:fs'
import { join, relative } from 'node:path'

const root = join(import.meta.dirname, '../..')
const leftOut = new Set(['.git', '.tap', 'dist', 'node_modules', 'lab/run', 'bench/run'])

export interface Packed {
  /** Files of the tarball. */
  readonly files: readonly string[]
  /** The folder that has it in its node_modules. */
  readonly user: string
}

/** Packs and installs inside an empty folder. */
export function packedIn(folder: string): Packed {
  const copy = join(folder, 'clone')
  const isPart = (path: string): boolean => !leftOut.has(relative(root, path))
  cpSync(root, copy, { recursive: true, filter: isPart })
  symlinkSync(join(root, 'node_modules'), join(copy, 'node_modules'))
  const list = run(copy, ['npm', 'pack', '--json', '--offline', '--pack-destination', folder])
  const [made] = JSON.parse(list.slice(list.indexOf('[\n'))) as readonly [Tarball]
  const user = join(folder, 'user')
  const modules = join(user, 'node_modules')
  mkdirSync(join(modules, '.bin'), { recursive: true })
  run(folder, ['tar', 'xzf', join(folder, made.filename)])
  renameSync(join(folder, 'package'), join(modules, 'drover'))
  for (const name of readdirSync(join(root, 'node_modules'))) {
    if (!name.startsWith('.')) symlinkSync(join(root, 'node_modules', name), join(modules, name))
  }
  for (const name of ['drover', 'drover-wireguard']) {
    symlinkSync(`../drover/bin/${name}`, join(modules, '.bin', name))
  }
  return { user, files: made.files.map(({ path }) => path) }
}

interface Tarball {
  readonly filename: string
  readonly files: readonly { readonly path: string }[]
}

/** Variables of an npm above us would become settings of this one. */
const environment = Object.fromEntries(
  Object.entries(process.env).filter(([name]) => !name.startsWith('npm_')),
)

/** Under tap each process is given NODE_OPTIONS that the compiler does not start with: `env` takes them away. */
function run(cwd: string, command: readonly string[]): string {
  const args = ['-u', 'NODE_OPTIONS', ...command]
  const { status, stdout, stderr } = spawnSync('env', args, { cwd, encoding: 'utf8', env: environment })
  if (status !== 0) throw new TypeError(`${command.join(' ')}: ${stdout}${stderr}`)
  return stdout
}
