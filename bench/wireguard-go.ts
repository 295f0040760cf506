/**
 * The wireguard-go that Debian's archive has newest, fetched into bench/run/ with an apt configuration of its own:
 * nothing is installed and the machine's package lists stay as they are. Undefined where that does not work.
 */
import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { must, run } from '../lab/command.ts'
import { root } from '../lab/layout.ts'

export interface Program {
  readonly path: string
  readonly version: string
}

const folder = join(root, 'bench', 'run', 'apt')
const keyring = '/usr/share/keyrings/debian-archive-keyring.gpg'
const archive = 'http://deb.debian.org/debian'

const options = [
  `Dir::Etc::sourcelist=${folder}/sources.list`,
  'Dir::Etc::sourceparts=/dev/null',
  `Dir::State=${folder}`,
  `Dir::State::status=${folder}/status`,
  `Dir::State::lists=${folder}/lists`,
  `Dir::Cache=${folder}/cache`,
  'Acquire::Languages=none',
  'APT::Sandbox::User=root',
].flatMap((option) => ['-o', option])

/** What `suite` has; fetched once. */
export async function newestWireguardGo(suite = 'sid'): Promise<Program | undefined> {
  try {
    if (packageFile() === undefined) await fetchPackage(suite)
    const file = packageFile()
    if (file === undefined) return undefined
    const target = join(folder, 'x')
    if (!existsSync(join(target, 'usr/bin/wireguard-go'))) await must(['dpkg-deb', '-x', file, target])
    return { path: join(target, 'usr/bin/wireguard-go'), version: file.split('_')[1] ?? suite }
  } catch {
    return undefined
  }
}

function packageFile(): string | undefined {
  const names = existsSync(folder) ? readdirSync(folder) : []
  const name = names.find((one) => one.startsWith('wireguard-go_') && one.endsWith('.deb'))
  return name === undefined ? undefined : join(folder, name)
}

async function fetchPackage(suite: string): Promise<void> {
  for (const inner of ['lists/partial', 'cache/archives/partial'])
    mkdirSync(join(folder, inner), { recursive: true })
  writeFileSync(join(folder, 'sources.list'), `deb [signed-by=${keyring}] ${archive} ${suite} main\n`)
  writeFileSync(join(folder, 'status'), '')
  await must(['apt-get', ...options, 'update'])
  await must(['sh', '-c', 'cd "$0" && exec "$@"', folder, 'apt-get', ...options, 'download', 'wireguard-go'])
}

/** What is installed. */
export async function installedWireguardGo(): Promise<Program | undefined> {
  const { stdout, code } = await run(['dpkg-query', '--show', 'wireguard-go'])
  const version = stdout.trim().split('\t')[1]
  return code === 0 && version !== undefined ? { path: 'wireguard-go', version } : undefined
}
