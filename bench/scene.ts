/**
 * Where a measurement takes place: a world of namespaces and a folder of its own, both gone at the end, also when
 * the measurement fails or is interrupted.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DroverError } from '../model/errors.ts'
import { isRoot, NetnsWorld } from '../test/support/netns.ts'

export interface Scene {
  readonly world: NetnsWorld
  /** For configuration; only root reads it. */
  readonly folder: string
  /** What lies elsewhere and has to be removed. */
  atEnd(remove: () => void): void
}

export async function inScene(work: (scene: Scene) => Promise<void>): Promise<void> {
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
    interrupted ??= close().then(close)
    void interrupted.finally(() => process.exit(130))
  }
  process.on('SIGINT', interrupt).on('SIGTERM', interrupt)
  try {
    await work({ world, folder, atEnd: (remove) => removals.push(remove) })
  } finally {
    await (interrupted ?? close())
    process.off('SIGINT', interrupt).off('SIGTERM', interrupt)
  }
}
