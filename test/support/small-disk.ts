/**
 * A folder on a disk of its own that is so small that it is soon full: a tmpfs in its place, with what was in it.
 */
import { execFileSync } from 'node:child_process'
import { cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Test } from 'tap'

/** Why there can be none, as tap's option. */
export const smallDiskNeeds = process.getuid?.() === 0 ? {} : { skip: 'needs root for a file system' }

export class SmallDisk {
  readonly #filler: string

  /** Gone when the test ends, with all that was written there since. */
  constructor(t: Test, folder: string) {
    const before = mkdtempSync(join(tmpdir(), 'dt-disk-'))
    cpSync(folder, before, { recursive: true })
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=2m,mode=0700', 'tmpfs', folder])
    t.teardown(() => execFileSync('umount', ['-l', folder]))
    cpSync(before, folder, { recursive: true })
    rmSync(before, { recursive: true })
    this.#filler = join(folder, 'filler')
  }

  /** Not a byte is left. */
  fill(): void {
    for (const size of [65_536, 4096, 1])
      try {
        for (;;) writeFileSync(this.#filler, Buffer.alloc(size), { flag: 'a' })
      } catch (error) {
        if ((error as { code?: string }).code !== 'ENOSPC') throw error
      }
  }

  makeRoom(): void {
    rmSync(this.#filler)
  }
}
