/**
 * Moves the calling thread into another network namespace, for tests that open devices and sockets themselves.
 * What the thread opens and starts from then on lies there; it ends with the process. Needs root.
 */
import { closeSync, openSync } from 'node:fs'
import koffi from 'koffi'

const newNetwork = 0x40000000

export function enterOwnNetns(): void {
  const unshare = koffi.load(null).func('int unshare(int)')
  if (unshare(newNetwork) !== 0) throw new Error('no network namespace of our own')
}

/** Into one that exists, such as /run/netns/NAME. */
export function enterNetns(path: string): void {
  const setns = koffi.load(null).func('int setns(int, int)')
  const fd = openSync(path, 'r')
  if (setns(fd, newNetwork) !== 0) throw new Error(`no way into ${path}`)
  closeSync(fd)
}
