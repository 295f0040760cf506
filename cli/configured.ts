/**
 * What subcommands that take the configuration have in common: its keys as flags, where it comes from, and the
 * client of the daemon that it names.
 */
import { Command, Option } from 'commander'
import { AdminClient } from './client.ts'

const configuration = () => import('../daemon/config/machine-config.ts')
export const schema = () => import('../daemon/config/schema.ts')

type ConfigKeys = Awaited<ReturnType<typeof schema>>['configKeys']

/** What the subcommands share: the keys that are flags, and the exit code that one of them sets. */
export interface Context {
  readonly keys: ConfigKeys
  code: number
}

const standardFile = '/etc/drover/drover.yaml'

const camel = (flag: string): string =>
  flag.slice(2).replace(/-(.)/g, (_, letter: string) => letter.toUpperCase())

/** A subcommand that takes the configuration. */
export function configured(name: string, description: string, { keys }: Context): Command {
  const command = new Command(name).description(description).option('--config <file>', 'configuration file')
  for (const { flag, doc } of keys) command.addOption(new Option(`${flag} <value>`, doc).hideHelp())
  return command.addHelpText(
    'after',
    '\nEvery key of docs/configuration.md is also a flag, such as --tunnel-port 51821.',
  )
}

/** Where the configuration of a subcommand comes from. */
export function sourcesOf(command: Command, { keys }: Context) {
  const options = command.opts<Record<string, string>>()
  const flags = keys.flatMap(({ key, flag }) => {
    const value = options[camel(flag)]
    return value === undefined ? [] : [[key, value] as const]
  })
  return { file: options.config, standardFile, variables: process.env, flags: new Map(flags) }
}

export async function clientOf(command: Command, context: Context): Promise<AdminClient> {
  const { configOf } = await configuration()
  return new AdminClient(configOf(sourcesOf(command, context)).admin)
}
