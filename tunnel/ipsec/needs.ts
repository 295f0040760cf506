/**
 * What keeps charon from running as ours, from what the machine says before it starts and from what charon says of
 * itself after. Pure; the first thing that is in the way, as an error that says how to mend it.
 */
import { DroverError } from '../../model/errors.ts'
import { pluginsFor } from './charon-conf.ts'
import type { Esp } from './connections.ts'
import { isList, type ViciSection } from './vici-message.ts'

export interface Machine {
  /** Path of charon-systemd; undefined where there is none. */
  readonly program: string | undefined
  /** The loaded profiles of AppArmor, as the kernel lists them; empty where it has none. */
  readonly profiles: string
  /** What the operator added to the profile of charon. */
  readonly profileAdditions: string
  /** Of `ss -Hulnp`: the UDP sockets of the machine. */
  readonly sockets: string
}

export interface Needs {
  readonly port: number
  /** The folder of charon's configuration, and that of its control socket. */
  readonly folders: readonly string[]
  /** Whether a process is a charon of ours. */
  readonly isOurs: (pid: number) => boolean
}

export function machineFault(machine: Machine, { port, folders, isOurs }: Needs): DroverError | undefined {
  if (machine.program === undefined) return new DroverError('IPSEC_MISSING', 'there is no charon-systemd')
  const closed = isConfined(machine) && folders.find((folder) => !machine.profileAdditions.includes(folder))
  if (closed)
    return new DroverError(
      'IPSEC_APPARMOR',
      `add \`${folders.map((folder) => `${folder}/** rw,`).join(' ')}\` to /etc/apparmor.d/local/usr.sbin.charon-systemd`,
    )
  const owner = ownerOf(machine.sockets, port)
  if (owner === undefined) return undefined
  if (owner.pid !== undefined && isOurs(owner.pid))
    return new DroverError('IPSEC_UNAVAILABLE', `process ${owner.pid} has not come up yet, or hangs`)
  return new DroverError('IPSEC_PORT', `UDP ${port} is held by ${owner.name}`)
}

/** A profile in complain mode, as Debian ships it, only writes down what it would have refused. */
const isConfined = ({ profiles }: Machine): boolean => /charon-systemd \(enforce\)/.test(profiles)

/** Who listens on a UDP port; undefined where nobody does. */
export function ownerOf(
  sockets: string,
  port: number,
): { readonly name: string; readonly pid: number | undefined } | undefined {
  const line = sockets.split('\n').find((one) => one.trim().split(/\s+/)[3]?.endsWith(`:${port}`))
  if (line === undefined) return undefined
  const [, name, pid] = /users:\(\("([^"]+)",pid=(\d+)/.exec(line) ?? []
  if (name === undefined)
    return { name: 'the kernel, or by a process that is not visible here', pid: undefined }
  return { name: `${name} (process ${pid})`, pid: Number(pid) }
}

/** The oldest that has all settings that we use. */
const oldest = [5, 8] as const

/** `version` and `stats` of VICI. */
export function charonFault(version: ViciSection, stats: ViciSection, esp: Esp): DroverError | undefined {
  const text = String(version.version ?? '')
  const [major = 0, minor = 0] = text.split('.').map((part) => Number.parseInt(part, 10) || 0)
  if (major < oldest[0] || (major === oldest[0] && minor < oldest[1]))
    return new DroverError('IPSEC_OLD', `charon says it is ${text || 'of no version'}`)
  const loaded = isList(stats.plugins) ? stats.plugins : []
  const missing = pluginsFor(esp).filter((name) => !loaded.includes(name) && !sinceThen.has(name))
  return missing.length === 0 ? undefined : new DroverError('IPSEC_PLUGIN', missing.join(', '))
}

/** What older versions have without a plugin of its own. */
const sinceThen = new Set(['kdf'])
