/**
 * Drover on a lab host: its configuration, how it becomes a member (`drover init` or `drover join`), and its daemon, which starts
 * the tunnel process itself. All of it as on a real host, on the Node that the lockfile brought.
 */
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { commandLine, must, run, start, tailOf, until } from './command.ts'
import { dockerHost } from './engine.ts'
import { type HostPlace, root } from './layout.ts'
import type { BackendChoice } from './record.ts'

const program = join(root, 'bin', 'drover')
const log = (host: HostPlace): string => join(host.folder, 'daemon.log')

export const drover = (host: HostPlace, ...args: readonly string[]): readonly string[] => [
  program,
  ...args,
  '--config',
  host.config,
]

export const binFolder = (host: HostPlace): string => join(host.folder, 'bin')

/** An environment beside `default` on the same machines. */
export interface FurtherEnvironment {
  readonly name: string
  readonly subnet: string
  /** rancher.internal without it. */
  readonly domain?: string
  /** Added to every port that Drover listens on. */
  readonly shift: number
}

/** What keeps it apart from `default`, where that is on the machine as well. */
const apart = (name: string, shift: number) => ({
  environment: name,
  tunnel: { port: 51820 + shift, ipsecPort: 4500 + shift },
  dns: { port: 10053 + shift },
  metadata: { port: 10080 + shift },
  join: { port: 51819 + shift },
})

/** YAML by way of JSON, which it contains. */
export function writeConfig(host: HostPlace, backend: BackendChoice, further?: FurtherEnvironment): void {
  for (const folder of [host.run, binFolder(host), join(host.run, 'wireguard')])
    mkdirSync(folder, { recursive: true })
  const resolvConf = join(host.folder, 'resolv.conf')
  writeFileSync(resolvConf, '# The lab has no resolver outside.\n')
  const own = apart(further?.name ?? 'default', further?.shift ?? 0)
  const settings = {
    ...own,
    state: host.state,
    run: host.run,
    host: { name: host.name, address: host.underlay },
    docker: { host: dockerHost(host) },
    // Not the kernel's where there is one: labs are alike on every machine, and faults end the tunnel's process.
    tunnel: { ...own.tunnel, backend, engine: 'userspace', sockets: join(host.run, 'wireguard') },
    dns: { ...own.dns, resolvConf },
    log: { level: 'debug' },
  }
  const lines = Object.entries(settings).map(([key, value]) => `${key}: ${JSON.stringify(value)}`)
  writeFileSync(host.config, `${lines.join('\n')}\n`)
  const command = join(binFolder(host), 'drover')
  const script = `#!/bin/sh\nexec '${program}' "$@" --config '${host.config}'\n`
  writeFileSync(command, script)
  chmodSync(command, 0o755)
}

/** The first host of the environment; `words` are further ones of the command. */
export const createEnvironment = (
  host: HostPlace,
  store: string,
  words: readonly string[] = [],
): Promise<string> => must(drover(host, 'init', '--store', store, ...words), { namespace: host.namespace })

/** A line for `joinEnvironment`, by the daemon of the first host. */
export async function createToken(host: HostPlace, uses: number): Promise<string> {
  const argv = drover(host, 'token', 'create', '--uses', String(uses), '--json')
  const made = JSON.parse(await must(argv, { namespace: host.namespace })) as { readonly token: string }
  return made.token
}

export const joinEnvironment = (host: HostPlace, token: string): Promise<string> =>
  must(drover(host, 'join', token), { namespace: host.namespace })

/** Starts the daemon and returns its pid at once; `daemonAnswers` waits for it. */
export const startDaemon = (host: HostPlace): number =>
  start(drover(host, 'daemon'), log(host), { namespace: host.namespace })

/** As an operator replaces it; returns the pid of the new one, which answers. */
export async function replaceDaemon(host: HostPlace): Promise<number> {
  const said = await must(drover(host, 'daemon', '--replace'), { namespace: host.namespace })
  return Number(/process (\d+) now/.exec(said)?.[1])
}

export async function daemonAnswers(host: HostPlace): Promise<void> {
  await until(
    `the daemon on ${host.name}`,
    async () => (await status(host)).docker?.connected === true || undefined,
    { patience: 60_000, every: 100, blame: () => tailOf(log(host)) },
  )
}

interface Status {
  readonly docker?: { readonly connected?: boolean }
}

async function status(host: HostPlace): Promise<Status> {
  const { stdout } = await run(drover(host, 'status', '--json'), { namespace: host.namespace })
  try {
    return JSON.parse(stdout) as Status
  } catch {
    return {}
  }
}

interface HostLine {
  readonly name: string
  readonly managed: string | null
}

/** The host's address in the environment, once it has one. */
export function managedAddress(host: HostPlace): Promise<string> {
  return until(
    `a managed address of ${host.name}`,
    async () => {
      const { stdout } = await run(drover(host, 'hosts', '--json'), { namespace: host.namespace })
      if (stdout === '') return undefined
      const lines = JSON.parse(stdout) as readonly HostLine[]
      return lines.find(({ name }) => name === host.name)?.managed ?? undefined
    },
    { every: 100, blame: () => tailOf(log(host)) },
  )
}

/** The tunnel process that serves the host now. */
export const tunnelPid = (host: HostPlace): Promise<number | undefined> =>
  pidOf(host, (argv) => argv.some((word) => word.endsWith('cli/wireguard.ts')))

/** The IKE daemon of the host's Drover, where it has one. */
export const charonPid = (host: HostPlace): Promise<number | undefined> =>
  pidOf(host, ([program = '']) => program.endsWith('charon-systemd'))

async function pidOf(
  host: HostPlace,
  isIt: (argv: readonly string[]) => boolean,
): Promise<number | undefined> {
  const { stdout } = await run(['ip', 'netns', 'pids', host.namespace])
  const pids = stdout.split('\n').filter((line) => line !== '')
  return pids.map(Number).find((pid) => isIt(commandLine(pid)))
}
