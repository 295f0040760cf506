/**
 * Edge: the folder of our own charon, and what the machine says about running one there. The configuration is written
 * before charon starts and replaced atomically; nothing outside of the folder is changed.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import type { Runner } from '../../linux/run.ts'
import type { DroverError } from '../../model/errors.ts'
import { type Clock, sleep } from '../../model/ports.ts'
import { millis } from '../../model/time.ts'
import { type CharonPlace, charonConf } from './charon-conf.ts'
import { type Machine, machineFault } from './needs.ts'

export interface CharonFolder extends CharonPlace {
  /** Holds strongswan.conf; mode 0700. */
  readonly folder: string
}

/** Where distributions put it. */
const programs = [
  '/usr/sbin/charon-systemd',
  '/usr/libexec/strongswan/charon-systemd',
  '/usr/local/sbin/charon-systemd',
]

export const charonProgram = (): string | undefined => programs.find((path) => existsSync(path))

/** The variables with which charon and swanctl read this folder and nothing else. */
export const charonEnvironment = (folder: string): Readonly<Record<string, string>> => ({
  STRONGSWAN_CONF: join(folder, 'strongswan.conf'),
  SWANCTL_DIR: folder,
})

/** What is in the way of starting charon in the folder; undefined where nothing is. Changes nothing. */
export async function obstacleTo(
  { folder, socket, port }: Pick<CharonFolder, 'folder' | 'socket' | 'port'>,
  runner: Pick<Runner, 'attempt'>,
): Promise<DroverError | undefined> {
  const { STRONGSWAN_CONF: path = '' } = charonEnvironment(folder)
  const folders = [folder, dirname(socket)]
  return machineFault(await machineOf(runner), { port, folders, isOurs: (pid) => reads(pid, path) })
}

/** Readies the folder; rejects with what is in the way of starting charon there. */
export async function prepareCharon(place: CharonFolder, runner: Pick<Runner, 'attempt'>): Promise<void> {
  const { folder, socket } = place
  const { STRONGSWAN_CONF: path = '' } = charonEnvironment(folder)
  const fault = await obstacleTo(place, runner)
  if (fault !== undefined) throw fault
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  mkdirSync(dirname(socket), { recursive: true, mode: 0o755 })
  const text = charonConf(place)
  if (readIfThere(path) === text) return
  writeFileSync(`${path}.new`, text, { mode: 0o600 })
  renameSync(`${path}.new`, path)
}

async function machineOf(runner: Pick<Runner, 'attempt'>): Promise<Machine> {
  const { stdout } = await runner.attempt(['ss', '-Hulnp'])
  return {
    program: charonProgram(),
    profiles: readIfThere('/sys/kernel/security/apparmor/profiles'),
    profileAdditions: readIfThere('/etc/apparmor.d/local/usr.sbin.charon-systemd'),
    sockets: stdout,
  }
}

/**
 * Takes the configuration away, which keeps a unit from starting, and asks the charons that run by it to end: they tell
 * their peers. Returns when they have, or were ended after a while.
 */
export async function endCharon(folder: string, clock: Clock): Promise<void> {
  if (!existsSync(folder)) return
  const { STRONGSWAN_CONF: path = '' } = charonEnvironment(folder)
  const pids = readdirSync('/proc')
    .map(Number)
    .filter((pid) => Number.isInteger(pid) && reads(pid, path))
  rmSync(folder, { recursive: true, force: true })
  for (const pid of pids) end(pid, 'SIGTERM')
  for (let looks = 0; looks < endLooks && pids.some((pid) => reads(pid, path)); looks++)
    await sleep(clock, endLookEvery)
  for (const pid of pids) if (reads(pid, path)) end(pid, 'SIGKILL')
}

const endLookEvery = millis(50)
const endLooks = 100

function end(pid: number, signal: 'SIGTERM' | 'SIGKILL'): void {
  try {
    process.kill(pid, signal)
  } catch {} // it has just ended by itself
}

/** Whether a process was started with this configuration. */
const reads = (pid: number, path: string): boolean =>
  readIfThere(`/proc/${pid}/environ`).split('\0').includes(`STRONGSWAN_CONF=${path}`)

function readIfThere(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}
