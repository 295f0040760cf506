/**
 * The table of subcommands. What runs for long is started by dynamic import. Exit codes: 0 fine, 1 a problem was found, 2 usage or no daemon.
 */
import { Command } from 'commander'
import type { EarlyDns } from '../daemon/early-dns.ts'
import { DroverError, reasonOf } from '../model/errors.ts'
import type { ContainerView, HostView, StatusView } from '../status/status.ts'
import { caCommand } from './ca.ts'
import { type Context, clientOf, configured, schema, sourcesOf } from './configured.ts'
import { dnsCommand } from './dns.ts'
import { doctorCommand, reportCommand } from './doctor.ts'
import { print, printJson } from './print.ts'
import { containersText, hostsText, statusText } from './render.ts'
import { replaceDaemon } from './replace.ts'
import { serviceCommand } from './service.ts'
import { hostCommand, joinCommand, tokenCommand } from './trust.ts'

const daemon = () => import('../daemon/main.ts')

function initCommand(context: Context): Command {
  const command = configured(
    'init',
    'create an environment with this machine as its first host: CA, identity, settings',
    context,
  )
    .option('--name <name>', 'name of the environment')
    .option('--subnet <cidr>', 'address space of the environment (10.42.0.0/16)')
    .option('--domain <domain>', "of the environment's names (rancher.internal)")
    .option('--store <url>', 'embedded, or etcd://HOST:PORT,…')
  type Options = { name?: string; subnet?: string; domain?: string; store?: string }
  return command.action(async (options: Options) => {
    const { runInit } = await daemon()
    print(await runInit(sourcesOf(command, context), options))
  })
}

function daemonCommand(context: Context, early: EarlyDns | undefined): Command {
  const command = configured('daemon', 'run the daemon in the foreground', context)
    .option('--check', 'validate everything that can be validated without touching the machine')
    .option('--leave', 'undo everything that Drover did to this machine')
    .option('--replace', 'give the work of the running daemon to a new one, without losing a question')
    .option('--init', 'first make this machine a one-host environment if it is no member')
    .option('--subnet <cidr>', 'address space for --init')
    .option('--tunnel-process <how>', 'own: start the tunnel process; external: systemd does', 'own')
  type Options = { tunnelProcess: string; replace?: boolean; check?: boolean; leave?: boolean }
  return command.action(async (options: Options) => {
    if (options.replace) return print(await replaceDaemon(await clientOf(command, context)))
    const sources = sourcesOf(command, context)
    if (options.check !== true && options.leave !== true) await early?.answer(sources)
    const { runDaemon } = await daemon()
    context.code = await runDaemon(sources, options, early?.thread)
  })
}

/** Handled before commander sees it; listed here for --help. */
const tunnelCommand = (): Command =>
  new Command('tunnel')
    .argument('<name>')
    .option('-f', 'stay in the foreground')
    .option(
      '--replace',
      'give the tunnel of the process that serves it to a new one, without losing a packet',
    )
    .description('the userspace WireGuard data plane as its own process')

interface Shown<T> {
  readonly name: string
  readonly description: string
  readonly text: (value: T) => string
  /** Whether the value shows a problem. */
  readonly bad?: (value: T) => boolean
}

function shownCommand<T>(shown: Shown<T>, context: Context): Command {
  const command = configured(shown.name, shown.description, context).option('--json', 'as JSON')
  return command.action(async (options: { json?: boolean }) => {
    const value = await (await clientOf(command, context)).get<T>(`/v1/${shown.name}`)
    if (options.json) printJson(value)
    else print(shown.text(value))
    context.code = shown.bad?.(value) ? 1 : 0
  })
}

const statusShown: Shown<StatusView> = {
  name: 'status',
  description: 'this host: what is, and what is wrong',
  text: statusText,
  bad: ({ problems }) => problems.length > 0,
}
const psShown: Shown<readonly ContainerView[]> = {
  name: 'ps',
  description: 'the containers of the environment',
  text: containersText,
}
const hostsShown: Shown<readonly HostView[]> = {
  name: 'hosts',
  description: 'the hosts of the environment',
  text: hostsText,
}

function storeCommand(context: Context): Command {
  const move = configured(
    'move',
    'copy the store to etcd, verify, and switch over: from one host to many',
    context,
  )
  move.argument('<url>', 'etcd://HOST:PORT,…').action(async (url: string) => {
    const { runStoreMove } = await daemon()
    print(await runStoreMove(sourcesOf(move, context), url, await clientOf(move, context)))
  })
  return new Command('store').description('the shared truth').addCommand(move)
}

async function run(argv: readonly string[], early: EarlyDns | undefined): Promise<number> {
  const context: Context = { keys: (await schema()).configKeys, code: 0 }
  const { version } = await import('../daemon/version.ts')
  const program = new Command('drover')
    .description('Overlay network and service discovery for Docker hosts')
    .version(version)
  const commands = [
    initCommand(context),
    joinCommand(context),
    tokenCommand(context),
    hostCommand(context),
    caCommand(context),
    daemonCommand(context, early),
    tunnelCommand(),
    shownCommand(statusShown, context),
    shownCommand(psShown, context),
    shownCommand(hostsShown, context),
    doctorCommand(context),
    reportCommand(context),
    storeCommand(context),
    dnsCommand(context),
    serviceCommand(context),
  ]
  for (const command of commands) program.addCommand(quiet(command))
  await quiet(program).parseAsync([...argv], { from: 'user' })
  return context.code
}

/** Lets errors come back to us instead of ending the process. */
function quiet(command: Command): Command {
  for (const inner of command.commands) quiet(inner)
  return command.exitOverride().configureOutput({
    outputError: (text, write) => write(`drover: ${complaintOf(text)}; see \`drover --help\`\n`),
  })
}

/** Commander says `error: …`, and what may have been meant in a line of its own. */
const complaintOf = (text: string): string =>
  text
    .trim()
    .replace(/^error: /, '')
    .replace(/\.$/, '')
    .replace(/\n\(Did you mean (.+)\?\)$/, ', did you mean $1?')

/** One line for what an operator can mend; a stack for what only we can. */
function failed(error: unknown): number {
  const { code, exitCode } = error as { code?: unknown; exitCode?: unknown }
  if (typeof code === 'string' && code.startsWith('commander.')) return exitCode === 0 ? 0 : 2
  if (error instanceof DroverError && error.culprit !== 'us') print(`drover: ${error.line}`, 'error')
  else print(error instanceof Error ? (error.stack ?? error.message) : reasonOf(error), 'error')
  return 2
}

/** Answers the exit code. `early`: DNS, where it is being loaded already. */
export const main = (argv: readonly string[], early?: EarlyDns): Promise<number> =>
  run(argv, early).catch(failed)
