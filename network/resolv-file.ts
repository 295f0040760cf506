/**
 * Edge: edits a container's resolv.conf in place, in the same inode, because Docker has bind-mounted it. Follows
 * no symbolic link and reads no more than a resolv.conf can be: the file's content is the container's.
 */
import { constants, type FileHandle, open } from 'node:fs/promises'
import { editedResolvConf, type ResolvWish, restoredResolvConf } from './resolv-conf.ts'

const limit = 64 * 1024

/** Whether the file was changed; false for one that is not there. */
export const editResolvFile = (path: string, wish: ResolvWish): Promise<boolean> =>
  rewrite(path, (text) => editedResolvConf(text, wish))

/** Puts back what was there before; false where there was nothing to put back. */
export const restoreResolvFile = (path: string): Promise<boolean> => rewrite(path, restoredResolvConf)

async function rewrite(path: string, change: (text: string) => string): Promise<boolean> {
  const file = await open(path, constants.O_RDWR | constants.O_NOFOLLOW).catch(unlessMissing)
  if (file === undefined) return false
  try {
    return await rewriteOpen(file, change)
  } finally {
    await file.close()
  }
}

async function rewriteOpen(file: FileHandle, change: (text: string) => string): Promise<boolean> {
  const stat = await file.stat()
  if (!stat.isFile() || stat.size > limit) return false
  const bytes = Buffer.alloc(limit)
  const { bytesRead } = await file.read(bytes, 0, limit, 0)
  const text = bytes.toString('latin1', 0, bytesRead) // byte for byte, whatever is in it
  const changed = change(text)
  if (changed === text) return false
  const written = Buffer.from(changed, 'latin1')
  await file.write(written, 0, written.length, 0)
  await file.truncate(written.length)
  return true
}

function unlessMissing(thrown: NodeJS.ErrnoException): undefined {
  if (thrown.code === 'ENOENT' || thrown.code === 'ENOTDIR') return undefined
  throw thrown
}
