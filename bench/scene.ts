/**
 * Where a measurement takes place: a world of namespaces and a folder of its own, both gone at the end, also when
 * the measurement fails or is interrupted.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DroverError } from '../model/errors.ts'
import { isRoot, NetnsWorld, type TestNetns } from '../test/support/netns.ts'

export interface Scene {
  readonly world: NetnsWorld
  /** For configuration; only root reads it. */
  readonly folder: string
  /** What lies elsewhere and has to be removed. */
  atEnd(remove: () => void): void
}

/** What `work` answers; never returns when it was interrupted: the process ends once all is removed. */
export async function inScene<T>(work: (scene: Scene) => Promise<T>): Promise<T> {
  if (!isRoot) throw new DroverError('NOT_ROOT', 'network namespaces')
  const world = await NetnsWorld.open()
  const folder = mkdtempSync(join(tmpdir(), 'drover-bench-'))
  const removals: (() => void)[] = []
  const close = async (): Promise<void> => {
    await world.close()
    for (const remove of removals) remove()
    rmSync(folder, { recursive: true, force: true })
  }
  let interrupted: Promise<void> | undefined
  const interrupt = (): void => {
    // What was being started meanwhile is ended by the second.
    interrupted ??= close()
      .then(close)
      .finally(() => process.exit(130))
  }
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, interrupt)
  process.stdout.on('error', interrupt)
  try {
    return await work({ world, folder, atEnd: (remove) => removals.push(remove) })
  } finally {
    await (interrupted ?? close())
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.off(signal, interrupt)
    process.stdout.off('error', interrupt)
  }
}

/** What a program says until it ends; it ends with the world at the latest. */
export function outputOf(world: NetnsWorld, space: TestNetns, argv: readonly string[]): Promise<string> {
  const child = world.spawn(space, argv)
  const chunks: Buffer[] = []
  child.stdout?.on('data', (chunk: Buffer) => chunks.push(chunk))
  child.stderr?.resume()
  return new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('close', () => resolve(Buffer.concat(chunks).toString()))
  })
}
