/**
 * Edge: the folder of our own charon, and what the machine says about running one there. The configuration is written
 * before charon starts and replaced atomically; nothing outside of the folder is changed.
 */
import { existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import type { Runner } from '../../linux/run.ts'
import type { DroverError } from '../../model/errors.ts'
import type { Clock, Log } from '../../model/ports.ts'
import { seconds } from '../../model/time.ts'
import { type CharonPlace, charonConf } from './charon-conf.ts'
import type { CharonJudge } from './charon-judge.ts'
import { ageOf, charonsOf, configurationIn, endCharons, isCharonOf, readIfThere } from './charon-process.ts'
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
  STRONGSWAN_CONF: configurationIn(folder),
  SWANCTL_DIR: folder,
})

/** What is in the way of starting charon in the folder; undefined where nothing is. Changes nothing. */
export async function obstacleTo(
  { folder, socket, port }: Pick<CharonFolder, 'folder' | 'socket' | 'port'>,
  runner: Pick<Runner, 'attempt'>,
): Promise<DroverError | undefined> {
  const folders = [folder, dirname(socket)]
  return machineFault(await machineOf(runner), { port, folders, isOurs: (pid) => isCharonOf(pid, folder) })
}

export interface PrepareDeps {
  readonly runner: Pick<Runner, 'attempt'>
  readonly judge: CharonJudge
  readonly clock: Clock
  readonly log: Log
}

/** Who has just started may not answer yet. */
const upWithin = seconds(10)

/**
 * Readies the folder, once no charon there answered, and ends one that hangs. False where one is there that may answer
 * yet; rejects with what is in the way of starting charon there.
 */
export async function prepareCharon(place: CharonFolder, deps: PrepareDeps): Promise<boolean> {
  const { runner, judge, clock, log } = deps
  const { folder, socket } = place
  const path = configurationIn(folder)
  const there = charonsOf(folder)
  if (there.some((pid) => ageOf(pid) <= upWithin)) return false
  if (there.length > 0) {
    const verdict = await judge.verdict()
    if (verdict === 'answers' || verdict === 'slow') return false
    log.warn('charon does not answer any more; starting it again')
    await endCharons(there, { folder, clock, signal: 'SIGKILL' })
  }
  const fault = await obstacleTo(place, runner)
  if (fault !== undefined) throw fault
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  mkdirSync(dirname(socket), { recursive: true, mode: 0o755 })
  const text = charonConf(place)
  if (readIfThere(path) !== text) {
    writeFileSync(`${path}.new`, text, { mode: 0o600 })
    renameSync(`${path}.new`, path)
  }
  return true
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
  const pids = charonsOf(folder)
  rmSync(folder, { recursive: true, force: true })
  await endCharons(pids, { folder, clock, signal: 'SIGTERM' })
}
