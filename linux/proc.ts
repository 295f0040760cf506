/**
 * Edge: what /proc and /sys show to somebody who looks at a machine: files, programs, processes of this network
 * namespace and the sockets that they hold. What cannot be read is not there.
 */
import {
  accessSync,
  constants,
  existsSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  statfsSync,
  statSync,
} from 'node:fs'
import { join } from 'node:path'

export interface Process {
  readonly pid: number
  readonly argv: readonly string[]
  /** Resident, MiB. */
  readonly memory: number
}

const programFolders = ['/usr/local/sbin', '/usr/local/bin', '/usr/sbin', '/usr/bin', '/sbin', '/bin']

export class Proc {
  exists(path: string): boolean {
    return existsSync(path)
  }

  text(path: string): string | undefined {
    try {
      return readFileSync(path, 'utf8')
    } catch {
      return undefined
    }
  }

  hasProgram(name: string): boolean {
    return programFolders.some((folder) => {
      try {
        accessSync(join(folder, name), constants.X_OK)
        return true
      } catch {
        return false
      }
    })
  }

  /** Free space of the disk that holds a path, MiB. */
  freeSpace(path: string): number {
    const { bavail, bsize } = statfsSync(path)
    return Math.floor((bavail * bsize) / 2 ** 20)
  }

  /** Whether others than its owner may read a file; false where there is none. */
  isOpen(path: string): boolean {
    return ((statSync(path, { throwIfNoEntry: false })?.mode ?? 0) & 0o077) !== 0
  }

  /** Those in the network namespace that we are in. */
  processes(): readonly Process[] {
    const own = linkOf('/proc/self/ns/net')
    return this.#pids()
      .filter((pid) => linkOf(`/proc/${pid}/ns/net`) === own)
      .flatMap((pid) => {
        const argv = this.text(`/proc/${pid}/cmdline`)?.split('\0').slice(0, -1) ?? []
        const status = this.text(`/proc/${pid}/status`) ?? ''
        const memory = Number(/^VmRSS:\s+(\d+)/m.exec(status)?.[1] ?? 0) / 1024
        return argv.length === 0 ? [] : [{ pid, argv, memory }]
      })
  }

  /** Who holds a socket; undefined where nobody is found. */
  holderOf(inode: number, processes: readonly Process[]): Process | undefined {
    const link = `socket:[${inode}]`
    return processes.find(({ pid }) =>
      listing(`/proc/${pid}/fd`).some((fd) => linkOf(`/proc/${pid}/fd/${fd}`) === link),
    )
  }

  #pids(): readonly number[] {
    return listing('/proc').flatMap((name) => (/^\d+$/.test(name) ? [Number(name)] : []))
  }
}

function listing(path: string): readonly string[] {
  try {
    return readdirSync(path)
  } catch {
    return []
  }
}

function linkOf(path: string): string | undefined {
  try {
    return readlinkSync(path)
  } catch {
    return undefined
  }
}
