/**
 * Moves the calling thread into a fresh network namespace, for tests that open devices and sockets themselves.
 * What the thread opens and starts from then on lies there; it ends with the process. Needs root.
 */
import koffi from 'koffi'

const newNetwork = 0x40000000

export function enterOwnNetns(): void {
  const unshare = koffi.load(null).func('int unshare(int)')
  if (unshare(newNetwork) !== 0) throw new Error('no network namespace of our own')
}
