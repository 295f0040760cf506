/**
 * Edge: the network namespace of a process, held open so that neither the end of the process nor the reuse of
 * its pid can make us work in a wrong one. Reading another user's namespace needs CAP_SYS_PTRACE.
 */
import { closeSync, fstatSync, openSync } from 'node:fs'
import { pid as self } from 'node:process'

export interface OpenNetns {
  /** For `nsenter --net=` and for iproute2's `netns`; valid until `close`. */
  readonly path: string
  /** Identifies the namespace as long as it exists; the kernel reuses it later. */
  readonly inode: number
  close(): void
}

export interface Netns {
  /** Undefined when the process is gone. */
  open(pid: number): OpenNetns | undefined
}

export class ProcNetns implements Netns {
  open(pid: number): OpenNetns | undefined {
    let fd: number
    try {
      fd = openSync(`/proc/${pid}/ns/net`, 'r')
    } catch {
      return undefined
    }
    return { path: `/proc/${self}/fd/${fd}`, inode: fstatSync(fd).ino, close: () => closeSync(fd) }
  }
}
