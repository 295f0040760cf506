/**
 * The kernel of the virtual machine: Debian's stock one, downloaded from Debian's archive and unpacked under
 * lab/run/vm/. Nothing is installed, so that the machine's own boot stays as it is; kept for the next time.
 */
import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { DroverError } from '../../model/errors.ts'
import { must, run } from '../command.ts'
import { root } from '../layout.ts'

export interface Kernel {
  /** As `uname -r` says it. */
  readonly release: string
  readonly image: string
  /** The folder that is to be /lib/modules/RELEASE, with modules.dep. */
  readonly modules: string
}

/** Everything that virtual machines of this clone leave on disk. */
export const vmFolder = join(root, 'lab', 'run', 'vm')

const metapackage = 'linux-image-amd64'

/** Drivers of hardware that the machine does not have are two thirds of the package. */
const driversKept = ['block', 'char', 'crypto', 'net', 'vhost', 'virtio']

/** The kernel that is there, else the newest of Debian's. */
export async function kernel(): Promise<Kernel> {
  return unpacked() ?? (await download())
}

function unpacked(): Kernel | undefined {
  const tree = join(vmFolder, 'kernel')
  if (!existsSync(tree)) return undefined
  const release = readdirSync(join(tree, 'lib', 'modules'))[0] ?? ''
  const place = {
    image: join(tree, 'boot', `vmlinuz-${release}`),
    modules: join(tree, 'lib/modules', release),
  }
  return existsSync(place.image) ? { release, ...place } : undefined
}

async function download(): Promise<Kernel> {
  if (process.arch !== 'x64')
    throw new DroverError('COMMAND_FAILED', 'the virtual machine is for x86-64 only')
  mkdirSync(vmFolder, { recursive: true })
  const work = mkdtempSync(join(vmFolder, 'download-'))
  try {
    const name = (await packageName()) ?? (await packageName(true))
    if (name === undefined)
      throw new DroverError('COMMAND_FAILED', `this machine's archive has no ${metapackage} (Debian has)`)
    await must(['env', '-C', work, 'apt-get', '-q', '-o', 'APT::Sandbox::User=root', 'download', name])
    const file = readdirSync(work).find((one) => one.endsWith('.deb')) ?? ''
    const tree = join(work, 'tree')
    await must(['dpkg-deb', '-x', join(work, file), tree])
    await prepare(tree)
    rmSync(join(vmFolder, 'kernel'), { recursive: true, force: true })
    renameSync(tree, join(vmFolder, 'kernel'))
  } finally {
    rmSync(work, { recursive: true, force: true })
  }
  const found = unpacked()
  if (found === undefined)
    throw new DroverError('COMMAND_FAILED', 'the package of the kernel holds no kernel')
  return found
}

/** The package that the metapackage stands for, once apt's lists know it. */
async function packageName(update = false): Promise<string | undefined> {
  if (update) await must(['apt-get', '-q', 'update'])
  const { stdout } = await run(['apt-cache', 'depends', '--important', metapackage])
  return /Depends: (linux-image-\S+)/.exec(stdout)?.[1]
}

async function prepare(tree: string): Promise<void> {
  const release = readdirSync(join(tree, 'lib', 'modules'))[0] ?? ''
  const all = join(tree, 'lib', 'modules', release, 'kernel')
  for (const driver of readdirSync(join(all, 'drivers')))
    if (!driversKept.includes(driver)) rmSync(join(all, 'drivers', driver), { recursive: true })
  rmSync(join(all, 'sound'), { recursive: true, force: true })
  await must(['depmod', '-b', tree, release])
}
