/**
 * The subcommands about services that people declare: `service set`, `service rm`, `service ls`.
 */
import { Command } from 'commander'
import type { DeclaredView } from '../daemon/services/declarations.ts'
import { type Context, clientOf, configured } from './configured.ts'
import { print, printJson } from './print.ts'
import { table } from './render.ts'

interface Done {
  readonly names: readonly string[]
}

export function serviceCommand(context: Context): Command {
  return new Command('service')
    .description('services that no container can declare: external ones, aliases, links, metadata')
    .addCommand(setCommand(context))
    .addCommand(removeCommand(context))
    .addCommand(listCommand(context))
}

function setCommand(context: Context): Command {
  const command = configured('set', 'declare what a file says, service by service', context)
  command.requiredOption('-f, --file <file>', 'YAML or JSON, see docs/services.md; - for standard input')
  return command.action(async ({ file }: { file: string }) => {
    const { readServices } = await import('../daemon/services/service-file.ts')
    const services = readServices(file)
    const { names } = await (await clientOf(command, context)).post<Done>('/v1/services/set', { services })
    print(`declared ${names.join(', ') || 'nothing: the file has no service'}`)
  })
}

function removeCommand(context: Context): Command {
  const command = configured('rm', 'take declarations back', context)
  return command.argument('<service...>', 'STACK/SERVICE').action(async (names: readonly string[]) => {
    await (await clientOf(command, context)).post<Done>('/v1/services/remove', { names })
    print(`no longer declared: ${names.join(', ')}`)
  })
}

function listCommand(context: Context): Command {
  const command = configured('ls', 'what is declared, and which host signs it', context)
  return command.option('--json', 'as JSON').action(async ({ json }: { json?: boolean }) => {
    const services = await (await clientOf(command, context)).get<readonly DeclaredView[]>('/v1/services')
    if (json) return printJson(services)
    const rows = services.map((one) => [one.name, one.kind, meaningOf(one), one.host ?? '-'])
    print(table(['SERVICE', 'KIND', 'STANDS FOR', 'SIGNED BY'], rows))
  })
}

const meaningOf = ({ addresses, hostname, alias }: DeclaredView): string =>
  [...addresses, ...(hostname === null ? [] : [hostname]), ...alias].join(' ') || 'its containers'
