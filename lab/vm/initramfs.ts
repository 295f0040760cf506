/**
 * The initial file system of the virtual machine: busybox, the modules that reach the machine's own files, and
 * `init.sh`, which puts a writable layer over them and goes on there.
 */
import { readFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { type CpioEntry, cpio, folder, program } from './cpio.ts'
import type { Kernel } from './kernel.ts'

/** What is needed before the machine's own modprobe is in reach. */
const needed = ['virtio_pci', 'virtio_console', 'virtio_rng', '9pnet_virtio', '9p', 'overlay']

export function initramfs(kernel: Kernel): Uint8Array {
  const files = loadOrder(readFileSync(join(kernel.modules, 'modules.dep'), 'utf8'), needed)
  const modules = files.map((file) =>
    program(`modules/${basename(file)}`, readFileSync(join(kernel.modules, file))),
  )
  const order: CpioEntry = program(
    'modules/order',
    Buffer.from(files.map((file) => basename(file)).join('\n')),
  )
  const folders = ['bin', 'dev', 'proc', 'sys', 'modules', 'lower', 'layer', 'root'].map(folder)
  const init = program('init', readFileSync(join(import.meta.dirname, 'init.sh')))
  return cpio([...folders, program('bin/busybox', readFileSync('/bin/busybox')), init, order, ...modules])
}

/** Files of modules.dep in the order in which insmod takes them. */
export function loadOrder(dependencies: string, names: readonly string[]): readonly string[] {
  const lines = dependencies.split('\n').map((line) => line.split(/[: ]+/).filter((word) => word !== ''))
  const byName = new Map(lines.map(([file = '', ...rest]) => [nameOf(file), { file, rest }]))
  const order = new Set<string>()
  const take = (name: string): void => {
    const found = byName.get(name)
    if (found === undefined || order.has(found.file)) return
    for (const file of found.rest) take(nameOf(file))
    order.add(found.file)
  }
  for (const name of names) take(name)
  return [...order]
}

const nameOf = (file: string): string => basename(file).replace(/\.ko$/, '').replaceAll('-', '_')
