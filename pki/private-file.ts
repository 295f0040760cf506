/**
 * Small files of mode 0600 in a folder of mode 0700: whole or absent, whenever the process dies or the disk is
 * full. Errors of the file system become errors of ours here; what a file says is its reader's business.
 */
import {
  closeSync,
  existsSync,
  fsyncSync,
  linkSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { DroverError, reasonOf } from '../model/errors.ts'

/** Makes the error for a file that is not what was written. */
export type Damaged = (path: string, why: string, cause?: unknown) => DroverError

/** Undefined when there is none. */
export function readPrivate(path: string, damaged: Damaged): string | undefined {
  return guarded(path, damaged, () => {
    try {
      return readFileSync(path, 'utf8')
    } catch (thrown) {
      if (hasCode(thrown, 'ENOENT')) return undefined
      throw thrown
    }
  })
}

/** Writes the file unless there is one: of two processes that start together the first one wins. */
export function writeOnce(path: string, text: string, damaged: Damaged): void {
  guarded(path, damaged, () => {
    // A link appears with its whole content or not at all, and never in the place of another.
    draftOf(path, text, (draft) => linkUnlessPresent(draft, path))
    removeDrafts(path)
  })
}

/** Replaces the file; the old one stays until the new one is on disk. */
export function replacePrivate(path: string, text: string, damaged: Damaged): void {
  guarded(path, damaged, () => {
    draftOf(path, text, (draft) => renameSync(draft, path))
    removeDrafts(path)
  })
}

function draftOf(path: string, text: string, settle: (draft: string) => void): void {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
  const draft = `${path}.${process.pid}.new`
  rmSync(draft, { force: true })
  try {
    const handle = openSync(draft, 'wx', 0o600)
    try {
      writeFileSync(handle, text)
      fsyncSync(handle)
    } finally {
      closeSync(handle)
    }
    settle(draft)
    syncFolder(dirname(path))
  } finally {
    rmSync(draft, { force: true })
  }
}

function linkUnlessPresent(draft: string, path: string): void {
  try {
    linkSync(draft, path)
  } catch (thrown) {
    // Also when another process was first and has swept the drafts.
    if (!hasCode(thrown, 'EEXIST') && !(hasCode(thrown, 'ENOENT') && existsSync(path))) throw thrown
  }
}

/** At the start of a process: what an earlier one left that was killed just after its file was there. */
export function sweepDrafts(path: string, damaged: Damaged): void {
  guarded(path, damaged, () => removeDrafts(path))
}

/** What killed processes left: the file exists by now, so nobody needs a draft. */
function removeDrafts(path: string): void {
  const name = basename(path)
  for (const other of readdirSync(dirname(path)))
    if (other.startsWith(`${name}.`) && other.endsWith('.new'))
      rmSync(join(dirname(path), other), { force: true })
}

function syncFolder(folder: string): void {
  const handle = openSync(folder, 'r')
  fsyncSync(handle)
  closeSync(handle)
}

const hasCode = (thrown: unknown, code: string): boolean =>
  thrown instanceof Error && 'code' in thrown && thrown.code === code

function guarded<T>(path: string, damaged: Damaged, work: () => T): T {
  try {
    return work()
  } catch (thrown) {
    if (hasCode(thrown, 'ENOSPC') || hasCode(thrown, 'EDQUOT'))
      throw new DroverError('DISK_FULL', `${path}: ${reasonOf(thrown)}`, { cause: thrown })
    if (hasCode(thrown, 'EACCES') && process.getuid?.() !== 0)
      throw new DroverError('NOT_ROOT', path, { cause: thrown })
    const closed = ['EACCES', 'EPERM', 'EROFS', 'ENOTDIR'].some((code) => hasCode(thrown, code))
    if (closed) throw new DroverError('STATE_UNUSABLE', `${path}: ${reasonOf(thrown)}`, { cause: thrown })
    throw damaged(path, reasonOf(thrown), thrown)
  }
}
