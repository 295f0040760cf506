/**
 * What systemd is told: ready, alive, stopping. The watchdog is fed by the event loop itself, so that a loop that
 * hangs is a daemon that is restarted. Outside of systemd nothing happens.
 */
import { Libc, makeArena } from '../linux/ffi.ts'
import { SystemdNotifier } from '../linux/notify.ts'

export interface ServiceManager {
  ready(status: string): void
  /** Another process is the unit's main one from now on. */
  succeeded(pid: number): void
  stopping(): void
}

interface Variables {
  readonly NOTIFY_SOCKET?: string | undefined
  /** Microseconds. */
  readonly WATCHDOG_USEC?: string | undefined
}

const silent: ServiceManager = {
  ready: () => undefined,
  succeeded: () => undefined,
  stopping: () => undefined,
}

export function serviceManager(variables: Variables): ServiceManager {
  const { NOTIFY_SOCKET: socket, WATCHDOG_USEC: limit } = variables
  if (socket === undefined || socket === '') return silent
  const notifier = new SystemdNotifier(new Libc(makeArena(4096)), socket)
  const every = Number(limit) / 1000 / 3
  if (every > 0) setInterval(() => notifier.tell('WATCHDOG=1'), every).unref()
  return {
    ready: (status) => notifier.tell(`READY=1\nSTATUS=${status}`),
    succeeded: (pid) => notifier.tell(`MAINPID=${pid}`),
    stopping: () => notifier.tell('STOPPING=1'),
  }
}
