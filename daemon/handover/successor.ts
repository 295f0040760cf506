/**
 * The side that takes over: waits until its predecessor has let go of store, journal and kernel, and tells it when
 * questions are answered here. A predecessor that dies has let go of everything.
 */
import { closeSync } from 'node:fs'
import {
  descriptorsOf,
  type FromPredecessor,
  type FromSuccessor,
  inheritedSockets,
  type ServerSockets,
  variable,
} from './handover.ts'

export interface Predecessor {
  /** All is loaded and checked. Resolves when the rest is ours, with its sockets where they are of these ports. */
  ready(ports: string): Promise<ServerSockets | undefined>
  /** Resolves when the predecessor knows, and we are the main process of the unit. */
  serving(): Promise<void>
}

/** Undefined for a daemon that starts anew. */
export function predecessorOf(process: NodeJS.Process): Predecessor | undefined {
  const ports = process.env[variable]
  // Nobody whom we start is a successor as well.
  delete process.env[variable]
  if (ports === undefined || process.send === undefined) return undefined
  const alone = new Promise<void>((resolve) => process.once('disconnect', resolve))
  const given = new Promise<void>((resolve) => {
    process.on('message', ({ is }: FromPredecessor) => {
      if (is === 'yours') resolve()
    })
  })
  const tell = (message: FromSuccessor): void => {
    if (process.connected) process.send?.(message)
  }
  return {
    ready: async (wanted) => {
      tell({ is: 'ready' })
      await Promise.race([given, alone])
      const sockets = inheritedSockets(ports)
      if (ports === wanted) return sockets
      for (const fd of descriptorsOf(sockets)) closeSync(fd)
      return undefined
    },
    serving: async () => {
      tell({ is: 'serving' })
      await alone
    },
  }
}
