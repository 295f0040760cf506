/**
 * Edge: the charons that run by a configuration of ours, as /proc shows them: since when, with which device, and how
 * one is ended. What may not be looked at counts as not there.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Clock, sleep } from '../../model/ports.ts'
import { type Millis, millis, seconds } from '../../model/time.ts'
import type { Activity } from './charon-judge.ts'

/** Where charon has its configuration, in a folder of ours. */
export const configurationIn = (folder: string): string => join(folder, 'strongswan.conf')

/** The processes that are charon of this folder. */
export const charonsOf = (folder: string): readonly number[] =>
  entriesOf('/proc')
    .map(Number)
    .filter((pid) => Number.isInteger(pid) && isCharonOf(pid, folder))

/** A shell that was given the same variable, to call swanctl, is none. */
export const isCharonOf = (pid: number, folder: string): boolean =>
  readIfThere(`/proc/${pid}/comm`).startsWith('charon') &&
  readIfThere(`/proc/${pid}/environ`)
    .split('\0')
    .includes(`STRONGSWAN_CONF=${configurationIn(folder)}`)

/** How long a process has been there; 0 where it is not. */
export function ageOf(pid: number): Millis {
  const started = Number(fieldsOf(`/proc/${pid}`)[startField])
  const age = Number.parseFloat(readIfThere('/proc/uptime')) - started / ticksPerSecond
  return Number.isNaN(age) ? millis(0) : seconds(age)
}

const startField = 22 - 3
/** The kernel gives user space 100 Hz. */
const ticksPerSecond = 100

/** What their threads do at this moment; one that is starved of its processor, or waits for a disk, is busy. */
export function activityOf(folder: string): Activity {
  const pids = charonsOf(folder)
  if (pids.length === 0) return 'gone'
  const threads = pids.flatMap((pid) => entriesOf(`/proc/${pid}/task`).map((id) => `/proc/${pid}/task/${id}`))
  return threads.some((thread) => /^[RD]/.test(fieldsOf(thread)[0] ?? '')) ? 'busy' : 'idle'
}

/** Of proc_pid_stat(5), from the third, which follows the name: the state. */
const fieldsOf = (process: string): readonly string[] =>
  readIfThere(`${process}/stat`).split(') ').at(-1)?.split(' ') ?? []

/** Returns when they have ended; those that take too long are killed. */
export async function endCharons(
  pids: readonly number[],
  { folder, clock, signal }: { folder: string; clock: Clock; signal: 'SIGTERM' | 'SIGKILL' },
): Promise<void> {
  const left = (): readonly number[] => pids.filter((pid) => isCharonOf(pid, folder))
  for (const pid of left()) end(pid, signal)
  for (let looks = 0; looks < mostLooks && left().length > 0; looks++) await sleep(clock, lookEvery)
  for (const pid of left()) end(pid, 'SIGKILL')
}

const lookEvery = millis(50)
const mostLooks = 100

function end(pid: number, signal: 'SIGTERM' | 'SIGKILL'): void {
  try {
    process.kill(pid, signal)
  } catch {} // it has just ended by itself
}

/** The TUN device that charon of a folder encrypts for; the place where it was found is remembered. */
export class CharonDevice {
  readonly #folder: string
  #at: string | undefined

  constructor(folder: string) {
    this.#folder = folder
  }

  /** Its name; undefined where charon has none, or somebody has removed it. */
  name(): string | undefined {
    const known = this.#at === undefined ? undefined : deviceAt(this.#at)
    if (known !== undefined) return known
    const descriptors = charonsOf(this.#folder).flatMap((pid) =>
      entriesOf(`/proc/${pid}/fdinfo`).map((number) => `/proc/${pid}/fdinfo/${number}`),
    )
    this.#at = descriptors.find((path) => deviceAt(path) !== undefined)
    return this.#at === undefined ? undefined : deviceAt(this.#at)
  }
}

/** What the kernel says of a descriptor of /dev/net/tun; the name is empty once the device was removed. */
const deviceAt = (path: string): string | undefined => /^iff:\t(\S+)/m.exec(readIfThere(path))?.[1]

function entriesOf(path: string): readonly string[] {
  try {
    return readdirSync(path)
  } catch {
    return []
  }
}

/** Empty where there is nothing, or nothing that may be read. */
export function readIfThere(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}
